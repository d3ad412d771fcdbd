import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import Parameter
from torch.optim import _muon as torch_muon

import mlopt_edu.optim.muon as muon_module
from mlopt_edu.optim.multi_tensor import Tensors
from mlopt_edu.optim.muon import Muon, muon_update
from mlopt_edu.optim.orthogonal import COEFFICIENTS, newton_schulz
from tests.optim.trajectories import assert_same, by_formula, by_optimizer

MATRICES = ((4, 3), (3, 4), (5, 5), (3, 4), (1, 6), (6, 1))
EXACT = (2.0, -1.5, 0.5)


def matrix(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(dtype)


def polar_factor(d):
    u, _, vh = torch.linalg.svd(d, full_matrices=False)
    return u @ vh


# Newton-Schulz


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (1, 5), (5, 1), (2, 6, 4)])
def test_convergent_coefficients_reach_the_polar_factor(shape):
    d = matrix(*shape)
    found = newton_schulz(d, steps=40, coefficients=EXACT)
    torch.testing.assert_close(found, polar_factor(d), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_singular_values_go_through_the_polynomial_and_vectors_stay(steps):
    a, b, c = COEFFICIENTS
    d = matrix(5, 8)
    u, s, vh = torch.linalg.svd(d, full_matrices=False)
    s = s / s.norm()
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    found = newton_schulz(d, steps=steps)
    torch.testing.assert_close(found, u @ s.diag() @ vh, rtol=1e-9, atol=1e-9)


def test_five_rounds_bring_every_share_above_a_hundredth_near_one():
    shares = torch.logspace(-2, 0, 4000, dtype=torch.float64)
    a, b, c = COEFFICIENTS
    for _ in range(5):
        shares = a * shares + b * shares**3 + c * shares**5
    # The docstring's "into [0.7, 1.2] or so".
    assert shares.min() > 0.67
    assert shares.max() < 1.21


@pytest.mark.parametrize("factor", [1e-5, 1.0, 1e12])
def test_the_length_of_the_matrix_does_not_matter(factor):
    d = matrix(6, 4)
    torch.testing.assert_close(
        newton_schulz(factor * d), newton_schulz(d), rtol=1e-9, atol=1e-12
    )


def test_zero_and_empty_matrices():
    assert torch.equal(newton_schulz(torch.zeros(3, 2)), torch.zeros(3, 2))
    for shape in ((0, 3), (3, 0), (0, 0), (2, 0, 3)):
        assert newton_schulz(torch.empty(shape)).shape == shape


@pytest.mark.parametrize("shape", [(16, 16), (8, 24), (24, 8)])
@pytest.mark.parametrize("steps", [1, 5])
def test_agrees_with_torch_in_bfloat16_to_its_rounding(shape, steps):
    d = matrix(*shape, dtype=torch.float32)
    expected = torch_muon._zeropower_via_newtonschulz(d, COEFFICIENTS, steps, 1e-7)
    actual = newton_schulz(d, steps=steps, dtype=torch.bfloat16)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected.float(), rtol=0, atol=0.03)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single_on_a_cpu(dtype):
    d = matrix(8, 6, dtype=dtype)
    expected = newton_schulz(d.float()).to(dtype)
    assert torch.equal(newton_schulz(d), expected)


# Muon


GRID = [
    {"momentum": momentum, "nesterov": nesterov, "ns_steps": ns_steps}
    | {"adjust_lr_fn": adjust_lr_fn, "weight_decay": 0.1}
    for momentum, nesterov, ns_steps, adjust_lr_fn in itertools.product(
        (0.5, 0.95), (False, True), (1, 5), ("original", "match_rms_adamw")
    )
]


