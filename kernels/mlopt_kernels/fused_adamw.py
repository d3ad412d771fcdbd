r"""AdamW over many tensors in one launch: each number read once and written once.

    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g^2
    w = w - lr * weight_decay * w
    w = w - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)

Counted for each parameter of b bytes, with m and v in float32 always:

    bytes       read w, g: 2 b, m, v: 8; write w: b, m, v: 8   3 b + 16  (float32: 28)
    operations  m: 3, v: 4, decay: 1, step: 6                  14
    intensity   14 / (3 b + 16)                                (float32: 1 / 2)

Written with one torch operation a line, every line reads and writes whole tensors: some
100 bytes. Fused, the time is 28 bytes over bandwidth, if the tensors are so many
or so large that they fill the device: `_chunks` puts all of them into one launch.

float16 and bfloat16 parameters keep m and v in float32, where torch keeps them in the
parameter's dtype: bfloat16 has 8 bits, and beta2 = 0.999 changes v by less than its
last one. The parameter is rounded once a step.

Paper: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2017,
arXiv:1711.05101, algorithm 2. Differs from the paper: lr multiplies the decay, as in
torch.
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


def fused_adamw_reference(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    *,
    step: int,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    maximize: bool = False,
) -> None:
    """Step in plain torch; what the kernel must agree with.

    Args:
        params: Tensors w_{t-1}; become w_t.
        grads: Their gradients, same shapes and dtypes.
        exp_avgs: Averages m_{t-1} of the gradients, float32; become m_t.
        exp_avg_sqs: Averages v_{t-1} of their squares, float32; become v_t.
        step: The count t of steps with this one, at least 1.
        lr: Step size.
        betas: Shares of the old averages that are kept.
        eps: Added to the denominator.
        weight_decay: Share of the weights that a step with lr 1 would remove.
        maximize: Climb instead of descend.
    """
    beta1, beta2 = betas
    step_size = lr / (1 - beta1**step)
    root = (1 - beta2**step) ** 0.5
    for param, grad, exp_avg, exp_avg_sq in zip(
        params, grads, exp_avgs, exp_avg_sqs, strict=True
    ):
        wide = -grad.to(exp_avg.dtype) if maximize else grad.to(exp_avg.dtype)
        exp_avg.lerp_(wide, 1 - beta1)
        exp_avg_sq.mul_(beta2).addcmul_(wide, wide, value=1 - beta2)
        denominator = exp_avg_sq.sqrt().div_(root).add_(eps)
        moved = param.to(exp_avg.dtype) * (1 - lr * weight_decay)
        param.copy_(moved.addcdiv_(exp_avg, denominator, value=-step_size))


@triton.jit
def _update_chunk(
    param_ptr,  # (size,)
    grad_ptr,  # (size,)
    exp_avg_ptr,  # (size,)
    exp_avg_sq_ptr,  # (size,)
    offsets,
    mask,
    decay,
    step_size,
    one_minus_beta1,
    one_minus_beta2,
    root,
    eps,
    MAXIMIZE: tl.constexpr,  # noqa: N803
):
    """Update the parameters at `offsets`; a mask of None is true everywhere."""
    other = None if mask is None else 0
    param = tl.load(param_ptr + offsets, mask=mask, other=other).to(tl.float32)
    grad = tl.load(grad_ptr + offsets, mask=mask, other=other).to(tl.float32)
    exp_avg = tl.load(exp_avg_ptr + offsets, mask=mask, other=other)
    exp_avg_sq = tl.load(exp_avg_sq_ptr + offsets, mask=mask, other=other)
    if MAXIMIZE:
        grad = -grad
    # beta * a + (1 - beta) * g, with beta itself: 1 - beta in float32 would lose bits.
    exp_avg += one_minus_beta1 * (grad - exp_avg)
    exp_avg_sq += one_minus_beta2 * (grad * grad - exp_avg_sq)
    denominator = tl.sqrt(exp_avg_sq) / root + eps
    param = param * decay - step_size * exp_avg / denominator
    # The store rounds to the parameter's dtype.
    tl.store(param_ptr + offsets, param, mask=mask)
    tl.store(exp_avg_ptr + offsets, exp_avg, mask=mask)
    tl.store(exp_avg_sq_ptr + offsets, exp_avg_sq, mask=mask)


@triton.jit
def _fused_adamw_kernel(
    addresses_ptr,  # (4 * n_tensors,): params, grads, exp_avgs, exp_avg_sqs
    sizes_ptr,  # (n_tensors,)
    tensors_ptr,  # (n_chunks,)
    starts_ptr,  # (n_chunks,)
    param_like_ptr,  # of the dtype of the parameters; not read
    state_like_ptr,  # of the dtype of the averages; not read
    n_tensors,
    decay,
    step_size,
    one_minus_beta1,
    one_minus_beta2,
    root,
    eps,
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
    exp_avg_sq_ptr = address(
        addresses_ptr, 3 * n_tensors + tensor, state_like_ptr, ALIGNED
    )
    offsets = start + tl.arange(0, BLOCK_SIZE)
    # All chunks but a tensor's last are full. A mask would keep them from 16-byte
    # words: it may end inside a word, because the size is only known when it runs.
    if start + BLOCK_SIZE <= size:
        _update_chunk(
            param_ptr,
            grad_ptr,
            exp_avg_ptr,
            exp_avg_sq_ptr,
            offsets,
            None,
            decay,
            step_size,
            one_minus_beta1,
            one_minus_beta2,
            root,
            eps,
            MAXIMIZE,
        )
    else:
        _update_chunk(
            param_ptr,
            grad_ptr,
            exp_avg_ptr,
            exp_avg_sq_ptr,
            offsets,
            offsets < size,
            decay,
            step_size,
            one_minus_beta1,
            one_minus_beta2,
            root,
            eps,
            MAXIMIZE,
        )


def fused_adamw_forward(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    *,
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
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
        exp_avg_sqs: float32 tensors of the shapes of `params`; written.
        step: The count of steps with this one, at least 1.
        lr: Step size.
        betas: Shares of the old averages that are kept.
        eps: Added to the denominator.
        weight_decay: Share of the weights that a step with lr 1 would remove.
        maximize: Climb instead of descend.
        block_size: Elements of a program, a power of two.
    """
    beta1, beta2 = betas
    arrays = (params, grads, exp_avgs, exp_avg_sqs)
    for numbers in by_dtype(params):
        given = [[array[number] for number in numbers] for array in arrays]
        dense = [[tensor.contiguous() for tensor in array] for array in given]
        table = chunks(dense, block_size)
        _fused_adamw_kernel[(len(table.tensors),)](
            table.addresses,
            table.sizes,
            table.tensors,
            table.starts,
            dense[0][0],
            dense[2][0],
            len(numbers),
            # Computed in float64 here: in float32, 1 - 0.999 has 4 digits fewer.
            1 - lr * weight_decay,
            lr / (1 - beta1**step),
            1 - beta1,
            1 - beta2,
            (1 - beta2**step) ** 0.5,
            eps,
            MAXIMIZE=maximize,
            ALIGNED=table.aligned,
            BLOCK_SIZE=block_size,
            num_warps=8,
        )
        for role in (0, 2, 3):
            write_back(given[role], dense[role])


