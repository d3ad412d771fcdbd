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

The only thing saved beside the output is lse = m + log s of each query; with it
`_attention_backward` computes the probabilities again, block by block.

exp2 is an instruction of its own, exp is not: log2(e) goes into the scale.

Papers: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018,
arXiv:1805.02867; Dao, "FlashAttention-2", 2023, arXiv:2307.08691, algorithm 1.
"""

# ruff: noqa: N803  a constexpr is in capitals

import math
from typing import Any

import torch
from torch import Tensor

from mlopt_kernels._attention_backward import attention_backward_op
from mlopt_kernels._attention_tiles import Blocks, choose_blocks, head_rows, width_of
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
    offsets, mask = head_rows(start, n_queries, head, head_dim, WIDTH, BLOCK_QUERIES)
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
        places, mask_keys = head_rows(block, n_keys, head, head_dim, WIDTH, BLOCK_KEYS)
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
    width = width_of(head_dim)
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


def _setup(
    ctx: Any,
    inputs: tuple[Tensor, Tensor, Tensor, bool, float],
    output: tuple[Tensor, Tensor],
) -> None:
    query, key, value, ctx.causal, ctx.scale = inputs
    ctx.save_for_backward(query, key, value, *output)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    gradients = attention_backward_op(grad, *ctx.saved_tensors, ctx.causal, ctx.scale)
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
