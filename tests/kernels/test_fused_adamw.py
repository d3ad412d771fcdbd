import copy
import itertools

import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels._fused_optimizer import DTYPES
from mlopt_kernels.fused_adamw import (
    FusedAdamW,
    fused_adamw_,
    fused_adamw_forward,
    fused_adamw_reference,
)

OPTIONS = {
    "lr": 1e-2,
    "betas": (0.8, 0.95),
    "eps": 1e-6,
    "weight_decay": 0.1,
    "maximize": False,
}
# The largest number of several chunks, one that ends in a chunk, one element, none.
SIZES = [1, 0, 64, 65, 300]


def arrays(dtype, device, sizes=SIZES):
    generator = torch.Generator().manual_seed(3)
    params, grads, exp_avgs, squares = (
        [torch.randn(size, generator=generator) for size in sizes] for _ in range(4)
    )
    return (
        [param.to(device, dtype) for param in params],
        [grad.to(device, dtype) for grad in grads],
        [exp_avg.to(device) for exp_avg in exp_avgs],
        [square.square().to(device) for square in squares],
    )


def tolerance(dtype, device):
    # The interpreter cuts bfloat16 off where a GPU rounds: one unit in the last place.
    return {
        torch.float32: {"rtol": 2e-6, "atol": 1e-7},
        torch.float16: {"rtol": 2**-10, "atol": 1e-7},
        torch.bfloat16: {"rtol": 2**-7, "atol": 1e-7},
    }[dtype]


def guarded_copies(guarded, arrays):
    """Return guards full of copies, and the tensors inside them."""
    guards = [[guarded(len(t), t.dtype) for t in array] for array in arrays]
    for guard_row, array in zip(guards, arrays, strict=True):
        for guard, tensor in zip(guard_row, array, strict=True):
            guard.output.copy_(tensor)
    return guards, [[guard.output for guard in row] for row in guards]


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_kernel_agrees_with_the_reference(guarded, device, dtype, maximize):
    options = OPTIONS | {"maximize": maximize}
    expected = arrays(dtype, device)
    guards, actual = guarded_copies(guarded, expected)
    grads = [grad.clone() for grad in actual[1]]
    fused_adamw_reference(*expected, step=3, **options)
    fused_adamw_forward(*actual, step=3, **options, block_size=64)
    for guard in itertools.chain(*guards):
        guard.check()
    torch.testing.assert_close(actual[0], expected[0], **tolerance(dtype, device))
    torch.testing.assert_close(actual[2:], expected[2:], rtol=2e-6, atol=1e-7)
    torch.testing.assert_close(actual[1], grads, rtol=0, atol=0)


def test_parameters_of_several_dtypes_that_are_not_contiguous(device):
    flat = [arrays(dtype, device, [12, 40]) for dtype in DTYPES]
    expected = [[t for group in flat for t in group[role]] for role in range(4)]
    actual = [[t.clone() for t in array] for array in expected]
    # Every second column of a wider tensor, whose other columns must stay.
    wider = [torch.stack([p, torch.full_like(p, 9)], 1) for p in actual[0]]
    actual[0] = [wide[:, 0] for wide in wider]
    fused_adamw_reference(*expected, step=1, **OPTIONS)
    fused_adamw_forward(*actual, step=1, **OPTIONS, block_size=64)
    for ours, theirs in zip(actual[0], expected[0], strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance(ours.dtype, device))
    assert all((wide[:, 1] == 9).all() for wide in wider)


def test_addresses_that_are_no_multiple_of_16(device):
    expected = arrays(torch.float32, device, [100])
    memory = [torch.zeros(101, device=device) for _ in range(4)]
    actual = [
        [m[1:].copy_(array[0])] for m, array in zip(memory, expected, strict=True)
    ]
    fused_adamw_reference(*expected, step=1, **OPTIONS)
    fused_adamw_forward(*actual, step=1, **OPTIONS, block_size=128)
    torch.testing.assert_close(actual, list(expected), rtol=2e-6, atol=1e-7)
    assert [m[0].item() for m in memory] == [0.0] * 4


def test_fifty_kernel_steps_are_as_near_to_float64_as_those_of_torch(device):
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(size, generator=generator) for size in (70, 129)]
    exact = [torch.nn.Parameter(param.double()) for param in start]
    theirs = [torch.nn.Parameter(param.clone()) for param in start]
    ours = [param.to(device) for param in start]
    averages = [[torch.zeros_like(param) for param in ours] for _ in range(2)]
    options = {key: value for key, value in OPTIONS.items() if key != "maximize"}
    optimizers = [torch.optim.AdamW(params, **options) for params in (exact, theirs)]
    for step in range(1, 51):
        grads = [torch.randn(param.shape, generator=generator) for param in start]
        for params, optimizer in zip((exact, theirs), optimizers, strict=True):
            for param, grad in zip(params, grads, strict=True):
                param.grad = grad.to(param.dtype)
            optimizer.step()
        grads = [grad.to(device) for grad in grads]
        fused_adamw_forward(
            ours, grads, *averages, step=step, **OPTIONS, block_size=256
        )
    for ours_, theirs_, exact_ in zip(ours, theirs, exact, strict=True):
        error = (ours_.cpu() - exact_).abs().max().item()
        allowed = (theirs_ - exact_).abs().max().item()
        assert error <= 2 * allowed
        assert allowed < 1e-5