@pytest.mark.parametrize("options", GRID, ids=str)
def test_agrees_with_torch_in_double_precision(options, monkeypatch):
    # torch converts to bfloat16 for its iteration. Its code is run here with that one
    # conversion replaced, so all 50 steps can be compared to the last digits.
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor.clone())
    expected = by_optimizer(
        lambda params: torch.optim.Muon(params, 0.02, **options), shapes=MATRICES
    )
    actual = by_optimizer(lambda params: Muon(params, 0.02, **options), shapes=MATRICES)
    assert_same(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("nesterov", [False, True])
def test_agrees_with_torch_as_it_is_in_bfloat16(nesterov):
    options = {"lr": 0.02, "nesterov": nesterov, "adjust_lr_fn": "original"}
    makers = (
        lambda params: torch.optim.Muon(params, **options),
        lambda params: Muon(params, ns_dtype=torch.bfloat16, **options),
    )
    shapes = ((16, 16), (12, 24))
    expected, actual = (
        by_optimizer(make, dtype=torch.float32, steps=10, shapes=shapes)
        for make in makers
    )
    # Ten steps, each of 0.02 times a factor known to about 0.03.
    assert_same(actual, expected, rtol=0, atol=10 * 0.02 * 0.03)


def test_follows_the_source_with_the_polar_factor(monkeypatch):
    monkeypatch.setattr(
        muon_module,
        "newton_schulz",
        lambda d, **_: newton_schulz(d, steps=60, coefficients=EXACT),
    )

    def update(w, g, state, step):
        m = state["m"] = 0.9 * state.get("m", np.zeros_like(w)) + 0.1 * g
        u, _, vh = np.linalg.svd(0.1 * g + 0.9 * m, full_matrices=False)
        scale = 0.2 * math.sqrt(max(w.shape))
        return w - 0.02 * (scale * u @ vh + 0.1 * w)

    actual = by_optimizer(
        lambda params: Muon(params, 0.02, momentum=0.9), steps=50, shapes=MATRICES
    )
    expected = by_formula(update, steps=50, shapes=MATRICES)
    assert_same(actual, expected, rtol=1e-6, atol=1e-6)


def test_what_is_not_a_matrix_has_the_step_of_adamw():
    options = {"lr": 0.02, "betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1}
    shapes = ((5,), (), (1,))
    expected = by_optimizer(
        lambda params: torch.optim.AdamW(params, **options), shapes=shapes
    )
    assert_same(
        by_optimizer(lambda params: Muon(params, **options), shapes=shapes), expected
    )


def test_a_group_without_muon_has_the_step_of_adamw_and_others_do_not():
    def run(make):
        return by_optimizer(make, shapes=((4, 3), (5, 3), (4,)))

    expected = run(lambda params: torch.optim.AdamW(params, 0.01, betas=(0.9, 0.95)))
    actual = run(
        lambda params: Muon(
            [{"params": params[:1]}, {"params": params[1:], "use_muon": False}],
            0.01,
            weight_decay=0.01,
        )
    )
    assert_same(actual[1:], expected[1:])
    assert not np.allclose(actual[0], expected[0])


def test_convolution_weights_are_matrices_of_their_rows():
    kernel, flat = Parameter(matrix(6, 2, 3, 2)), Parameter(matrix(6, 12))
    with torch.no_grad():
        flat.copy_(kernel.flatten(1))
    ours = Muon([kernel], 0.1), Muon([flat], 0.1)
    for step in range(3):
        kernel.grad = matrix(6, 2, 3, 2, seed=step)
        flat.grad = kernel.grad.flatten(1)
        for optimizer in ours:
            optimizer.step()
    torch.testing.assert_close(kernel.flatten(1), flat, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [4, 16])
@pytest.mark.parametrize("columns", [4, 64])
def test_scale_gives_the_step_the_size_of_adamw(rows, columns):
    # U Vᵀ has the root mean square 1 / sqrt(max(n, m)).
    w = torch.zeros(rows, columns).double()
    muon_update(w, matrix(rows, columns), torch.zeros_like(w), lr=1.0)
    pace = w.square().mean().sqrt().item()
    assert pace == pytest.approx(0.2, rel=0.3)


@pytest.mark.parametrize("limit", [1, 30, 2**22])
def test_stacks_change_nothing(limit, monkeypatch):
    monkeypatch.setattr(muon_module, "STACK_LIMIT", limit)
    shapes = ((4, 3), (3, 4), (4, 3), (4, 3), (2, 2, 3), (3, 4), (2, 6))
    together = [matrix(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    alone = [param.clone() for param in together]
    grads = [matrix(*shape, seed=10 + seed) for seed, shape in enumerate(shapes)]
    buffers = [matrix(*shape, seed=20 + seed) for seed, shape in enumerate(shapes)]
    own = [buffer.clone() for buffer in buffers]
    options = {"lr": 0.1, "weight_decay": 0.1}
    muon_update(Tensors(together), Tensors(grads), Tensors(buffers), **options)
    for one in zip(alone, grads, own, strict=True):
        muon_update(*one, **options)
    for mine, theirs in zip(together + buffers, alone + own, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_complex_parameters_are_refused():
    with pytest.raises(ValueError, match=r"^params must be real, got one of .*complex"):
        Muon([Parameter(torch.ones(2, 2, dtype=torch.complex64))])
