r"""Movement pruning: train a score beside each weight, and keep the highest.

    forward    W' = W * M,  M = keep_largest(S, amount)
    backward   dL/dS = dL/dW' * W      as if M were S: "straight-through"
               dL/dW = dL/dW' * M

A step of gradient descent on S adds lr * movement_scores(W, dL/dW'): a score grows
while training drives its weight away from zero. Magnitude asks how far a weight *is*
from zero, which after pretraining says little about the new task; movement asks where
it goes. Masked weights do not move, but their scores do, so they can come back.

Paper: Sanh et al., "Movement Pruning: Adaptive Sparsity by Fine-Tuning", 2020,
arXiv:2005.07683, equations 3 and 4 (hard movement pruning). Differs from the paper:
exact counts for each weight tensor; equal scores are broken by position.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mlopt_edu.pruning.masked import Mask, TrainedMask, attach_, find_targets
from mlopt_edu.pruning.masks import check_amount, count_of, keep_largest
from mlopt_edu.pruning.prune import FilterFn


class MovementMask(TrainedMask):
    """Parametrization whose mask keeps the highest of trained scores.

    Args:
        weight: Its shape, type and device are the scores', which begin at 0.
        pruned: Number of weights that go.
    """

    pruned: Tensor

    def __init__(self, weight: Tensor, pruned: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros_like(weight, requires_grad=True))
        self.register_buffer("pruned", torch.tensor(pruned))

    @property
    def mask(self) -> Tensor:
        """The mask that the scores give now."""
        return keep_largest(self.scores, int(self.pruned))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the masked weight; gradients pass to weight and scores."""
        masked: Tensor = _StraightThrough.apply(weight, self.scores, self.mask)  # type: ignore[no-untyped-call]
        return masked


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(weight, mask)
        return torch.where(mask, weight, 0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        weight, mask = ctx.saved_tensors
        return torch.where(mask, grads[0], 0), grads[0] * weight, None


@dataclass(frozen=True, kw_only=True)
class Movement:
    """Masks that follow trained scores; attach early, then raise the amount.

        prune_(model, Movement(amount=0.0))
        optimizer = AdamW(model.parameters())     # after it: the scores are among them
        ... in the loop, now and then ...
        prune_(model, Movement(amount=cubic_sparsity(step, final=0.9, steps=1000)))
        ... at the end ...
        make_permanent_(model)

    Attributes:
        amount: What is zero in each weight tensor: share in [0, 1] as a float, or
            count. Unlike other methods' it may also fall.
    """

    amount: float | int

    def __post_init__(self) -> None:
        check_amount(self.amount)

    def prune_(self, model: nn.Module, filter_fn: FilterFn) -> None:
        """Attach scores to the chosen layers, or set the amount; see `prune_`."""
        targets = find_targets(model, filter_fn)
        for target in targets:
            if isinstance(target.parametrization, Mask):
                raise ValueError(
                    f"{target.name} must have no fixed mask, got one; call "
                    "make_permanent_ first"
                )
        counts = [count_of(self.amount, target.weight.numel()) for target in targets]
        for target, count in zip(targets, counts, strict=True):
            if isinstance(target.parametrization, MovementMask):
                target.parametrization.pruned.fill_(count)
            else:
                attach_(target, MovementMask(target.parameter.detach(), count))
