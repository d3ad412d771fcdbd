"""The gradients of attention, from the scores computed again.

With the scores of `attention`, its saved lse and the gradient of its output:

    P = exp(scores - lse)
    grad_value = P.T @ grad
    dP = grad @ value.T
    dS = P * (dP - delta),  delta[i] = sum over d of grad[i, d] * output[i, d]
    grad_query = scale * dS @ key           grad_key = scale * dS.T @ query

One kernel walks along the queries for grad_key and grad_value, one along the keys for
grad_query. Scores are computed in both: 14 L^2 D operations instead of 10, but no
program adds to what another one owns, so no atomics, and the same bits each time.

Paper: Dao, "FlashAttention-2", 2023, arXiv:2307.08691, algorithm 2. Differs from the
paper: grad_query has a kernel of its own.
"""

# ruff: noqa: N803  a constexpr is in capitals

import math

import torch
from torch import Tensor

from mlopt_kernels._attention_tiles import Blocks, choose_blocks, head_rows, width_of
from mlopt_kernels._triton import tl, triton
from mlopt_kernels.matmul import float32_precision, must_widen


def attention_backward_reference(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    *,
    causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value, by the module's equations."""
    wide = lse.dtype
    q, k, v, g = (each.to(wide) for each in (query, key, value, grad))
    scores = q @ k.mT * scale - lse[..., None]
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores).triu(1) > 0, -math.inf)
    probabilities = scores.exp()
    delta = (g * output.to(wide)).sum(dim=-1, keepdim=True)
    grad_scores = probabilities * (g @ v.mT - delta) * scale
    gradients = grad_scores @ k, grad_scores.mT @ q, probabilities.mT @ g
    grad_query, grad_key, grad_value = (each.to(query.dtype) for each in gradients)
    return grad_query, grad_key, grad_value


