"""A frozen teacher is left as it was, and asked once for each input."""

import copy
import os
import tempfile
import weakref

import pytest
import torch
from torch import nn

from mlopt_edu.distillation import cache_outputs, frozen


def net(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3)
    ).to(dtype)


def state_of(model):
    return (
        copy.deepcopy(model.state_dict()),
        [param.requires_grad for param in model.parameters()],
        [None if param.grad is None else param.grad for param in model.parameters()],
        [module.training for module in model.modules()],
    )


@pytest.mark.parametrize("raises", [False, True])
def test_the_teacher_is_left_as_it_was(raises):
    teacher = net()
    teacher[0].bias.requires_grad_(False)
    teacher[1].eval()
    before = state_of(teacher)
    x = torch.randn(8, 4)
    try:
        with frozen(teacher) as inside:
            assert inside is teacher
            assert not any(module.training for module in teacher.modules())
            first, second = teacher(x), teacher(x)
            assert torch.equal(first, second)
            assert not first.requires_grad
            if raises:
                raise KeyError("on purpose")
    except KeyError:
        pass
    torch.testing.assert_close(state_of(teacher), before, rtol=0, atol=0)


def test_statistics_do_move_without_freezing():
    teacher = net()
    before = copy.deepcopy(teacher[1].running_mean)
    teacher(torch.randn(8, 4))
    assert not torch.equal(teacher[1].running_mean, before)


def test_gradients_flow_to_the_inputs_and_to_the_student_alone():
    teacher, student = net(), nn.Linear(4, 4)
    with frozen(teacher):
        x = student(torch.randn(5, 4))
        teacher(x).sum().backward()
    assert student.weight.grad.abs().sum() > 0
    assert all(param.grad is None for param in teacher.parameters())


def test_blocks_nest():
    teacher = net()
    with frozen(teacher):
        with frozen(teacher):
            pass
        assert not teacher.training
        assert not teacher[0].weight.requires_grad
    assert teacher.training
    assert teacher[0].weight.requires_grad


@pytest.mark.parametrize("size", [1, 3, 10, 99])
def test_cached_answers_are_the_teachers(size):
    teacher = net()
    before = state_of(teacher)
    x = torch.randn(10, 4)
    actual = cache_outputs(teacher, x.split(size))
    torch.testing.assert_close(state_of(teacher), before, rtol=0, atol=0)
    torch.testing.assert_close(actual, teacher.eval()(x).detach())
    assert not actual.requires_grad


def test_batches_may_be_tuples_of_arguments():
    bilinear = nn.Bilinear(2, 3, 4)
    x, y = torch.randn(6, 2), torch.randn(6, 3)
    batches = zip(x.split(4), y.split(4), strict=True)
    torch.testing.assert_close(
        cache_outputs(bilinear, batches), bilinear(x, y).detach()
    )


def test_sequences_are_cached_too():
    teacher = nn.Sequential(nn.Embedding(7, 3), nn.Linear(3, 7))
    ids = torch.randint(7, (5, 4))
    actual = cache_outputs(teacher, ids.split(2))
    torch.testing.assert_close(actual, teacher(ids).detach())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_answers_are_kept_in_the_wanted_type(dtype):
    teacher, x = net(), torch.randn(9, 4)
    actual = cache_outputs(teacher, x.split(2), dtype=dtype)
    assert actual.dtype == dtype
    assert torch.equal(actual, cache_outputs(teacher, x.split(2)).to(dtype))


def test_answers_go_to_a_file():
    teacher, x = net(), torch.randn(9, 4)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "answers.bin")
        out = torch.from_file(path, True, 27, dtype=torch.float16).reshape(9, 3)
        actual = cache_outputs(teacher, x.split(2), out=out)
        assert actual is out
        assert os.path.getsize(path) == 27 * 2
        again = torch.from_file(path, False, 27, dtype=torch.float16).reshape(9, 3)
        assert torch.equal(again, cache_outputs(teacher, x.split(2)).half())
        del out, actual, again


def test_one_batch_is_held_at_a_time():
    alive = []

    def batches():
        for _ in range(5):
            batch = torch.randn(2, 4)
            # The one before is held until it is replaced.
            assert sum(ref() is not None for ref in alive) <= 1
            alive.append(weakref.ref(batch))
            yield batch
            del batch

    assert cache_outputs(net(), batches(), out=torch.empty(10, 3)).shape == (10, 3)


def test_values_too_large_for_a_type_are_refused_and_infinity_is_kept():
    teacher = nn.Identity()
    with pytest.raises(
        ValueError, match=r"^dtype must hold .*float16 for one of size 70000"
    ):
        cache_outputs(teacher, [torch.tensor([[7e4]])], dtype=torch.float16)
    kept = cache_outputs(
        teacher, [torch.tensor([[-torch.inf, 1.0]])], dtype=torch.float16
    )
    assert kept.tolist() == [[-torch.inf, 1.0]]


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (TypeError, "^inputs must be an iterable", (net(), torch.ones(2, 4)), {}),
        (ValueError, "^inputs must hold at least one sample", (net(), []), {}),
        (TypeError, "^teacher must return one tensor", (Pair(), [torch.ones(1)]), {}),
        (
            ValueError,
            r"^dtype must be that of out, torch.float32",
            (net(), [torch.ones(2, 4)]),
            {"out": torch.empty(2, 3), "dtype": torch.float16},
        ),
        (
            ValueError,
            r"^out must have a row of the teacher's shape \(3,\) .* \(2, 5\)",
            (net(), [torch.ones(2, 4)]),
            {"out": torch.empty(2, 5)},
        ),
        (
            ValueError,
            r"^out must have a row .* at least 4 inputs, got shape \(3, 3\)",
            (net(), [torch.ones(2, 4)] * 2),
            {"out": torch.empty(3, 3)},
        ),
        (
            ValueError,
            r"^out must have as many rows as there are inputs, 2, got 3",
            (net(), [torch.ones(2, 4)]),
            {"out": torch.empty(3, 3)},
        ),
    ],
)
def test_what_does_not_fit_is_refused(error, message, arguments, options):
    with pytest.raises(error, match=message):
        cache_outputs(*arguments, **options)
    assert arguments[0].training
