"""Each optimizer that torch has, against torch's own: steps, states, memory layouts."""

import copy
import itertools

import pytest
import torch
from torch.nn import Parameter

import mlopt_edu.optim as ours
from mlopt_edu.optim import Tensors
from mlopt_edu.optim.fused import fused_step_


def grid(cls, **options):
    """Every combination of the values given for each option."""
    names = list(options)
    return [
        (cls, dict(zip(names, values, strict=True)))
        for values in itertools.product(*options.values())
    ]


BETAS = [(0.5, 0.999), (0.999, 0.5), (0.0, 0.9)]
BOOL = [False, True]

# The grid for SGD stands in test_sgd.py.
GRID = [
    *grid("Adagrad", lr_decay=[0.0, 0.1], eps=[1e-10, 1e-2], weight_decay=[0.0, 0.1]),
    *grid("Adagrad", initial_accumulator_value=[0.5], maximize=BOOL),
    *grid("Adadelta", rho=[0.0, 0.5, 0.999], eps=[1e-6, 1e-2], weight_decay=[0.0, 0.1]),
    *grid("Adadelta", maximize=[True]),
    *grid(
        "RMSprop",
        alpha=[0.5, 0.999],
        eps=[1e-8, 1e-2],
        momentum=[0.0, 0.9],
        centered=BOOL,
    ),
    *grid("RMSprop", weight_decay=[0.1], maximize=BOOL),
    *grid("Adam", betas=BETAS, eps=[1e-8, 1e-2], amsgrad=BOOL),
    *grid("Adam", weight_decay=[0.1], amsgrad=BOOL, maximize=BOOL),
    *grid("AdamW", betas=BETAS, eps=[1e-2], weight_decay=[0.0, 0.5]),
    *grid("AdamW", amsgrad=BOOL, maximize=BOOL),
    *grid("NAdam", betas=BETAS, eps=[1e-2], momentum_decay=[4e-3, 0.5]),
    *grid("NAdam", weight_decay=[0.1], decoupled_weight_decay=BOOL),
    *grid("NAdam", maximize=[True]),
]

FUSED = [
    *grid("SGD", momentum=[0.0, 0.9], weight_decay=[0.0, 0.1], maximize=BOOL),
    *grid("SGD", momentum=[0.9], dampening=[0.3]),
    *grid("SGD", momentum=[0.9], nesterov=[True]),
    *grid("Adagrad", weight_decay=[0.1], lr_decay=[0.1], maximize=BOOL),
    *grid("Adam", weight_decay=[0.0, 0.1], amsgrad=BOOL, maximize=BOOL),
    *grid("AdamW", betas=[(0.5, 0.9)], amsgrad=BOOL, maximize=BOOL),
]

each_case = pytest.mark.parametrize(("name", "options"), GRID, ids=str)
each_fused = pytest.mark.parametrize(("name", "options"), FUSED, ids=str)


@pytest.fixture(scope="module")
def noise():
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(50, 13, generator=generator, dtype=torch.float64)
    return [(row[:12].reshape(4, 3), row[12]) for row in noise]


def start(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 3), ())
    return [
        Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes
    ]


def descend(optimizer, params, noise):
    """Step along the slope of soft absolute values, which is bounded, and noise."""
    for row in noise:
        for param, part in zip(params, row, strict=True):
            param.grad = param.detach().mul(2).tanh_().mul_(2).add_(part)
        optimizer.step()
    return torch.cat([param.detach().reshape(-1) for param in params])


def end(module, name, options, noise, *, dtype=torch.float64, lr=0.05):
    params = start(dtype)
    optimizer = getattr(module, name)(params, lr=lr, **options)
    return descend(optimizer, params, noise)


@each_case
def test_50_steps_in_double_precision(name, options, noise):
    actual, expected = (
        end(module, name, options, noise) for module in (ours, torch.optim)
    )
    assert expected.isfinite().all()
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), GRID[::3], ids=str)
def test_50_steps_in_single_precision_to_rounding(name, options, noise):
    actual, expected = (
        end(module, name, options, noise, dtype=torch.float32)
        for module in (ours, torch.optim)
    )
    # 50 roundings of numbers near 1, and what the steps make of their differences.
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=50 * 2**-24)


@each_case
def test_default_step_size(name, options, noise):
    actual, expected = (
        getattr(module, name)(start()).defaults for module in (ours, torch.optim)
    )
    assert actual == {key: expected[key] or False for key in actual}


@pytest.mark.parametrize("name", sorted({name for name, _ in GRID + FUSED}))
def test_complex_parameters_move_as_in_torch(name):
    results = []
    for module in (ours, torch.optim):
        param = Parameter(torch.tensor([1 + 2j, -0.5j, 3 + 0j], dtype=torch.complex128))
        optimizer = getattr(module, name)([param], lr=0.1, weight_decay=0.1)
        for step in range(5):
            param.grad = (step - 2j) * param.detach()
            optimizer.step()
        results.append((param.detach(), optimizer.state[param]))
    (actual, state), (expected, theirs) = results
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)
    assert {key: (value.shape, value.dtype) for key, value in state.items()} == {
        key: (value.shape, value.dtype)
        for key, value in theirs.items()
        if value is not None
    }


# Torch reads what we store, and the other way round, in the middle of a run.


