import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels.clip_grad_norm import (
    DTYPES,
    clip_grad_norm_,
    clip_grad_norm_forward,
    clip_grad_norm_reference,
    number_of_chunks,
)

SIZES = [300, 0, 1, 64, 65]


def gradients(dtype, device, sizes=SIZES):
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(size, generator=generator).to(device, dtype) for size in sizes]


def launch(guarded, grads, max_norm, **options):
    """Run the kernels with guarded outputs; return the norm and the coefficient."""
    sums = guarded(number_of_chunks(grads, block_size=64), torch.float32)
    norm = guarded(2, torch.float32)
    clip_grad_norm_forward(
        grads, max_norm, sums.output, norm.output, block_size=64, **options
    )
    sums.check()
    norm.check()
    return norm.output


@pytest.mark.parametrize("max_norm", [1.0, 1e6], ids=["clipped", "left"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_kernels_agree_with_the_reference(guarded, device, dtype, max_norm):
    expected = gradients(dtype, device)
    guards = [guarded(len(grad), dtype) for grad in expected]
    actual = [guard.output for guard in guards]
    for ours, grad in zip(actual, expected, strict=True):
        ours.copy_(grad)
    exact = torch.cat(expected).double().norm().float()
    norm, coefficient = launch(guarded, actual, max_norm)
    for guard in guards:
        guard.check()
    torch.testing.assert_close(norm, exact, rtol=1e-6, atol=0)
    theirs = clip_grad_norm_reference(expected, max_norm)
    torch.testing.assert_close(norm, theirs, rtol=1e-6, atol=0)
    rtol = {torch.float32: 1e-6, torch.float16: 2**-10, torch.bfloat16: 2**-7}[dtype]
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=0)
    assert (coefficient == 1) == (max_norm == 1e6)


@pytest.mark.filterwarnings("ignore:.*invalid value:RuntimeWarning")
@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
def test_infinite_and_nan_norms_do_what_torch_does(guarded, device, bad):
    grads = gradients(torch.float32, device, [70, 3])
    grads[1][1] = bad
    params = [torch.nn.Parameter(torch.zeros_like(grad)) for grad in grads]
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad.clone()
    same = [grad.clone() for grad in grads]
    theirs = torch.nn.utils.clip_grad_norm_(params, 1.0)
    norm, _ = launch(guarded, grads, 1.0)
    torch.testing.assert_close(norm, theirs, equal_nan=True)
    expected = [param.grad for param in params]
    torch.testing.assert_close(grads, expected, equal_nan=True)
    kept = [grad.clone() for grad in same]
    launch(guarded, kept, 1.0, keep_nonfinite=True)
    torch.testing.assert_close(kept, same, rtol=0, atol=0, equal_nan=True)


def test_several_dtypes_that_are_not_contiguous(guarded, device):
    wider = [gradients(dtype, device, [80])[0].reshape(40, 2) for dtype in DTYPES]
    grads = [wide[:, 0] for wide in wider]
    beside = [wide[:, 1].clone() for wide in wider]
    expected = [grad.clone() for grad in grads]
    norm, _ = launch(guarded, grads, 0.5)
    theirs = clip_grad_norm_reference(expected, 0.5)
    torch.testing.assert_close(norm, theirs, rtol=1e-6, atol=0)
    torch.testing.assert_close(grads, expected, rtol=2**-7, atol=0)
    assert all(
        torch.equal(wide[:, 1], old) for wide, old in zip(wider, beside, strict=True)
    )


# The public function, on the CPU and on a GPU alike.


@pytest.mark.parametrize("max_norm", [0.0, 0.7, 1e3])
def test_equals_that_of_torch(device, max_norm):
    ours, theirs = torch.nn.Linear(4, 3, device=device), None
    ours(torch.ones(2, 4, device=device)).square().sum().backward()
    theirs = [torch.nn.Parameter(param.clone()) for param in ours.parameters()]
    for mine, param in zip(ours.parameters(), theirs, strict=True):
        param.grad = mine.grad.clone()
    frozen = torch.nn.Parameter(torch.ones(2, device=device))
    expected = torch.nn.utils.clip_grad_norm_([*theirs, frozen], max_norm)
    actual = clip_grad_norm_([*ours.parameters(), frozen], max_norm)
    torch.testing.assert_close(actual, expected)
    for mine, param in zip(ours.parameters(), theirs, strict=True):
        torch.testing.assert_close(mine.grad, param.grad)


def test_squares_of_float16_do_not_overflow(device):
    param = torch.nn.Parameter(torch.ones(4, dtype=torch.float16, device=device))
    param.grad = torch.full_like(param, 300.0)
    assert clip_grad_norm_(param, 300.0).item() == 600.0
    assert param.grad.tolist() == [150.0] * 4


@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
def test_error_if_nonfinite_raises_and_changes_nothing(device, bad):
    param = torch.nn.Parameter(torch.ones(2, device=device))
    param.grad = torch.tensor([2.0, bad], device=device)
    with pytest.raises(RuntimeError, match=r"^the norm .* must be finite, got (inf|n)"):
        clip_grad_norm_(param, 1.0, error_if_nonfinite=True)
    assert param.grad[0] == 2.0
    clip_grad_norm_(param, 1.0)
    assert param.grad[0] != 2.0


def test_without_gradients_the_norm_is_zero(device):
    assert clip_grad_norm_([torch.nn.Parameter(torch.ones(2))], 1.0) == 0
    assert clip_grad_norm_([], 1.0) == 0


@pytest.mark.filterwarnings("default")
def test_operator_is_registered_as_torch_requires(device):
    torch.library.opcheck(
        torch.ops.mlopt.clip_grad_norm_.default,
        (gradients(torch.float32, device, [3, 2]), 0.5, False),
        test_utils=("test_schema", "test_faketensor"),
    )


@pytest.mark.filterwarnings("default")
def test_compiles_as_one_graph(device):
    param = torch.nn.Parameter(torch.ones(2, device=device))
    param.grad = torch.tensor([3.0, 4.0], device=device)
    clip = torch.compile(clip_grad_norm_, backend="aot_eager", fullgraph=True)
    assert clip([param], 0.5) == 5.0
    torch.testing.assert_close(param.grad.cpu(), torch.tensor([0.3, 0.4]))


def test_bad_arguments_are_refused_by_name(device):
    param = torch.nn.Parameter(torch.ones(2, dtype=torch.float64, device=device))
    with pytest.raises(ValueError, match=r"^max_norm must be at least 0, got -1\.0"):
        clip_grad_norm_(param, -1.0)
    param.grad = torch.ones_like(param)
    with pytest.raises(TypeError, match=r"^every gradient must have one of .*float64"):
        clip_grad_norm_(param, 1.0)
    other = torch.nn.Parameter(torch.ones(2, device="meta"))
    other.grad = torch.ones(2, device="meta")
    first = torch.nn.Parameter(torch.ones(2, device=device))
    first.grad = torch.ones_like(first)
    with pytest.raises(ValueError, match=r"^every gradient must be on .*, got meta"):
        clip_grad_norm_([first, other], 1.0)
