r"""Attention without its matrix: the softmax is carried along the keys.

    scores[i, j] = scale * sum over d of query[i, d] * key[j, d]
    output[i] = sum over j of softmax(scores[i])[j] * value[j]

for each head of each sequence. Counted for one head with L queries and keys of D
numbers of b bytes:

    operations  scores 2 L L D, output 2 L L D             4 L^2 D; half if causal
    bytes       query, key, value read, output written     4 b L D
    intensity                                              L / b
    the matrix  scores written and read, softmax too       4 b L^2 more if stored

At L = 4096 and D = 64 storing the matrix would move 64 times the bytes of the rest.
So a program keeps a tile of queries, walks through the keys in blocks, and corrects as
it goes: with the running maximum m, the sum s of exp(score - m) and the total t of
exp(score - m) * value, a block whose maximum is larger, m', makes

    s <- s exp(m - m') + sum of exp(score - m')
    t <- t exp(m - m') + exp(score - m') @ value      and at the end output = t / s

The only thing saved beside the output is lse = m + log s of each query. The backward
pass computes the probabilities again, P = exp(scores - lse), block by block:

    grad_value = P.T @ grad
    dP = grad @ value.T
    dS = P * (dP - delta),  delta[i] = sum over d of grad[i, d] * output[i, d]
    grad_query = scale * dS @ key           grad_key = scale * dS.T @ query

One kernel walks along the queries for grad_key and grad_value, one along the keys for
grad_query. Scores are computed in both: 14 L^2 D operations instead of 10, but no
program adds to what another one owns, so no atomics, and the same bits each time.

exp2 is an instruction of its own, exp is not: log2(e) goes into the scale.

Papers: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018,
arXiv:1805.02867; Dao, "FlashAttention-2", 2023, arXiv:2307.08691, algorithms 1 and 2.
Differs from the paper: grad_query has a kernel of its own.
"""

# ruff: noqa: N803  a constexpr is in capitals

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mlopt_kernels._triton import tl, triton
from mlopt_kernels.matmul import DTYPES, float32_precision, must_widen

LARGEST_HEAD = 128


def attention_reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Attend in plain torch; what the kernels must agree with.

    Args:
        query: Tensor of shape (n_batch, n_heads, n_queries, head_dim).
        key: Tensor of shape (n_batch, n_heads, n_keys, head_dim).
        value: Tensor of the shape of `key`.
        causal: Query i sees the keys 0 to i alone.
        scale: Of the scores; 1 / sqrt(head_dim) if None.

    Returns:
        output: In the shape and dtype of `query`, summed up in float32.
        lse: float32 of shape (n_batch, n_heads, n_queries): log of the sum of exp of
            the scores.
    """
    wide = torch.promote_types(query.dtype, torch.float32)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = query.to(wide) @ key.to(wide).mT * scale
    if causal:
        hidden = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(hidden, -math.inf)
    output = scores.softmax(dim=-1) @ value.to(wide)
    return output.to(query.dtype), scores.logsumexp(dim=-1)


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
def _rows(start, length, head, head_dim, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Return offsets and mask of BLOCK rows of one head, (BLOCK, WIDTH)."""
    rows = start + tl.arange(0, BLOCK)
    place = tl.arange(0, WIDTH)
    # int64: all heads of all sequences may pass 2^31 elements.
    offsets = (head.to(tl.int64) * length + rows)[:, None] * head_dim + place[None, :]
    return offsets, (rows[:, None] < length) & (place[None, :] < head_dim)


