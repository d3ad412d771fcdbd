"""The decoupled loss against its identity with soft targets, and NumPy."""

import math

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from mlopt_edu.distillation import decoupled_loss, soft_target_loss


def draw(*shape, n_classes=6, scale=3.0):
    generator = torch.Generator().manual_seed(0)
    student, teacher = scale * torch.randn(
        2, *shape, n_classes, generator=generator, dtype=torch.float64
    )
    return student, teacher, torch.randint(n_classes, shape, generator=generator)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_parts_are_those_of_numpy(n_classes, temperature):
    student, teacher, labels = draw(9, n_classes=n_classes)
    target, others = [], []
    for z, v, label in zip(
        student.numpy(), teacher.numpy(), labels.tolist(), strict=True
    ):
        p, q = softmax(v / temperature), softmax(z / temperature)
        pair = ([p[label], 1 - p[label]], [q[label], 1 - q[label]])
        target.append(rel_entr(*pair).sum())
        rest = [softmax(np.delete(x, label) / temperature) for x in (v, z)]
        others.append(rel_entr(*rest).sum())
    for weights, expected in (((1.0, 0.0), target), ((0.0, 1.0), others)):
        actual = decoupled_loss(
            student,
            teacher,
            labels,
            temperature=temperature,
            target_weight=weights[0],
            others_weight=weights[1],
        )
        assert actual.item() == pytest.approx(
            temperature**2 * np.mean(expected), rel=1e-9, abs=1e-12
        )


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_soft_targets_are_target_plus_unsure_others(shape):
    # Equation 7 holds for each sample with its own p_t.
    student, teacher, labels = draw(*shape)
    parts = [
        torch.stack(
            [
                decoupled_loss(
                    z, v, label, temperature=2.0, target_weight=a, others_weight=b
                )
                for z, v, label in zip(
                    student.reshape(-1, 6),
                    teacher.reshape(-1, 6),
                    labels.reshape(-1),
                    strict=True,
                )
            ]
        )
        for a, b in ((1, 0), (0, 1))
    ]
    p = (teacher / 2).softmax(-1).gather(-1, labels.unsqueeze(-1)).reshape(-1)
    expected = soft_target_loss(student, teacher, temperature=2.0)
    torch.testing.assert_close((parts[0] + (1 - p) * parts[1]).mean(), expected)


def test_a_teacher_that_is_certain_and_narrow_types_stay_finite():
    student, teacher, labels = draw(4)
    teacher = teacher.scatter(-1, labels.unsqueeze(-1), 6e4)
    expected = decoupled_loss(student, teacher, labels)
    for dtype in (torch.float16, torch.bfloat16):
        narrow = student.to(dtype).requires_grad_()
        actual = decoupled_loss(narrow, teacher.to(dtype), labels)
        torch.testing.assert_close(actual.double(), expected, rtol=0.03, atol=0)
        actual.backward()
        assert torch.isfinite(narrow.grad).all()


def test_gradcheck_and_weights():
    student, teacher, labels = draw(3, 2)
    mask = torch.tensor([[True, False], [True, True], [False, True]])
    student.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: decoupled_loss(z, teacher, labels, weights=mask), (student,)
    )
    torch.testing.assert_close(
        decoupled_loss(student, teacher, labels, weights=mask),
        decoupled_loss(student[mask], teacher[mask], labels[mask]),
    )


def test_only_the_student_gets_a_gradient():
    student, teacher, labels = draw(3)
    teacher.requires_grad_()
    decoupled_loss(student.requires_grad_(), teacher, labels).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_what_does_not_fit_is_refused():
    student, teacher, labels = draw(3)
    one = torch.zeros(3, 1)
    for message, arguments, options in (
        (r"^logits must be of at least 2 classes", (one, one, labels), {}),
        (r"^labels must have the shape", (student, teacher, labels[:2]), {}),
        (r"^student_logits and", (student, teacher[:2], labels), {}),
        (r"^temperature must", (student, teacher, labels), {"temperature": 0.0}),
        (r"^target_weight must", (student, teacher, labels), {"target_weight": -1.0}),
        (
            r"^others_weight must",
            (student, teacher, labels),
            {"others_weight": math.nan},
        ),
        (
            r"^weights must",
            (student, teacher, labels),
            {"weights": torch.ones(3, 6)},
        ),
    ):
        with pytest.raises(ValueError, match=message):
            decoupled_loss(*arguments, **options)