# The public function and the optimizer, on the CPU and on a GPU alike.


@pytest.mark.parametrize("maximize", [False, True])
def test_optimizer_equals_that_of_torch_and_exchanges_states_with_it(device, maximize):
    torch.manual_seed(0)
    theirs = torch.nn.Linear(5, 3, device=device)
    ours = copy.deepcopy(theirs)
    options = OPTIONS | {"maximize": maximize}

    def groups(model):
        return [{"params": [model.weight]}, {"params": [model.bias], "lr": 0.3}]

    optimizers = [
        torch.optim.AdamW(groups(theirs), **options),
        FusedAdamW(groups(ours), **options),
    ]
    for step in range(50):
        x = torch.randn(4, 5, device=device)
        for model, optimizer in zip((theirs, ours), optimizers, strict=True):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            if step == 5:
                model.bias.grad = None  # from here on, one has stepped once less
            optimizer.step()
        if step == 20:  # both go on from the other's state
            states = [copy.deepcopy(o.state_dict()) for o in optimizers]
            for optimizer, state in zip(optimizers, states[::-1], strict=True):
                known = optimizer.state_dict()["param_groups"]
                for saved, own in zip(state["param_groups"], known, strict=True):
                    for name in own:
                        saved.setdefault(name, own[name])
                optimizer.load_state_dict(state)
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.bias, theirs.bias, rtol=1e-5, atol=1e-6)
    state = optimizers[1].state_dict()["state"][0]
    assert set(state) == {"step", "exp_avg", "exp_avg_sq"}
    assert optimizers[1].state_dict()["state"][1]["step"] == 49


def test_averages_of_bfloat16_are_float32_also_when_loaded(device):
    param = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16, device=device))
    param.grad = torch.full_like(param, 0.3)
    optimizer = FusedAdamW([param])
    loss = optimizer.step(lambda: 7.0)
    assert loss == 7.0
    saved = copy.deepcopy(optimizer.state_dict())
    fresh = FusedAdamW([param])
    fresh.load_state_dict(saved)
    state = fresh.state[param]
    assert state["exp_avg"].dtype == state["exp_avg_sq"].dtype == torch.float32
    torch.testing.assert_close(state["exp_avg"], saved["state"][0]["exp_avg"])
    assert state["exp_avg"] is not saved["state"][0]["exp_avg"]


def test_nothing_to_do(device):
    fused_adamw_([], [], [], [], step=1, lr=0.1)
    FusedAdamW([torch.nn.Parameter(torch.ones(2, device=device))]).step()


@pytest.mark.filterwarnings("default")
def test_operator_is_registered_as_torch_requires(device):
    inputs = arrays(torch.float32, device, [3, 2])
    torch.library.opcheck(
        torch.ops.mlopt.fused_adamw_.default,
        (*inputs, 1, 0.1, 0.9, 0.99, 1e-8, 0.1, False),
        test_utils=("test_schema", "test_faketensor"),
    )


@pytest.mark.filterwarnings("default")
def test_compiles_as_one_graph(device):
    expected = arrays(torch.float32, device, [3, 2])
    actual = [[t.clone() for t in array] for array in expected]

    def step(params, grads, exp_avgs, squares):
        fused_adamw_(params, grads, exp_avgs, squares, step=2, **OPTIONS)
        return params[0] + 1

    total = torch.compile(step, backend="aot_eager", fullgraph=True)(*actual)
    fused_adamw_(*expected, step=2, **OPTIONS)
    torch.testing.assert_close(actual, list(expected))
    torch.testing.assert_close(total, expected[0][0] + 1)


def test_bad_arguments_are_refused_by_name(device):
    def step(role=0, tensor=None, **options):
        lists = [[torch.ones(2, device=device)] for _ in range(4)]
        if tensor is not None:
            lists[role] = [tensor]
        fused_adamw_(*lists, **{"step": 1, "lr": 0.1} | options)

    three = torch.ones(3, device=device)
    for arguments, sentence in (
        ({"step": 0}, "step must be at least 1, got 0"),
        ({"lr": -1.0}, "lr must be at least 0, got -1.0"),
        ({"eps": -1.0}, "eps must be at least 0, got -1.0"),
        ({"betas": (0.9, 1.0)}, r"betas must each lie in \[0, 1\), got \(0.9, 1.0\)"),
        ({"role": 1, "tensor": three}, r"grads\[0\] must have the shape of its .*3"),
        ({"role": 2, "tensor": three[:2].to("meta")}, r"exp_avgs\[0\] must be on the"),
    ):
        with pytest.raises(ValueError, match=f"^{sentence}"):
            step(**arguments)
    for role, sentence in (
        (0, r"params\[0\] must have one of the dtypes .*, got torch.float64"),
        (1, r"grads\[0\] must have the dtype torch.float32, got torch.float64"),
        (3, r"exp_avg_sqs\[0\] must have the dtype torch.float32, got torch.float64"),
    ):
        with pytest.raises(TypeError, match=f"^{sentence}"):
            step(role=role, tensor=three[:2].double())
    with pytest.raises(ValueError, match=r"^grads must be as many as params, 0, got 1"):
        fused_adamw_([], [three], [], [], step=1, lr=0.1)
    with pytest.raises(ValueError, match=r"^weight_decay must be at least 0, got -0.1"):
        FusedAdamW([three], weight_decay=-0.1)
