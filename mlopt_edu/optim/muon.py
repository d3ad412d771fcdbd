r"""Muon: momentum made orthogonal, for matrices; AdamW for everything else.

    M_t = momentum * M_{t-1} + (1 - momentum) * G_t
    D_t = (1 - momentum) * G_t + momentum * M_t         with Nesterov; else D_t = M_t
    W_t = W_{t-1} - lr * (scale * orthogonal(D_t) + weight_decay * W_{t-1})

where orthogonal(D) takes every direction of D at full size: see orthogonal.py.

Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
and, for the scale that lets it share AdamW's lr, Liu et al., "Muon is Scalable for LLM
Training", 2025, arXiv:2502.16982, equation 4. Differs from the source: on a CPU the
iteration runs in the precision of the parameter, at least float32, not in bfloat16.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from mlopt_edu.optim.adamw import adamw_update
from mlopt_edu.optim.batches import batches, step_count
from mlopt_edu.optim.multi_tensor import T, Tensors
from mlopt_edu.optim.orthogonal import newton_schulz
from mlopt_edu.optim.ranges import require_betas, require_non_negative, require_share

# Numbers in one stack of matrices: larger ones save no time and cost memory.
STACK_LIMIT = 2**22


def muon_update(
    param: T,
    grad: T,
    momentum_buffer: T,
    *,
    lr: float,
    momentum: float = 0.95,
    nesterov: bool = True,
    weight_decay: float = 0.0,
    ns_steps: int = 5,
    ns_dtype: torch.dtype | None = None,
    adjust_lr_fn: str = "match_rms_adamw",
) -> None:
    """Move `param` by one step and advance `momentum_buffer`, both in place.

    Args:
        param: Parameter W_{t-1}, a tensor of shape (n, m) or (n, ...), which is taken
            as n rows, or `Tensors`; becomes W_t.
        grad: Gradient of the loss at W_{t-1}, same shape as `param`.
        momentum_buffer: M_{t-1}, same shape as `param`; becomes M_t.
        lr: Step size, at least 0.
        momentum: Weight of the old momentum, in [0, 1).
        nesterov: Look ahead along the new momentum.
        weight_decay: Decoupled decay, multiplied by `lr`; at least 0.
        ns_steps: Rounds of Newton-Schulz, at least 1.
        ns_dtype: What it computes in, see `newton_schulz`.
        adjust_lr_fn: "match_rms_adamw" for the scale 0.2 * sqrt(max(n, m)), "original"
            for sqrt(max(1, n / m)).

    Example:
        >>> w, m = torch.zeros(2, 2), torch.zeros(2, 2)
        >>> g = torch.tensor([[0.0, 8.0], [-8.0, 0.0]])
        >>> muon_update(w, g, m, lr=1.0, ns_steps=9, adjust_lr_fn="original")
        >>> w.round(decimals=1)
        tensor([[ 0.0000, -1.1000],
                [ 1.1000,  0.0000]])
    """
    momentum_buffer.lerp_(grad, 1 - momentum)
    direction = grad.lerp(momentum_buffer, momentum) if nesterov else momentum_buffer
    iterate = functools.partial(newton_schulz, steps=ns_steps, dtype=ns_dtype)
    update = _orthogonalize(direction, iterate, adjust_lr_fn)
    param.mul_(1 - lr * weight_decay).add_(update, alpha=-lr)


def _orthogonalize(
    direction: T, iterate: Callable[[Tensor], Tensor], adjust_lr_fn: str
) -> T:
    """Return the scaled orthogonal factors; matrices of one shape share their calls."""
    if isinstance(direction, Tensor):
        return _orthogonalize(Tensors([direction]), iterate, adjust_lr_fn).entries[0]
    same_shape: dict[torch.Size, list[Tensor]] = {}
    for entry in direction.entries:
        same_shape.setdefault(entry.shape, []).append(entry.flatten(1))
    factors: dict[torch.Size, Iterator[Tensor]] = {}
    for shape, matrices in same_shape.items():
        scale = _lr_scale(*matrices[0].shape, adjust_lr_fn=adjust_lr_fn)
        room = max(1, STACK_LIMIT // max(1, shape.numel()))
        stacks = [
            iterate(torch.stack(matrices[start : start + room]))
            for start in range(0, len(matrices), room)
        ]
        factors[shape] = iter(torch.cat(stacks).mul_(scale).view(len(matrices), *shape))
    return Tensors([next(factors[entry.shape]) for entry in direction.entries])


def _lr_scale(rows: int, columns: int, *, adjust_lr_fn: str) -> float:
    if adjust_lr_fn == "original":
        return math.sqrt(max(1.0, rows / max(1, columns)))
    return 0.2 * math.sqrt(max(rows, columns))


class Muon(Optimizer):
    """Momentum made orthogonal for matrices, AdamW for what is not one.

    Parameters of two and more dimensions are matrices: convolution weights of shape
    (out, in, height, width) are taken as `out` rows. Biases, gains and scalars have
    AdamW's step. Embeddings and the output head are matrices by shape but not by use,
    each row belonging to one token: give them a group with `use_muon=False`.

    With "match_rms_adamw" both kinds of step have the same size, so one `lr`, the one
    good for AdamW, serves both. With "original" a square matrix of n rows moves
    0.2 * sqrt(n) times less at the same `lr`: what AdamW updates needs its own group.

    Memory: one buffer of the parameter's size and dtype for matrices, half of AdamW's
    two. During a step some more for the products, in stacks of at most 4 M numbers.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Step size, at least 0.
        momentum: Weight of the old momentum, in [0, 1).
        nesterov: Look ahead along the new momentum.
        weight_decay: Decoupled decay, multiplied by `lr`; at least 0.
        ns_steps: Rounds of Newton-Schulz, at least 1.
        ns_dtype: What it computes in: None for bfloat16 on a GPU and float32 or more on
            a CPU. A CPU with matrix units (AMX) is faster with `torch.bfloat16`.
        adjust_lr_fn: "match_rms_adamw" or "original", see `muon_update`.
        use_muon: Treat matrices as matrices; False for AdamW on the whole group.
        betas: AdamW's weights of the old averages, each in [0, 1).
        eps: Added to the root in AdamW, at least 0.
        maximize: Climb instead of descend.

    Raises:
        ValueError: If a hyper-parameter, or one of a group's own, is out of its range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.1,
        ns_steps: int = 5,
        ns_dtype: torch.dtype | None = None,
        adjust_lr_fn: str = "match_rms_adamw",
        use_muon: bool = True,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "ns_steps": ns_steps,
            "ns_dtype": ns_dtype,
            "adjust_lr_fn": adjust_lr_fn,
            "use_muon": use_muon,
            "betas": betas,
            "eps": eps,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        options = {**self.defaults, **param_group}
        require_non_negative(options, "lr", "weight_decay", "eps")
        require_share(options, "momentum")
        require_betas(options)
        if not 1 <= options["ns_steps"] < math.inf:
            raise ValueError(
                f"ns_steps must be a count of at least 1, got {options['ns_steps']}"
            )
        ns_dtype = options["ns_dtype"]
        if ns_dtype is not None and not ns_dtype.is_floating_point:
            raise ValueError(
                f"ns_dtype must be None or a floating-point type, got {ns_dtype}"
            )
        if options["adjust_lr_fn"] not in ("match_rms_adamw", "original"):
            raise ValueError(
                "adjust_lr_fn must be 'match_rms_adamw' or 'original', "
                f"got {options['adjust_lr_fn']!r}"
            )
        super().add_param_group(param_group)
        for param in self.param_groups[-1]["params"]:
            if param.is_complex():
                raise ValueError(f"params must be real, got one of {param.dtype}")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; return `closure`'s loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for batch in batches(self, key=step_count, kind=_is_matrix):
            group = batch.group
            if group["use_muon"] and _is_matrix(batch.params.entries[0]):
                muon_update(
                    batch.params,
                    batch.grads,
                    batch.buffers("momentum_buffer"),
                    lr=group["lr"],
                    momentum=group["momentum"],
                    nesterov=group["nesterov"],
                    weight_decay=group["weight_decay"],
                    ns_steps=group["ns_steps"],
                    ns_dtype=group["ns_dtype"],
                    adjust_lr_fn=group["adjust_lr_fn"],
                )
            else:
                adamw_update(
                    batch.params,
                    batch.grads,
                    batch.buffers("exp_avg"),
                    batch.buffers("exp_avg_sq"),
                    step=batch.count_step(),
                    lr=group["lr"],
                    betas=group["betas"],
                    eps=group["eps"],
                    weight_decay=group["weight_decay"],
                )
        return loss


def _is_matrix(param: Tensor) -> bool:
    return param.ndim >= 2
