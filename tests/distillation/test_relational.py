"""Relations of a batch against loops in NumPy, and what they must not see."""

import itertools

import numpy as np
import pytest
import torch

from mlopt_edu.distillation import relational_angle_loss, relational_distance_loss

LOSSES = [relational_distance_loss, relational_angle_loss]


def points(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def huber(gap):
    gap = abs(gap)
    return gap**2 / 2 if gap < 1 else gap - 0.5


def distance_by_loops(student, teacher):
    def relations(x):
        pairs = itertools.permutations(range(len(x)), 2)
        distances = np.array([np.linalg.norm(x[i] - x[j]) for i, j in pairs])
        return distances / distances.mean()

    gaps = relations(student) - relations(teacher)
    return np.mean([huber(gap) for gap in gaps])


def angle_by_loops(student, teacher):
    def cosine(x, i, j, k):
        first, second = x[i] - x[j], x[k] - x[j]
        return first @ second / (np.linalg.norm(first) * np.linalg.norm(second))

    triples = itertools.permutations(range(len(student)), 3)
    return np.mean(
        [huber(cosine(student, *ijk) - cosine(teacher, *ijk)) for ijk in triples]
    )


@pytest.mark.parametrize("n", [3, 4, 9])
@pytest.mark.parametrize(
    ("loss", "by_loops"),
    [
        (relational_distance_loss, distance_by_loops),
        (relational_angle_loss, angle_by_loops),
    ],
)
def test_loss_is_that_of_all_pairs_and_triples(loss, by_loops, n):
    # An outlier makes gaps above 1, where Huber's loss is linear.
    student, teacher = points(n, 5), points(n, 3, seed=1)
    teacher[0] *= 40
    expected = by_loops(student.numpy(), teacher.numpy())
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_turning_moving_and_enlarging_change_nothing(loss):
    figure = points(6, 4)
    turn, _ = torch.linalg.qr(points(4, 4, seed=1))
    alike = 9 * figure @ turn - 3
    assert loss(figure, alike).item() == pytest.approx(0, abs=1e-12)
    other = points(6, 4, seed=2)
    torch.testing.assert_close(loss(other, alike), loss(other, figure))


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss):
    student, teacher = points(4, 3).requires_grad_(), points(4, 2, seed=1)
    teacher.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, teacher.detach()), (student,))
    loss(student, teacher).backward()
    assert teacher.grad is None


@pytest.mark.parametrize("loss", LOSSES)
def test_samples_in_one_place_give_finite_gradients(loss):
    teacher = points(4, 3, dtype=torch.float32)
    for student in (torch.zeros(4, 3), torch.tensor([[1.0], [1.0], [2.0], [3.0]])):
        student.requires_grad_()
        value = loss(student, teacher)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_maps_are_flattened_and_half_precision_is_widened(loss):
    student, teacher = points(4, 2, 3, 3), points(4, 7, seed=1)
    expected = loss(student.flatten(1), teacher)
    torch.testing.assert_close(loss(student, teacher), expected)
    half = loss(student.half(), teacher.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), expected, rtol=0.05, atol=1e-3)


@pytest.mark.parametrize(("loss", "least"), [(LOSSES[0], 2), (LOSSES[1], 3)])
def test_what_does_not_fit_is_refused(loss, least):
    with pytest.raises(ValueError, match=rf"^a batch must hold at least {least} sam"):
        loss(points(least - 1, 2), points(least - 1, 2))
    for other in (points(5, 2), points(4)):
        with pytest.raises(ValueError, match=r"^student_features and teacher_features"):
            loss(points(4, 2), other)
