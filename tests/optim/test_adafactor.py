import copy
import itertools
import math

import numpy as np
import pytest
import pytorch_optimizer
import torch
from torch.nn import Parameter

from mlopt_edu.optim.adafactor import Adafactor, adafactor_update
from mlopt_edu.optim.multi_tensor import Tensors
from tests.optim.trajectories import assert_same, by_formula, by_optimizer

GRID = [
    {"lr": lr, "beta2_decay": decay, "eps": eps, "d": d, "weight_decay": 0.1}
    for lr, decay, eps, d in itertools.product(
        (1e-2, 10.0), (-0.8, -0.3), ((None, 1e-3), (1e-2, 0.5)), (1.0, 3.0)
    )
]


@pytest.mark.parametrize("options", GRID, ids=str)
def test_agrees_with_torch_in_double_precision(options):
    expected = by_optimizer(lambda params: torch.optim.Adafactor(params, **options))
    assert_same(by_optimizer(lambda params: Adafactor(params, **options)), expected)


@pytest.mark.parametrize("options", GRID[::3], ids=str)
def test_agrees_with_torch_in_single_precision_to_rounding(options):
    expected, actual = (
        by_optimizer(
            lambda params, cls=cls: cls(params, **options), dtype=torch.float32
        )
        for cls in (torch.optim.Adafactor, Adafactor)
    )
    assert_same(actual, expected, rtol=50 * 2**-22, atol=1e-4)


def mean_square(w):
    return np.mean(w**2) if w.size else 0.0


def paper(options, relative_step):
    """Algorithms 4 and 5, with the paper's sums where the library takes means."""

    def update(w, g, state, step):
        beta2 = 1 - step ** options["beta2_decay"]
        squares = g**2 + 1e-30
        if w.ndim < 2:
            v = beta2 * state.get("v", 0.0) + (1 - beta2) * squares
            state["v"] = v
        else:
            r = squares.sum(-1, keepdims=True)
            c = squares.sum(-2, keepdims=True)
            r = beta2 * state.get("r", 0.0) + (1 - beta2) * r
            c = beta2 * state.get("c", 0.0) + (1 - beta2) * c
            state["r"], state["c"] = r, c
            v = r * c / r.sum(-2, keepdims=True)
        u = g / np.sqrt(v)
        u /= max(1, np.sqrt(mean_square(u)) / options["d"])
        rho = options["lr"]
        if relative_step:
            rho = min(rho, 1 / np.sqrt(step)) * max(1e-3, np.sqrt(mean_square(w)))
        return w - rho * u

    return update


@pytest.mark.parametrize("relative_step", [True, False])
@pytest.mark.parametrize("d", [0.5, 1.0, 5.0, math.inf])
@pytest.mark.parametrize("beta2_decay", [-0.8, -0.3])
def test_follows_algorithms_4_and_5_of_the_paper(d, beta2_decay, relative_step):
    options = {"lr": 1e-2, "d": d, "beta2_decay": beta2_decay}

    def make(params):
        return Adafactor(params, relative_step=relative_step, **options)

    assert_same(by_optimizer(make), by_formula(paper(options, relative_step)))


@pytest.mark.parametrize("relative_step", [True, False])
def test_agrees_with_the_pytorch_optimizer_package(relative_step):
    def theirs(params):
        return pytorch_optimizer.AdaFactor(
            params,
            lr=1e-2,
            betas=(None, 0.999),
            decay_rate=-0.8,
            scale_parameter=relative_step,
            relative_step=relative_step,
        )

    # That package divides by the root of r / mean(r) and then of c, and not of their
    # product: the last digits differ.
    def ours(params):
        return Adafactor(params, lr=1e-2, relative_step=relative_step)

    assert_same(by_optimizer(ours), by_optimizer(theirs))


