import pytest
import torch
from torch.nn import functional

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels.cross_entropy import (
    DTYPES,
    REDUCTIONS,
    cross_entropy,
    cross_entropy_forward,
)

# The interpreter cuts bfloat16 off where a GPU rounds: one unit in the last place.
RTOL = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 5e-6}
SHAPES = [(1, 1), (7, 1), (1, 300), (5, 65)]


def drawn(shape, device, dtype=torch.float32):
    """Logits, and labels of which every third does not count."""
    generator = torch.Generator().manual_seed(sum(shape))
    logits = 3 * torch.randn(shape, generator=generator)
    labels = torch.randint(shape[-1], shape[:-1], generator=generator)
    labels[..., 2::3] = -100
    return logits.to(device, dtype), labels.to(device)


def exact(logits, labels, **options):
    """Return torch's loss in float64 and its gradient for a sum of the losses."""
    logits = logits.detach().double().requires_grad_()
    loss = functional.cross_entropy(logits, labels, **options)
    return loss, torch.autograd.grad(loss.sum(), logits)[0]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("dtype", "smoothing"),
    [
        (torch.float32, 0.0),
        (torch.float32, 0.1),
        (torch.float16, 0.1),
        (torch.bfloat16, 0.0),
    ],
    ids=str,
)
@pytest.mark.parametrize("config", [None, (2, 64)], ids=["chosen", "online"])
def test_kernel_agrees_with_float64(guarded, device, shape, dtype, smoothing, config):
    logits, labels = drawn(shape, device, dtype)
    wanted, wanted_grad = exact(
        logits, labels, label_smoothing=smoothing, reduction="none"
    )
    losses, grad = guarded(shape[0], torch.float32), guarded(logits.numel(), dtype)
    cross_entropy_forward(
        logits,
        labels,
        torch.tensor([0.5], device=device),
        losses.output,
        grad.output.view(shape),
        label_smoothing=smoothing,
        ignore_index=-100,
        config=config,
    )
    losses.check()
    grad.check()
    torch.testing.assert_close(2 * losses.output.double(), wanted, rtol=5e-6, atol=5e-6)
    actual_grad = 2 * grad.output.view(shape).double()
    rtol = RTOL[dtype]
    torch.testing.assert_close(actual_grad, wanted_grad, rtol=rtol, atol=rtol / 8)


def kernel_losses(guarded, logits, labels, config=None):
    out = guarded(len(labels), torch.float32)
    cross_entropy_forward(
        logits,
        labels,
        torch.ones(1, device=logits.device),
        out.output,
        None,
        label_smoothing=0.0,
        ignore_index=7,
        config=config,
    )
    out.check()
    return out.output


@pytest.mark.parametrize("config", [None, (2, 2)], ids=["chosen", "online"])
def test_large_and_infinite_logits(guarded, device, config):
    inf = torch.inf
    logits = torch.tensor(
        [[1e30, 1e30, 0.0, 0.0, 0.0], [-inf, -inf, -inf, 2.0, 2.0]] * 2, device=device
    )
    labels = torch.tensor([0, 3, 2, 0], device=device)
    actual = kernel_losses(guarded, logits, labels, config)
    # log 2 is not lost beside 1e30.
    assert actual[0] == torch.tensor(2.0).log()
    wanted = functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(actual, wanted)
    assert wanted.isinf().tolist() == [False, False, False, True]


def test_every_block_may_raise_the_maximum(guarded, device):
    logits = torch.arange(20.0, device=device).repeat(2, 1) / 4
    logits[1] = -logits[1]
    labels = torch.tensor([3, 19], device=device)
    actual = kernel_losses(guarded, logits, labels, (2, 4))
    wanted = functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(actual, wanted)


def test_a_label_that_is_no_class_gives_nan_and_reads_nothing(guarded, device):
    logits = torch.zeros(4, 5, device=device)
    labels = torch.tensor([5, -1, 7, 2**40], device=device)
    actual = kernel_losses(guarded, logits, labels)
    assert actual.isnan().tolist() == [True, True, False, True]
    assert actual[2] == 0