@pytest.mark.parametrize("from_torch", BOOL)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"momentum": 0.9, "dampening": 0.3}),
        ("Adagrad", {"lr_decay": 0.1}),
        ("Adadelta", {}),
        ("RMSprop", {"centered": True, "momentum": 0.5}),
        ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
        ("AdamW", {"betas": (0.5, 0.9)}),
        ("NAdam", {"momentum_decay": 0.1}),
        ("SGD", {"momentum": 0.9, "fused": True}),
        ("Adagrad", {"fused": True}),
        ("Adam", {"amsgrad": True, "fused": True}),
        ("AdamW", {"fused": True}),
    ],
    ids=str,
)
def test_state_dict_is_interchangeable(name, options, from_torch, noise):
    modules = (torch.optim, ours) if from_torch else (ours, torch.optim)
    first, second = (getattr(module, name) for module in modules)
    params = start()
    optimizer = first(params, lr=0.05, **options)
    descend(optimizer, params, noise[:50])
    # The options that were stored must win over these.
    restored = second(params, lr=0.5)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    actual = descend(restored, params, noise[50:100])
    expected = end(torch.optim, name, options, noise[:100])
    # NAdam's product of momenta continues in the precision of the parameter in torch.
    rtol = 1e-6 if name == "NAdam" else 1e-9
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=1e-12)


@each_case
def test_state_is_of_the_same_size(name, options, noise):
    sizes = []
    for module in (ours, torch.optim):
        params = start()
        optimizer = getattr(module, name)(params, **options)
        descend(optimizer, params, noise[:1])
        sizes.append(
            sum(
                value.nbytes
                for state in optimizer.state.values()
                for value in state.values()
                if value is not None
            )
        )
    actual, expected = sizes
    assert actual == expected


# The fused primitives.


@each_fused
def test_fused_is_torch_fused_bit_for_bit(name, options, noise):
    actual, expected = (
        end(module, name, options | {"fused": True}, noise[:20])
        for module in (ours, torch.optim)
    )
    assert torch.equal(actual, expected)


@each_fused
def test_fused_is_the_same_equation(name, options, noise):
    actual, expected = (
        end(ours, name, options | {"fused": fused}, noise) for fused in (True, False)
    )
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


def like(source, *, strides):
    """A copy in a memory layout of one's choice."""
    return torch.empty_strided(source.shape, strides, dtype=source.dtype).copy_(source)


LAYOUTS = {
    "row-major": ((12, 4, 1), (12, 4, 1)),
    "permuted alike": ((1, 8, 2), (1, 8, 2)),
    "permuted parameter": ((1, 8, 2), (12, 4, 1)),
    "permuted gradient": ((12, 4, 1), (1, 8, 2)),
    "gaps in both": ((24, 8, 2), (24, 8, 2)),
    "gaps in the parameter": ((24, 8, 2), (12, 4, 1)),
    "repeated gradient": ((12, 4, 1), (0, 4, 1)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("name", "options"),
    [("SGD", {}), ("SGD", {"momentum": 0.9}), ("Adagrad", {}), ("Adam", {})],
    ids=str,
)
def test_fused_in_any_memory_layout(name, options, layout):
    param_strides, grad_strides = LAYOUTS[layout]
    generator = torch.Generator().manual_seed(0)
    value, row = (torch.randn(2, 3, 4, generator=generator) for _ in range(2))
    grad = row[:1].expand(2, 3, 4) if layout == "repeated gradient" else row
    results = []
    for fused in BOOL:
        if fused:
            param = Parameter(like(value, strides=param_strides))
            param.grad = (
                grad
                if layout == "repeated gradient"
                else like(grad, strides=grad_strides)
            )
        else:
            param = Parameter(value.clone())
            param.grad = grad.contiguous()
        optimizer = getattr(ours, name)([param], lr=0.1, fused=fused, **options)
        for _ in range(3):
            optimizer.step()
        results.append(param.detach())
    expected, actual = results
    assert actual.stride() == param_strides
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("layout", "is_copied"),
    [("row-major", False), ("permuted alike", False), ("permuted gradient", True)],
)
def test_only_what_lies_differently_is_copied(layout, is_copied):
    seen = []

    def primitive(params, grads, steps, **options):
        seen.extend([*params, *grads])

    value = torch.zeros(2, 3, 4)
    param, grad = (like(value, strides=strides) for strides in LAYOUTS[layout])
    fused_step_(primitive, Tensors([param]), Tensors([grad]), Tensors([torch.ones(())]))
    assert seen[0] is param
    assert (seen[1] is not grad) == is_copied


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "Adam", "AdamW"])
@pytest.mark.parametrize(
    "param", [torch.zeros(2, dtype=torch.complex64), torch.zeros(2, device="meta")]
)
def test_fused_is_refused_where_torch_has_no_primitive(name, param):
    sentence = rf"^fused must be False .*, got True with one of {param.dtype} on "
    with pytest.raises(ValueError, match=sentence):
        getattr(ours, name)([Parameter(param)], fused=True)
    optimizer = getattr(ours, name)([Parameter(param)])
    with pytest.raises(ValueError, match=sentence):
        optimizer.add_param_group({"params": [Parameter(param + 1)], "fused": True})
    assert len(optimizer.param_groups) == 1
