import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels._attention_backward import (
    attention_backward,
    attention_backward_reference,
)
from mlopt_kernels._attention_tiles import Blocks
from mlopt_kernels.attention import attention, attention_forward, attention_reference

from .close import assert_close

# sequences, heads, queries, keys, head_dim, causal
CASES = [
    (1, 2, 37, 50, 24, False),
    (1, 1, 50, 37, 16, True),
    (1, 1, 37, 50, 128, True),
    (2, 1, 1, 1, 3, False),
    (1, 1, 16, 33, 64, False),
]
# Every one in float32, the first two in the smaller dtypes too.
EACH = [(case, torch.float32) for case in CASES] + [
    (case, dtype) for case in CASES[:2] for dtype in (torch.float16, torch.bfloat16)
]
BLOCKS = Blocks(queries=32, keys=16, num_warps=4, num_stages=2)


def drawn(n_batch, n_heads, n_queries, n_keys, head_dim, dtype, device):
    """Return query, key, value and the gradient of the output."""
    generator = torch.Generator().manual_seed(n_queries + n_keys + head_dim)
    return [
        torch.randn(n_batch, n_heads, rows, head_dim, generator=generator).to(
            device, dtype
        )
        for rows in (n_queries, n_keys, n_keys, n_queries)
    ]


def float64(query, key, value, grad, *, causal, scale):
    """Return output and gradients of torch's own attention, in float64."""
    leaves = [each.double().requires_grad_() for each in (query, key, value)]
    output = scaled_dot_product_attention(*leaves, is_causal=causal, scale=scale)
    return output.detach(), torch.autograd.grad(output, leaves, grad.double())


@pytest.mark.parametrize(("case", "dtype"), EACH, ids=str)
def test_kernels_agree_with_float64(guarded, device, case, dtype):
    *sizes, causal = case
    query, key, value, grad = drawn(*sizes, dtype, device)
    options = {"causal": causal, "scale": 1.2 * sizes[-1] ** -0.5}
    expected, gradients = float64(query, key, value, grad, **options)

    out = guarded(query.numel(), dtype)
    log_sums = guarded(query[..., 0].numel(), torch.float32)
    output, lse = out.output.view_as(query), log_sums.output.view(query.shape[:3])
    attention_forward(query, key, value, output, lse, **options, blocks=BLOCKS)
    out.check()
    log_sums.check()
    assert_close(output, expected.to(dtype))
    reference, wanted = attention_reference(query, key, value, **options)
    assert_close(reference, expected.to(dtype))
    torch.testing.assert_close(lse, wanted, rtol=1e-5, atol=1e-5)

    outs = [guarded(each.numel(), dtype) for each in (query, key, value)]
    grads = [
        each.output.view_as(like)
        for each, like in zip(outs, (query, key, value), strict=True)
    ]
    saved = (grad, query, key, value, output, lse)
    attention_backward(*saved, *grads, **options, blocks=BLOCKS)
    for each in outs:
        each.check()
    again = attention_backward_reference(*saved, **options)
    for actual, reference, exact in zip(grads, again, gradients, strict=True):
        assert_close(actual, exact.to(dtype))
        assert_close(reference, exact.to(dtype))


def test_scores_far_apart_do_not_overflow(guarded, device):
    # exp(100 * 16) is past float32: only the differences may reach exp.
    query, key, value, grad = drawn(1, 1, 20, 40, 16, torch.float32, device)
    out, log_sums = guarded(320, torch.float32), guarded(20, torch.float32)
    output, lse = out.output.view_as(query), log_sums.output.view(1, 1, 20)
    options = {"causal": True, "scale": 100.0}
    attention_forward(query, key, value, output, lse, **options, blocks=BLOCKS)
    expected, gradients = float64(query, key, value, grad, **options)
    torch.testing.assert_close(output, expected.float(), rtol=1e-3, atol=1e-3)
    grads = [torch.empty_like(each) for each in (query, key, value)]
    attention_backward(grad, query, key, value, output, lse, *grads, **options)
    for actual, exact in zip(grads, gradients, strict=True):
        torch.testing.assert_close(actual, exact.float(), rtol=1e-2, atol=5e-2)


def test_default_blocks(guarded, device):
    for head_dim in (64, 128):
        query, key, value, _ = drawn(1, 1, 3, 70, head_dim, torch.float16, device)
        out, log_sums = guarded(query.numel(), torch.float16), guarded(3, torch.float32)
        output, lse = out.output.view_as(query), log_sums.output.view(1, 1, 3)
        attention_forward(query, key, value, output, lse, causal=False, scale=0.1)
        out.check()
        log_sums.check()
        expected, _ = attention_reference(query, key, value, scale=0.1)
        assert_close(output, expected)


@pytest.mark.parametrize("causal", [False, True])
def test_public_function_against_torch(device, causal):
    query, key, value, grad = drawn(2, 3, 9, 7, 8, torch.float32, device)
    leaves = [
        each.transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
        for each in (query, key, value)
    ]
    output = attention(*leaves, causal=causal)
    output.backward(grad)
    options = {"causal": causal, "scale": None}
    expected, gradients = float64(query, key, value, grad, **options)
    torch.testing.assert_close(output, expected.float())
    for leaf, exact in zip(leaves, gradients, strict=True):
        torch.testing.assert_close(leaf.grad, exact.float(), rtol=1e-4, atol=1e-5)


def test_nothing_to_attend_from(device):
    query, key, value, _ = drawn(1, 2, 0, 5, 16, torch.float32, device)
    key.requires_grad_()
    output = attention(query, key, value)
    assert output.shape == (1, 2, 0, 16)
    output.sum().backward()
    assert torch.equal(key.grad, torch.zeros_like(key))


def test_no_query_leaves_gradients_of_zero(guarded, device):
    query, key, value, grad = drawn(1, 1, 0, 5, 16, torch.float32, device)
    grads = [guarded(each.numel(), torch.float32) for each in (query, key, value)]
    attention_backward(
        grad,
        query,
        key,
        value,
        query,
        query[..., 0],
        *(each.output for each in grads),
        causal=False,
        scale=1.0,
        blocks=BLOCKS,
    )
    assert [each.output.unique().tolist() for each in grads] == [[], [0.0], [0.0]]


def test_bad_arguments_are_refused_by_name(device):
    query, key, value, _ = drawn(1, 2, 3, 4, 16, torch.float32, device)

    def refused(error, sentence, **changes):
        inputs = {"query": query, "key": key, "value": value}
        with pytest.raises(error, match=f"^{sentence}"):
            attention(**inputs | changes)

    refused(TypeError, "query must have one of .*, got .*64", query=query.double())
    refused(ValueError, "query must have shape .* got", query=query[0])
    refused(ValueError, "query must .* 1 to 128", query=query.repeat(1, 1, 1, 9))
    refused(ValueError, "key must have the shape of query", key=key[:, :1])
    refused(ValueError, "key must .* at least one key", key=key[:, :, :0])
    refused(ValueError, "value must have the shape of key", value=value[:, :, :3])
    refused(ValueError, "key must have the dtype of query", key=key.half())
    refused(ValueError, "value must have the device of query", value=value.to("meta"))