# The public function, on the CPU and on a GPU alike.


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_loss_and_gradient_against_float64(device, dtype, smoothing, reduction):
    logits, labels = drawn((3, 5, 7), device, dtype)
    labels[labels == -100] = 6
    options = {
        "label_smoothing": smoothing,
        "ignore_index": 6,
        "reduction": reduction,
    }
    wanted, wanted_grad = exact(logits.flatten(0, 1), labels.flatten(), **options)
    logits = logits.transpose(0, 1).requires_grad_()
    loss = cross_entropy(logits, labels.t(), **options)
    assert loss.dtype == torch.float32
    assert loss.shape == (labels.t().shape if reduction == "none" else ())
    in_order = loss.t().flatten() if reduction == "none" else loss
    torch.testing.assert_close(in_order.double(), wanted, rtol=5e-6, atol=5e-6)
    # A gradient that is not 1, different for each row where there are rows.
    factor = torch.arange(1.0, 1 + loss.numel(), device=device).view_as(loss) * 3
    loss.backward(factor)
    by_row = factor.t().reshape(-1, 1) if reduction == "none" else factor
    rtol = RTOL[dtype]
    torch.testing.assert_close(
        2**-4 * logits.grad.transpose(0, 1).flatten(0, 1).double(),
        2**-4 * by_row * wanted_grad,
        rtol=2 * rtol,
        atol=rtol,
    )


def raw_grad(logits, labels):
    return torch.autograd.grad(cross_entropy(logits, labels), logits)[0]


def test_rows_that_do_not_count(device):
    logits = torch.randn(2, 3, device=device, requires_grad=True)
    none = torch.full((2,), -100, device=device)
    assert cross_entropy(logits, none).isnan()
    assert cross_entropy(logits, none, reduction="sum") == 0
    assert raw_grad(logits, none).count_nonzero() == 0
    empty = logits[:0]
    assert cross_entropy(empty, none[:0]).isnan()
    assert cross_entropy(empty, none[:0], reduction="none").shape == (0,)


def test_no_gradient_is_computed_where_none_is_wanted(device):
    logits, labels = drawn((4, 3), device)
    operator = torch.ops.mlopt.cross_entropy.default
    assert operator(logits, labels, 0.0, -100, "mean", False)[1].shape == (0,)
    assert not cross_entropy(logits, labels).requires_grad
    with torch.no_grad():
        assert not cross_entropy(logits.requires_grad_(), labels).requires_grad


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_operator_is_registered_as_torch_requires(device, reduction):
    logits, labels = drawn((4, 3), device)
    operator = torch.ops.mlopt.cross_entropy.default
    with_grad = reduction == "mean"
    inputs = (logits, labels, 0.1, -100, reduction, with_grad)
    torch.library.opcheck(operator, inputs)


@pytest.mark.filterwarnings("default")
def test_compiles_as_one_graph(device):
    compiled = torch.compile(cross_entropy, backend="aot_eager", fullgraph=True)
    logits, labels = drawn((4, 3), device)
    logits.requires_grad_()
    loss = compiled(logits, labels)
    torch.testing.assert_close(loss, functional.cross_entropy(logits, labels))
    (actual,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(actual, raw_grad(logits, labels))


def test_bad_arguments_are_refused_by_name(device):
    logits, labels = drawn((4, 3), device)
    for bad, sentence in {
        labels[:2]: r"labels must have the shape \(4,\), .*, got \(2,\)",
        labels.to("meta"): "labels must have the device of logits, .*, got meta",
    }.items():
        with pytest.raises(ValueError, match=f"^{sentence}"):
            cross_entropy(logits, bad)
    with pytest.raises(ValueError, match=r"^logits must have at least one class, got "):
        cross_entropy(logits[:, :0], labels)
    with pytest.raises(ValueError, match=r"^label_smoothing must lie in .*, got 1\.5"):
        cross_entropy(logits, labels, label_smoothing=1.5)
    with pytest.raises(ValueError, match=r"^reduction must be one of .*, got 'max'"):
        cross_entropy(logits, labels, reduction="max")
    with pytest.raises(TypeError, match=r"^logits must have one of .*torch\.float64"):
        cross_entropy(logits.double(), labels)
    with pytest.raises(TypeError, match=r"^labels must have the dtype int64, got "):
        cross_entropy(logits, labels.int())