@torch.library.custom_op(
    "mlopt::fused_adamw_",
    mutates_args=("params", "exp_avgs", "exp_avg_sqs"),
    device_types="cpu",
)
def _fused_adamw(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    fused_adamw_reference(
        params,
        grads,
        exp_avgs,
        exp_avg_sqs,
        step=step,
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        maximize=maximize,
    )


@_fused_adamw.register_kernel("cuda")
def _fused_adamw_cuda(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    # Triton launches on the current GPU, which need not be that of the parameters.
    with torch.cuda.device(params[0].device):
        fused_adamw_forward(
            params,
            grads,
            exp_avgs,
            exp_avg_sqs,
            step=step,
            lr=lr,
            betas=(beta1, beta2),
            eps=eps,
            weight_decay=weight_decay,
            maximize=maximize,
        )


@_fused_adamw.register_fake
def _fused_adamw_fake(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    return None


@torch.no_grad()
def fused_adamw_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    *,
    step: int,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    maximize: bool = False,
) -> None:
    """Move all parameters by one step of AdamW and advance the averages, in place.

    On a CPU this computes `fused_adamw_reference`; on an NVIDIA GPU it launches the
    kernel once for each dtype of the parameters. `torch.compile` works through it. No
    gradient passes through a step.

    Args:
        params: Tensors w_{t-1} of any shapes, float16, bfloat16 or float32, on one
            device.
        grads: Gradients at w_{t-1}, same shapes, dtypes and device.
        exp_avgs: Averages m_{t-1} of the gradients: float32, zeros before step 1.
        exp_avg_sqs: Averages v_{t-1} of their squares: float32, zeros before step 1.
        step: The count t of steps with this one, at least 1.
        lr: Step size, at least 0.
        betas: Shares of the old averages that are kept, each in [0, 1).
        eps: Added to the denominator, at least 0.
        weight_decay: Share of the weights that a step with lr 1 would remove, at
            least 0.
        maximize: Climb instead of descend; weights decay all the same.

    Raises:
        TypeError: If a parameter has another dtype, or an average is not float32.
        ValueError: If the lists differ in length, shape, dtype or device, or an option
            is out of its range.
        ModuleNotFoundError: If the tensors are on a GPU and Triton is missing.

    Example:
        >>> w, m, v = torch.tensor([1.0, 4.0]), torch.zeros(2), torch.zeros(2)
        >>> fused_adamw_(
        ...     [w], [torch.zeros(2)], [m], [v], step=1, lr=0.5, weight_decay=0.5
        ... )
        >>> w
        tensor([0.7500, 3.0000])
    """
    if step < 1:
        raise ValueError(f"step must be at least 1, got {step}")
    check_options(lr=lr, betas=betas, weight_decay=weight_decay, eps=eps)
    check_arrays(params, grads, exp_avgs=exp_avgs, exp_avg_sqs=exp_avg_sqs)
    if len(params):
        _fused_adamw(
            params,
            grads,
            exp_avgs,
            exp_avg_sqs,
            step,
            lr,
            *betas,
            eps,
            weight_decay,
            maximize,
        )


class FusedAdamW(FusedOptimizer):
    """AdamW that steps all parameters of a group by `fused_adamw_`.

    Its `state_dict` has the names of that of `torch.optim.AdamW`, and loads it. The
    averages are float32 whatever the dtype of a parameter: 8 bytes each.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Step size, at least 0.
        betas: Shares of the old averages that are kept, each in [0, 1).
        eps: Added to the denominator, at least 0.
        weight_decay: Share of the weights that a step with lr 1 would remove, at
            least 0.
        maximize: Climb instead of descend; weights decay all the same.

    Raises:
        ValueError: In `step`, if an option is out of its range.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> weight.grad = torch.tensor([2.0])
        >>> FusedAdamW([weight], lr=0.25, weight_decay=0.0).step()
        >>> weight.data
        tensor([0.7500])
    """

    _averages = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        maximize: bool = False,
    ) -> None:
        check_options(lr=lr, betas=betas, weight_decay=weight_decay, eps=eps)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
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
        fused_adamw_(
            params,
            grads,
            *averages,
            step=step,
            lr=group["lr"],
            betas=group["betas"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            maximize=group["maximize"],
        )
