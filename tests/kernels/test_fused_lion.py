import copy
import itertools

import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_edu.optim import Lion
from mlopt_kernels.fused_lion import (
    FusedLion,
    fused_lion_,
    fused_lion_forward,
    fused_lion_reference,
)

OPTIONS = {"lr": 1e-2, "betas": (0.8, 0.95), "weight_decay": 0.1, "maximize": False}
SIZES = [1, 0, 64, 65, 300]
# The interpreter cuts bfloat16 off where a GPU rounds: one unit in the last place.
RTOL = {torch.float32: 2e-6, torch.float16: 2**-10, torch.bfloat16: 2**-7}


def arrays(dtype, device, sizes=SIZES):
    generator = torch.Generator().manual_seed(4)
    params, grads, exp_avgs = (
        [torch.randn(size, generator=generator).to(device) for size in sizes]
        for _ in range(3)
    )
    return [p.to(dtype) for p in params], [g.to(dtype) for g in grads], exp_avgs


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("dtype", RTOL, ids=str)
def test_kernel_agrees_with_the_reference(guarded, device, dtype, maximize):
    options = OPTIONS | {"maximize": maximize}
    expected = arrays(dtype, device)
    guards = [[guarded(len(t), t.dtype) for t in array] for array in expected]
    actual = [[guard.output for guard in row] for row in guards]
    for row, array in zip(actual, expected, strict=True):
        for ours, tensor in zip(row, array, strict=True):
            ours.copy_(tensor)
    fused_lion_reference(*expected, **options)
    fused_lion_forward(*actual, **options, block_size=64)
    for guard in itertools.chain(*guards):
        guard.check()
    torch.testing.assert_close(actual[0], expected[0], rtol=RTOL[dtype], atol=1e-6)
    torch.testing.assert_close(actual[1], expected[1], rtol=0, atol=0)
    torch.testing.assert_close(actual[2], expected[2], rtol=2e-6, atol=1e-7)


def test_signs_of_zero_and_nan_are_zero_as_in_torch(device):
    params = [torch.ones(2, device=device)]
    grads = [torch.tensor([0.0, torch.nan], device=device)]
    averages = [torch.zeros(2, device=device)]
    expected = [[t.clone() for t in array] for array in (params, grads, averages)]
    fused_lion_reference(*expected, **OPTIONS)
    fused_lion_forward(params, grads, averages, **OPTIONS)
    torch.testing.assert_close(params, expected[0])
    assert params[0].isfinite().all()
    assert averages[0].isnan().tolist() == [False, True]


# The optimizer, on the CPU and on a GPU alike.


@pytest.mark.parametrize("maximize", [False, True])
def test_fifty_steps_equal_the_written_out_rule_and_states_are_exchanged(
    device, maximize
):
    torch.manual_seed(0)
    theirs = torch.nn.Linear(5, 3, device=device)
    ours = copy.deepcopy(theirs)
    options = OPTIONS | {"maximize": maximize}
    pairs = [
        (theirs, Lion(theirs.parameters(), **options)),
        (ours, FusedLion(ours.parameters(), **options)),
    ]
    for step in range(50):
        grads = [torch.randn_like(param) for param in theirs.parameters()]
        for model, optimizer in pairs:
            for param, grad in zip(model.parameters(), grads, strict=True):
                param.grad = grad.clone()
            optimizer.step()
        if step == 20:
            states = [copy.deepcopy(optimizer.state_dict()) for _, optimizer in pairs]
            for (_, optimizer), state in zip(pairs, states[::-1], strict=True):
                optimizer.load_state_dict(state)
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.bias, theirs.bias, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("default")
def test_operator_is_registered_as_torch_requires(device):
    inputs = arrays(torch.float32, device, [3, 2])
    torch.library.opcheck(
        torch.ops.mlopt.fused_lion_.default,
        (*inputs, 0.1, 0.9, 0.99, 0.1, False),
        test_utils=("test_schema", "test_faketensor"),
    )


@pytest.mark.filterwarnings("default")
def test_compiles_as_one_graph(device):
    expected = arrays(torch.float32, device, [3, 2])
    actual = [[t.clone() for t in array] for array in expected]

    def step(params, grads, exp_avgs):
        fused_lion_(params, grads, exp_avgs, **OPTIONS)

    torch.compile(step, backend="aot_eager", fullgraph=True)(*actual)
    fused_lion_(*expected, **OPTIONS)
    torch.testing.assert_close(actual, list(expected))


def test_bad_arguments_are_refused_by_name(device):
    one, two = [torch.ones(1, device=device)], [torch.ones(2, device=device)]
    with pytest.raises(ValueError, match=r"^lr must be at least 0, got -0\.5"):
        fused_lion_(one, one, one, lr=-0.5)
    with pytest.raises(ValueError, match=r"^exp_avgs\[0\] must have the shape of"):
        fused_lion_(one, one, two, lr=0.5)
    with pytest.raises(ValueError, match=r"^betas must each lie in \[0, 1\)"):
        FusedLion(one, betas=(0.9, -0.1))
