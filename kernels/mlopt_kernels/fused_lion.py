r"""Lion over many tensors in one launch: half the state of AdamW, and no square root.

    w = w - lr * (sign(beta1 * m + (1 - beta1) * g) + weight_decay * w)
    m = beta2 * m + (1 - beta2) * g

Counted for each parameter of b bytes, with m in float32 always:

    bytes       read w, g: 2 b, m: 4; write w: b, m: 4     3 b + 8  (float32: 20)
    operations  direction: 4, decay: 1, step: 2, m: 3      10
    intensity   10 / (3 b + 8)                             (float32: 1 / 2)

So a step takes 20 / 28 of the time of `fused_adamw`, whose table of chunks it uses. The
sign of 0 is 0, and so is that of NaN, as in torch: m becomes NaN and w stays.

Paper: Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023,
arXiv:2302.06675, algorithm 2. Differs from the paper: nothing.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from mlopt_kernels._chunks import address, by_dtype, chunks, write_back
from mlopt_kernels._fused_optimizer import (
    FusedOptimizer,
    check_arrays,
    check_options,
)
from mlopt_kernels._triton import tl, triton


def fused_lion_reference(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> None:
    """Step in plain torch; what the kernel must agree with.

    Args:
        params: Tensors w_{t-1}; become w_t.
        grads: Their gradients, same shapes and dtypes.
        exp_avgs: Averages m_{t-1} of the gradients, float32; become m_t.
        lr: Step size.
        betas: Shares of the old averages that are kept.
        weight_decay: Share of the weights that a step with lr 1 would remove.
        maximize: Climb instead of descend.
    """
    beta1, beta2 = betas
    for param, grad, exp_avg in zip(params, grads, exp_avgs, strict=True):
        wide = -grad.to(exp_avg.dtype) if maximize else grad.to(exp_avg.dtype)
        direction = exp_avg.lerp(wide, 1 - beta1).sign_()
        moved = param.to(exp_avg.dtype) * (1 - lr * weight_decay)
        param.copy_(moved.add_(direction, alpha=-lr))
        exp_avg.lerp_(wide, 1 - beta2)


@triton.jit
def _update_chunk(
    param_ptr,  # (size,)
    grad_ptr,  # (size,)
    exp_avg_ptr,  # (size,)
    offsets,
    mask,
    decay,
    lr,
    one_minus_beta1,
    one_minus_beta2,
    MAXIMIZE: tl.constexpr,  # noqa: N803
):
    """Update the parameters at `offsets`; a mask of None is true everywhere."""
    other = None if mask is None else 0
    param = tl.load(param_ptr + offsets, mask=mask, other=other).to(tl.float32)
    grad = tl.load(grad_ptr + offsets, mask=mask, other=other).to(tl.float32)
    exp_avg = tl.load(exp_avg_ptr + offsets, mask=mask, other=other)
    if MAXIMIZE:
        grad = -grad
    blend = exp_avg + one_minus_beta1 * (grad - exp_avg)
    # Comparisons, not a division by |blend|, which 0 would make NaN.
    direction = (blend > 0).to(tl.float32) - (blend < 0).to(tl.float32)
    param = param * decay - lr * direction
    exp_avg += one_minus_beta2 * (grad - exp_avg)
    # The store rounds to the parameter's dtype.
    tl.store(param_ptr + offsets, param, mask=mask)
    tl.store(exp_avg_ptr + offsets, exp_avg, mask=mask)


@triton.jit
def _fused_lion_kernel(
    addresses_ptr,  # (3 * n_tensors,): params, grads, exp_avgs
    sizes_ptr,  # (n_tensors,)
    tensors_ptr,  # (n_chunks,)
    starts_ptr,  # (n_chunks,)
    param_like_ptr,  # of the dtype of the parameters; not read
    state_like_ptr,  # of the dtype of the averages; not read
    n_tensors,
    decay,
    lr,
    one_minus_beta1,
    one_minus_beta2,
    MAXIMIZE: tl.constexpr,  # noqa: N803
    ALIGNED: tl.constexpr,  # noqa: N803
    BLOCK_SIZE: tl.constexpr,
):
    """Update one chunk of one tensor."""
    chunk = tl.program_id(0)
    tensor = tl.load(tensors_ptr + chunk)
    # A chunk starts at a multiple of its size, which the compiler cannot know either.
    start = tl.multiple_of(tl.load(starts_ptr + chunk), BLOCK_SIZE)
    size = tl.load(sizes_ptr + tensor)
    param_ptr = address(addresses_ptr, tensor, param_like_ptr, ALIGNED)
    grad_ptr = address(addresses_ptr, n_tensors + tensor, param_like_ptr, ALIGNED)
    exp_avg_ptr = address(
        addresses_ptr, 2 * n_tensors + tensor, state_like_ptr, ALIGNED
    )
    offsets = start + tl.arange(0, BLOCK_SIZE)
    # All chunks but a tensor's last are full. A mask would keep them from 16-byte
    # words: it may end inside a word, because the size is only known when it runs.
    if start + BLOCK_SIZE <= size:
        _update_chunk(
            param_ptr,
            grad_ptr,
            exp_avg_ptr,
            offsets,
            None,
            decay,
            lr,
            one_minus_beta1,
            one_minus_beta2,
            MAXIMIZE,
        )
    else:
        _update_chunk(
            param_ptr,
            grad_ptr,
            exp_avg_ptr,
            offsets,
            offsets < size,
            decay,
            lr,
            one_minus_beta1,
            one_minus_beta2,
            MAXIMIZE,
        )


def fused_lion_forward(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    *,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
    maximize: bool,
    block_size: int = 2048,
) -> None:
    """Launch the kernel, once for each dtype of parameters.

    Args:
        params: Tensors of float16, bfloat16 or float32; written. One that is not
            contiguous, here and below, is copied and copied back.
        grads: Tensors of the shapes and dtypes of `params`.
        exp_avgs: float32 tensors of the shapes of `params`; written.
        lr: Step size.
        betas: Shares of the old averages that are kept.
        weight_decay: Share of the weights that a step with lr 1 would remove.
        maximize: Climb instead of descend.
        block_size: Elements of a program, a power of two.
    """
    beta1, beta2 = betas
    arrays = (params, grads, exp_avgs)
    for numbers in by_dtype(params):
        given = [[array[number] for number in numbers] for array in arrays]
        dense = [[tensor.contiguous() for tensor in array] for array in given]
        table = chunks(dense, block_size)
        _fused_lion_kernel[(len(table.tensors),)](
            table.addresses,
            table.sizes,
            table.tensors,
            table.starts,
            dense[0][0],
            dense[2][0],
            len(numbers),
            # Computed in float64 here: in float32, 1 - 0.999 has 4 digits fewer.
            1 - lr * weight_decay,
            lr,
            1 - beta1,
            1 - beta2,
            MAXIMIZE=maximize,
            ALIGNED=table.aligned,
            BLOCK_SIZE=block_size,
            num_warps=8,
        )
        for role in (0, 2):
            write_back(given[role], dense[role])


@torch.library.custom_op(
    "mlopt::fused_lion_",
    mutates_args=("params", "exp_avgs"),
    device_types="cpu",
)
def _fused_lion(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    fused_lion_reference(
        params,
        grads,
        exp_avgs,
        lr=lr,
        betas=(beta1, beta2),
        weight_decay=weight_decay,
        maximize=maximize,
    )


@_fused_lion.register_kernel("cuda")
def _fused_lion_cuda(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    # Triton launches on the current GPU, which need not be that of the parameters.
    with torch.cuda.device(params[0].device):
        fused_lion_forward(
            params,
            grads,
            exp_avgs,
            lr=lr,
            betas=(beta1, beta2),
            weight_decay=weight_decay,
            maximize=maximize,
        )


@_fused_lion.register_fake
def _fused_lion_fake(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    return None


@torch.no_grad()
def fused_lion_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> None:
    """Move all parameters by one step of Lion and advance the averages, in place.

    On a CPU this computes `fused_lion_reference`; on an NVIDIA GPU it launches the
    kernel once for each dtype of the parameters. `torch.compile` works through it. No
    gradient passes through a step.

    Args:
        params: Tensors w_{t-1} of any shapes, float16, bfloat16 or float32, on one
            device.
        grads: Gradients at w_{t-1}, same shapes, dtypes and device.
        exp_avgs: Averages m_{t-1} of the gradients: float32, zeros before step 1.
        lr: Step size, at least 0.
        betas: Shares of the old averages that are kept, each in [0, 1).
        weight_decay: Share of the weights that a step with lr 1 would remove, at
            least 0.
        maximize: Climb instead of descend; weights decay all the same.

    Raises:
        TypeError: If a parameter has another dtype, or an average is not float32.
        ValueError: If the lists differ in length, shape, dtype or device, or an option
            is out of its range.
        ModuleNotFoundError: If the tensors are on a GPU and Triton is missing.

    Example:
        >>> w, m = torch.zeros(3), torch.zeros(3)
        >>> g = torch.tensor([2.0, -0.5, 0.0])
        >>> fused_lion_([w], [g], [m], lr=0.25, betas=(0.9, 0.5))
        >>> w, m
        (tensor([-0.2500,  0.2500,  0.0000]), tensor([ 1.0000, -0.2500,  0.0000]))
    """
    check_options(lr=lr, betas=betas, weight_decay=weight_decay)
    check_arrays(params, grads, exp_avgs=exp_avgs)
    if len(params):
        _fused_lion(
            params,
            grads,
            exp_avgs,
            lr,
            *betas,
            weight_decay,
            maximize,
        )


class FusedLion(FusedOptimizer):
    """Lion that steps all parameters of a group by `fused_lion_`.

    Its `state_dict` has the names of that of the authors, and loads it. The averages
    are float32 whatever the dtype of a parameter: 4 bytes each.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Step size, at least 0.
        betas: Shares of the old averages that are kept, each in [0, 1).
        weight_decay: Share of the weights that a step with lr 1 would remove, at
            least 0.
        maximize: Climb instead of descend; weights decay all the same.

    Raises:
        ValueError: In `step`, if an option is out of its range.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> weight.grad = torch.tensor([2.0])
        >>> FusedLion([weight], lr=0.25, weight_decay=0.0).step()
        >>> weight.data
        tensor([0.7500])
    """

    _averages = ("exp_avg",)

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-4,
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None:
        check_options(lr=lr, betas=betas, weight_decay=weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _update(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        averages: list[list[Tensor]],
        step: int,
        group: dict[str, Any],
    ) -> None:
        fused_lion_(
            params,
            grads,
            *averages,
            lr=group["lr"],
            betas=group["betas"],
            weight_decay=group["weight_decay"],
            maximize=group["maximize"],
        )