@triton.jit
def _attention_delta_kernel(
    grad_ptr,  # (n_rows, head_dim)
    output_ptr,  # (n_rows, head_dim)
    delta_ptr,  # (n_rows,) float32
    n_rows,
    head_dim,
    WIDTH: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
):
    """Multiply BLOCK_ROWS rows of the gradient with those of the output."""
    start = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    rows = start + tl.arange(0, BLOCK_ROWS)
    place = tl.arange(0, WIDTH)
    mask = (rows[:, None] < n_rows) & (place[None, :] < head_dim)
    offsets = rows[:, None] * head_dim + place[None, :]
    grad = tl.load(grad_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    output = tl.load(output_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    tl.store(delta_ptr + rows, tl.sum(grad * output, axis=1), mask=rows < n_rows)


@triton.jit
def _attention_backward_keys_kernel(
    grad_ptr,  # (n_batch * n_heads, n_queries, head_dim)
    query_ptr,  # (n_batch * n_heads, n_queries, head_dim)
    key_ptr,  # (n_batch * n_heads, n_keys, head_dim)
    value_ptr,  # (n_batch * n_heads, n_keys, head_dim)
    lse_ptr,  # (n_batch * n_heads, n_queries) float32
    delta_ptr,  # (n_batch * n_heads, n_queries) float32
    grad_key_ptr,  # (n_batch * n_heads, n_keys, head_dim)
    grad_value_ptr,  # (n_batch * n_heads, n_keys, head_dim)
    n_queries,
    n_keys,
    head_dim,
    scale,
    CAUSAL: tl.constexpr,
    WIDEN: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_QUERIES: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
):
    """Compute the gradients of BLOCK_KEYS keys and values of one head."""
    start = tl.program_id(0) * BLOCK_KEYS
    head = tl.program_id(1)
    offsets, mask = head_rows(start, n_keys, head, head_dim, WIDTH, BLOCK_KEYS)
    key = tl.load(key_ptr + offsets, mask=mask, other=0.0)
    value = tl.load(value_ptr + offsets, mask=mask, other=0.0)
    if WIDEN:
        key = key.to(tl.float32)
        value = value.to(tl.float32)
    cols = start + tl.arange(0, BLOCK_KEYS)
    scale = tl.cast(scale, tl.float32)
    grad_key = tl.zeros((BLOCK_KEYS, WIDTH), dtype=tl.float32)
    grad_value = tl.zeros((BLOCK_KEYS, WIDTH), dtype=tl.float32)
    first = 0
    if CAUSAL:
        first = start // BLOCK_QUERIES * BLOCK_QUERIES  # earlier queries see none
    for block in range(first, n_queries, BLOCK_QUERIES):
        rows = block + tl.arange(0, BLOCK_QUERIES)
        places, mask_rows = head_rows(
            block, n_queries, head, head_dim, WIDTH, BLOCK_QUERIES
        )
        query = tl.load(query_ptr + places, mask=mask_rows, other=0.0)
        grad = tl.load(grad_ptr + places, mask=mask_rows, other=0.0)
        if WIDEN:
            query = query.to(tl.float32)
            grad = grad.to(tl.float32)
        saved = head.to(tl.int64) * n_queries + rows
        lse = tl.load(lse_ptr + saved, mask=rows < n_queries, other=0.0)
        delta = tl.load(delta_ptr + saved, mask=rows < n_queries, other=0.0)
        # Transposed, keys x queries: these are the first factors of both products.
        scores = tl.dot(key, tl.trans(query), input_precision=PRECISION) * scale
        seen = rows[None, :] < n_queries
        if CAUSAL:
            seen = seen & (cols[:, None] <= rows[None, :])
        # Hidden before exp2: a hidden score may be far above the sum of the others.
        scores = tl.where(seen, scores - lse[None, :], -float("inf"))
        weights = tl.exp2(scores * 1.4426950408889634)
        grad_value = tl.dot(
            weights.to(grad.dtype), grad, grad_value, input_precision=PRECISION
        )
        grad_weights = tl.dot(value, tl.trans(grad), input_precision=PRECISION)
        grad_scores = weights * (grad_weights - delta[None, :])
        grad_key = tl.dot(
            grad_scores.to(query.dtype), query, grad_key, input_precision=PRECISION
        )
    grad_key = (grad_key * scale).to(grad_key_ptr.dtype.element_ty)
    grad_value = grad_value.to(grad_value_ptr.dtype.element_ty)
    tl.store(grad_key_ptr + offsets, grad_key, mask=mask)
    tl.store(grad_value_ptr + offsets, grad_value, mask=mask)


@triton.jit
def _attention_backward_queries_kernel(
    grad_ptr,  # (n_batch * n_heads, n_queries, head_dim)
    query_ptr,  # (n_batch * n_heads, n_queries, head_dim)
    key_ptr,  # (n_batch * n_heads, n_keys, head_dim)
    value_ptr,  # (n_batch * n_heads, n_keys, head_dim)
    lse_ptr,  # (n_batch * n_heads, n_queries) float32
    delta_ptr,  # (n_batch * n_heads, n_queries) float32
    grad_query_ptr,  # (n_batch * n_heads, n_queries, head_dim)
    n_queries,
    n_keys,
    head_dim,
    scale,
    CAUSAL: tl.constexpr,
    WIDEN: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_QUERIES: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
):
    """Compute the gradient of BLOCK_QUERIES queries of one head."""
    start = (tl.num_programs(0) - 1 - tl.program_id(0)) * BLOCK_QUERIES
    head = tl.program_id(1)
    offsets, mask = head_rows(start, n_queries, head, head_dim, WIDTH, BLOCK_QUERIES)
    query = tl.load(query_ptr + offsets, mask=mask, other=0.0)
    grad = tl.load(grad_ptr + offsets, mask=mask, other=0.0)
    if WIDEN:
        query = query.to(tl.float32)
        grad = grad.to(tl.float32)
    rows = start + tl.arange(0, BLOCK_QUERIES)
    saved = head.to(tl.int64) * n_queries + rows
    lse = tl.load(lse_ptr + saved, mask=rows < n_queries, other=0.0)
    delta = tl.load(delta_ptr + saved, mask=rows < n_queries, other=0.0)
    scale = tl.cast(scale, tl.float32)
    grad_query = tl.zeros((BLOCK_QUERIES, WIDTH), dtype=tl.float32)
    end = n_keys
    if CAUSAL:
        end = tl.minimum(n_keys, start + BLOCK_QUERIES)
    for block in range(0, end, BLOCK_KEYS):
        cols = block + tl.arange(0, BLOCK_KEYS)
        places, mask_keys = head_rows(block, n_keys, head, head_dim, WIDTH, BLOCK_KEYS)
        key = tl.load(key_ptr + places, mask=mask_keys, other=0.0)
        value = tl.load(value_ptr + places, mask=mask_keys, other=0.0)
        if WIDEN:
            key = key.to(tl.float32)
            value = value.to(tl.float32)
        scores = tl.dot(query, tl.trans(key), input_precision=PRECISION) * scale
        seen = cols[None, :] < n_keys
        if CAUSAL:
            seen = seen & (cols[None, :] <= rows[:, None])
        scores = tl.where(seen, scores - lse[:, None], -float("inf"))
        weights = tl.exp2(scores * 1.4426950408889634)
        grad_weights = tl.dot(grad, tl.trans(value), input_precision=PRECISION)
        grad_scores = weights * (grad_weights - delta[:, None])
        grad_query = tl.dot(
            grad_scores.to(key.dtype), key, grad_query, input_precision=PRECISION
        )
    grad_query = (grad_query * scale).to(grad_query_ptr.dtype.element_ty)
    tl.store(grad_query_ptr + offsets, grad_query, mask=mask)


def attention_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    grad_query: Tensor,
    grad_key: Tensor,
    grad_value: Tensor,
    *,
    causal: bool,
    scale: float,
    blocks: Blocks | None = None,
) -> None:
    """Launch the three backward kernels.

    Args:
        grad: Contiguous gradient of the output, of the shape of `query`.
        query: Contiguous (n_batch, n_heads, n_queries, head_dim), in one of `DTYPES`.
        key: Contiguous (n_batch, n_heads, n_keys, head_dim).
        value: Contiguous tensor of the shape of `key`.
        output: As the forward kernel wrote it.
        lse: Likewise.
        grad_query: Contiguous tensor of the shape of `query`; written.
        grad_key: Contiguous tensor of the shape of `key`; written.
        grad_value: Contiguous tensor of the shape of `key`; written.
        causal: As it was forward.
        scale: As it was forward.
        blocks: Of both large kernels; chosen by dtype and head_dim if left out.
    """
    n_batch, n_heads, n_queries, head_dim = query.shape
    n_keys, heads, width = key.shape[2], n_batch * n_heads, width_of(head_dim)
    options = {
        "CAUSAL": causal,
        "WIDEN": must_widen(query),
        "PRECISION": float32_precision(),
        "WIDTH": width,
    }
    _, for_keys, for_queries = choose_blocks(query.dtype, width)
    for_keys, for_queries = blocks or for_keys, blocks or for_queries
    delta = torch.empty_like(lse)
    rows = delta.numel()
    if rows:
        _attention_delta_kernel[(-(-rows // 128),)](
            grad, output, delta, rows, head_dim, WIDTH=width, BLOCK_ROWS=128
        )
    saved = (grad, query, key, value, lse, delta)
    sizes = (n_queries, n_keys, head_dim, scale)
    if grad_key.numel():
        _attention_backward_keys_kernel[(-(-n_keys // for_keys.keys), heads)](
            *saved, grad_key, grad_value, *sizes, **options, **for_keys.options()
        )
    if grad_query.numel():
        programs = -(-n_queries // for_queries.queries)
        _attention_backward_queries_kernel[(programs, heads)](
            *saved, grad_query, *sizes, **options, **for_queries.options()
        )


@torch.library.custom_op(
    "mlopt::attention_backward", mutates_args=(), device_types="cpu"
)
def attention_backward_op(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value; on a GPU by the kernels."""
    gradients = attention_backward_reference(
        grad, query, key, value, output, lse, causal=causal, scale=scale
    )
    grad_query, grad_key, grad_value = (each.contiguous() for each in gradients)
    return grad_query, grad_key, grad_value


@attention_backward_op.register_kernel("cuda")
def _attention_backward_cuda(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    grad, query = grad.contiguous(), query.contiguous()
    key, value = key.contiguous(), value.contiguous()
    grad_query = torch.empty_like(query)
    grad_key, grad_value = torch.empty_like(key), torch.empty_like(value)
    with torch.cuda.device(query.device):
        attention_backward(
            grad,
            query,
            key,
            value,
            output,
            lse,
            grad_query,
            grad_key,
            grad_value,
            causal=causal,
            scale=scale,
        )
    return grad_query, grad_key, grad_value


@attention_backward_op.register_fake
def _attention_backward_fake(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        query.new_empty(query.shape),
        key.new_empty(key.shape),
        value.new_empty(value.shape),
    )