@triton.jit
def _attention_forward_kernel(
    query_ptr,  # (n_batch * n_heads, n_queries, head_dim)
    key_ptr,  # (n_batch * n_heads, n_keys, head_dim)
    value_ptr,  # (n_batch * n_heads, n_keys, head_dim)
    output_ptr,  # (n_batch * n_heads, n_queries, head_dim)
    lse_ptr,  # (n_batch * n_heads, n_queries) float32
    n_queries,
    n_keys,
    head_dim,
    scale,
    CAUSAL: tl.constexpr,
    WIDEN: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDTH: tl.constexpr,  # head_dim, filled up to a power of two
    BLOCK_QUERIES: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
):
    """Attend from BLOCK_QUERIES queries of one head to all keys they see."""
    # The last queries see most keys if causal: they start first, and end in time.
    start = (tl.num_programs(0) - 1 - tl.program_id(0)) * BLOCK_QUERIES
    head = tl.program_id(1)
    offsets, mask = _rows(start, n_queries, head, head_dim, WIDTH, BLOCK_QUERIES)
    query = tl.load(query_ptr + offsets, mask=mask, other=0.0)
    if WIDEN:
        query = query.to(tl.float32)
    rows = start + tl.arange(0, BLOCK_QUERIES)
    top = tl.full((BLOCK_QUERIES,), -1e30, dtype=tl.float32)
    norm = tl.zeros((BLOCK_QUERIES,), dtype=tl.float32)
    total = tl.zeros((BLOCK_QUERIES, WIDTH), dtype=tl.float32)
    scale2 = tl.cast(scale, tl.float32) * 1.4426950408889634  # log2(e)
    end = n_keys
    if CAUSAL:
        end = tl.minimum(n_keys, start + BLOCK_QUERIES)
    for block in range(0, end, BLOCK_KEYS):
        cols = block + tl.arange(0, BLOCK_KEYS)
        places, mask_keys = _rows(block, n_keys, head, head_dim, WIDTH, BLOCK_KEYS)
        key = tl.load(key_ptr + places, mask=mask_keys, other=0.0)
        value = tl.load(value_ptr + places, mask=mask_keys, other=0.0)
        if WIDEN:
            key = key.to(tl.float32)
            value = value.to(tl.float32)
        scores = tl.dot(query, tl.trans(key), input_precision=PRECISION) * scale2
        seen = cols[None, :] < n_keys
        if CAUSAL:
            seen = seen & (cols[None, :] <= rows[:, None])
        scores = tl.where(seen, scores, -float("inf"))
        higher = tl.maximum(top, tl.max(scores, axis=1))
        weights = tl.exp2(scores - higher[:, None])
        correction = tl.exp2(top - higher)
        norm = norm * correction + tl.sum(weights, axis=1)
        total = total * correction[:, None]
        total = tl.dot(weights.to(value.dtype), value, total, input_precision=PRECISION)
        top = higher
    output = total / norm[:, None]
    tl.store(output_ptr + offsets, output.to(output_ptr.dtype.element_ty), mask=mask)
    lse = (top + tl.log2(norm)) * 0.6931471805599453  # ln(2): back to base e
    lse_ptrs = lse_ptr + head.to(tl.int64) * n_queries + rows
    tl.store(lse_ptrs, lse, mask=rows < n_queries)


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
    offsets, mask = _rows(start, n_keys, head, head_dim, WIDTH, BLOCK_KEYS)
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
        places, mask_rows = _rows(
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
    offsets, mask = _rows(start, n_queries, head, head_dim, WIDTH, BLOCK_QUERIES)
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
        places, mask_keys = _rows(block, n_keys, head, head_dim, WIDTH, BLOCK_KEYS)
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


def _width(head_dim: int) -> int:
    """Return the power of two, at least 16, that holds a row of a head."""
    return max(16, 1 << (head_dim - 1).bit_length())


class Blocks(NamedTuple):
    """What one program holds of a head, and with what.

    Attributes:
        queries: Queries of a program or a step, a power of two of at least 16.
        keys: Keys of a step or a program, likewise.
        num_warps: Warps of 32 threads of a program.
        num_stages: Steps that are loaded ahead while one is multiplied.
    """

    queries: int
    keys: int
    num_warps: int
    num_stages: int

    def options(self) -> dict[str, Any]:
        """Return the blocks as keyword arguments of a kernel's launch."""
        return {
            "BLOCK_QUERIES": self.queries,
            "BLOCK_KEYS": self.keys,
            "num_warps": self.num_warps,
            "num_stages": self.num_stages,
        }


def choose_blocks(dtype: torch.dtype, width: int) -> tuple[Blocks, Blocks, Blocks]:
    """Return the largest blocks seen to fit the registers of an A100 and an H100.

    Float32 stays off the tensor core and takes its factors into registers whole.

    Args:
        dtype: Of the inputs.
        width: head_dim, filled up to a power of two.

    Returns:
        The blocks of the forward kernel, and backward of that of the keys and that of
        the queries.
    """
    wide = width > 64
    if dtype == torch.float32:
        narrow = Blocks(32, 32, num_warps=4, num_stages=2)
        forward = Blocks(32, 16, num_warps=8, num_stages=2) if wide else narrow
        return forward, narrow._replace(num_warps=8) if wide else narrow, narrow
    forward = Blocks(128, 32 if wide else 64, num_warps=8, num_stages=3)
    backward = Blocks(64, 64, num_warps=8, num_stages=2)
    return forward, backward, backward


def attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    *,
    causal: bool,
    scale: float,
    blocks: Blocks | None = None,
) -> None:
    """Launch the forward kernel, one program for each head and block of queries.

    Args:
        query: Contiguous (n_batch, n_heads, n_queries, head_dim), in one of `DTYPES`.
        key: Contiguous (n_batch, n_heads, n_keys, head_dim).
        value: Contiguous tensor of the shape of `key`.
        output: Contiguous tensor of the shape of `query`; written.
        lse: Contiguous float32 of shape (n_batch, n_heads, n_queries); written.
        causal: Query i sees the keys 0 to i alone.
        scale: Of the scores.
        blocks: What a program holds; chosen by dtype and head_dim if left out.
    """
    n_batch, n_heads, n_queries, head_dim = query.shape
    if output.numel() == 0:
        return
    width = _width(head_dim)
    blocks = blocks or choose_blocks(query.dtype, width)[0]
    _attention_forward_kernel[(-(-n_queries // blocks.queries), n_batch * n_heads)](
        query,
        key,
        value,
        output,
        lse,
        n_queries,
        key.shape[2],
        head_dim,
        scale,
        CAUSAL=causal,
        WIDEN=must_widen(query),
        PRECISION=float32_precision(),
        WIDTH=width,
        **blocks.options(),
    )


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
    n_keys, heads, width = key.shape[2], n_batch * n_heads, _width(head_dim)
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


@torch.library.custom_op("mlopt::attention", mutates_args=(), device_types="cpu")
def _attention(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    output, lse = attention_reference(query, key, value, causal=causal, scale=scale)
    return output.contiguous(), lse


@_attention.register_kernel("cuda")
def _attention_cuda(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    output = torch.empty_like(query)
    lse = query.new_empty(query.shape[:3], dtype=torch.float32)
    # Triton launches on the current GPU, which need not be the one of query.
    with torch.cuda.device(query.device):
        attention_forward(query, key, value, output, lse, causal=causal, scale=scale)
    return output, lse


@_attention.register_fake
def _attention_fake(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    lse = query.new_empty(query.shape[:3], dtype=torch.float32)
    return query.new_empty(query.shape), lse


@torch.library.custom_op(
    "mlopt::attention_backward", mutates_args=(), device_types="cpu"
)
def _attention_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    gradients = attention_backward_reference(
        grad, query, key, value, output, lse, causal=causal, scale=scale
    )
    grad_query, grad_key, grad_value = (each.contiguous() for each in gradients)
    return grad_query, grad_key, grad_value


@_attention_backward.register_kernel("cuda")
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


@_attention_backward.register_fake
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


def _setup(
    ctx: Any,
    inputs: tuple[Tensor, Tensor, Tensor, bool, float],
    output: tuple[Tensor, Tensor],
) -> None:
    query, key, value, ctx.causal, ctx.scale = inputs
    ctx.save_for_backward(query, key, value, *output)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    gradients = _attention_backward(grad, *ctx.saved_tensors, ctx.causal, ctx.scale)
    return (*gradients, None, None)


_attention.register_autograd(_backward, setup_context=_setup)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Average the values by the softmax of query times key.

    On a CPU this computes `attention_reference`; on an NVIDIA GPU it launches the
    kernels, whose memory grows with the number of queries and keys, not with their
    product. Autograd and `torch.compile` work through it. A non-contiguous input is
    copied first.

    Args:
        query: (n_batch, n_heads, n_queries, head_dim), head_dim from 1 to 128, in one
            of `DTYPES`.
        key: (n_batch, n_heads, n_keys, head_dim), n_keys at least 1.
        value: Tensor of the shape of `key`.
        causal: Query i sees the keys 0 to i alone, as `is_causal` of torch's
            `scaled_dot_product_attention`.
        scale: Of the scores; 1 / sqrt(head_dim) if None.

    Returns:
        A new contiguous tensor of the shape and dtype of `query`.

    Raises:
        TypeError: If the dtype is not one of `DTYPES`.
        ValueError: If a shape, dtype or device does not fit.
        ModuleNotFoundError: If the tensors are on a GPU and Triton is missing.

    Example:
        >>> query, key = torch.zeros(1, 1, 2, 4), torch.ones(1, 1, 2, 4)
        >>> value = torch.tensor([2.0, 4.0])[None, None, :, None].expand(1, 1, 2, 4)
        >>> attention(query, key, value, causal=True)
        tensor([[[[2., 2., 2., 2.],
                  [3., 3., 3., 3.]]]])
    """
    if query.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"query must have one of the dtypes {names}, got {query.dtype}")
    if query.ndim != 4 or not 1 <= query.shape[-1] <= LARGEST_HEAD:
        raise ValueError(
            "query must have shape (n_batch, n_heads, n_queries, head_dim) with "
            f"head_dim from 1 to {LARGEST_HEAD}, got {tuple(query.shape)}"
        )
    wanted = query.shape[:2], query.shape[3:]
    if key.ndim != 4 or (key.shape[:2], key.shape[3:]) != wanted or not key.shape[2]:
        raise ValueError(
            "key must have the shape of query except for at least one key, "
            f"got {tuple(key.shape)} for {tuple(query.shape)}"
        )
    if value.shape != key.shape:
        raise ValueError(
            f"value must have the shape of key, {tuple(key.shape)}, "
            f"got {tuple(value.shape)}"
        )
    for name, tensor in {"key": key, "value": value}.items():
        for what in ("dtype", "device"):
            expected, got = getattr(query, what), getattr(tensor, what)
            if got != expected:
                raise ValueError(
                    f"{name} must have the {what} of query, {expected}, got {got}"
                )
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    output: Tensor = _attention(query, key, value, causal, scale)[0]
    return output