@pytest.mark.parametrize("there_and_back", [False, True])
def test_state_dict_is_interchangeable_with_torch(there_and_back):
    def steps(optimizer, params, count):
        for _ in range(count):
            for param in params:
                param.grad = param.detach() ** 3 + 1
            optimizer.step()

    def params():
        return [Parameter(torch.arange(6.0).view(2, 3)), Parameter(torch.ones(3))]

    options = {"lr": 0.1, "eps": (1e-5, 1e-2), "weight_decay": 0.1}
    classes = (Adafactor, torch.optim.Adafactor)
    first_class, second_class = classes if there_and_back else classes[::-1]
    restored, expected = params(), params()
    first = first_class(restored, **options)
    steps(first, restored, 4)
    second = second_class(restored, lr=0.5)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    steps(second, restored, 4)
    steps(torch.optim.Adafactor(expected, **options), expected, 8)
    torch.testing.assert_close(restored, expected)


def test_memory_is_that_of_the_edges():
    matrix, vector = Parameter(torch.ones(300, 200)), Parameter(torch.ones(50))
    kernel = Parameter(torch.ones(8, 4, 3, 5))
    optimizer = Adafactor([matrix, vector, kernel])
    for param in (matrix, vector, kernel):
        param.grad = torch.ones_like(param)
    optimizer.step()

    def numbers(param):
        state = optimizer.state[param]
        return sum(value.numel() for name, value in state.items() if name != "step")

    assert numbers(matrix) == 300 + 200
    assert numbers(vector) == 50
    assert numbers(kernel) == 8 * 4 * (3 + 5)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (1, 5), (2, 3, 4)])
def test_squares_of_rank_one_are_kept_exactly(shape):
    generator = torch.Generator().manual_seed(0)
    rows = torch.rand(*shape[:-1], 1, generator=generator).double() + 0.1
    columns = torch.rand(*shape[:-2], 1, shape[-1], generator=generator).double() + 0.1
    w = torch.zeros(shape, dtype=torch.float64)
    adafactor_update(
        w,
        rows * columns,
        torch.zeros_like(rows),
        torch.zeros_like(columns),
        step=1,
        lr=0.5,
        relative_step=False,
    )
    # g / sqrt(g^2): every entry moves by lr.
    torch.testing.assert_close(w, torch.full_like(w, -0.5), rtol=1e-12, atol=0)


@pytest.mark.parametrize("d", [0.25, 1.0, 2.0])
def test_the_update_is_clipped_to_d(d):
    w, v = torch.zeros(6).double(), torch.zeros(6).double()
    options = {"lr": 1.0, "relative_step": False, "d": d, "beta2_decay": -3.0}
    adafactor_update(w, torch.full((6,), 1e-3).double(), v, step=1, **options)
    before = w.clone()
    adafactor_update(w, torch.full((6,), 1e3).double(), v, step=2, **options)
    pace = (w - before).square().mean().sqrt().item()
    assert pace == pytest.approx(min(d, math.sqrt(8)), rel=1e-6)


def test_complex_parameters_are_refused():
    with pytest.raises(ValueError, match=r"^params must be real, got one of .*complex"):
        Adafactor([Parameter(torch.ones(2, dtype=torch.complex64))])


@pytest.mark.parametrize("relative_step", [True, False])
@pytest.mark.parametrize("is_factored", [True, False])
def test_one_tensor_and_many_take_the_same_step(is_factored, relative_step):
    def tensors(seed, *, dim=None):
        generator = torch.Generator().manual_seed(seed)
        found = [
            torch.rand(s, generator=generator) for s in ((3, 2), (2, 3, 4), (1, 1))
        ]
        return [f.mean(dim, keepdim=True) if dim else f for f in found]

    def moments():
        if is_factored:
            return tensors(1, dim=-1), tensors(2, dim=-2)
        return (tensors(1),)

    options = {"step": 3, "lr": 0.1, "weight_decay": 0.1}
    options["relative_step"] = relative_step
    together, many = tensors(0), moments()
    adafactor_update(
        Tensors(together), Tensors(tensors(3)), *map(Tensors, many), **options
    )
    alone, own = tensors(0), moments()
    for one in zip(alone, tensors(3), *own, strict=True):
        adafactor_update(*one, **options)
    for mine, theirs in zip((together, *many), (alone, *own), strict=True):
        assert all(map(torch.equal, mine, theirs))
