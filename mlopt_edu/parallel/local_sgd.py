r"""Local SGD: many steps alone, then one average of the parameters.

    rank i:  every steps of its own optimizer from the anchor x to x_i
    all:     d = x - mean_i x_i                 what the round moved, as a gradient
             m = momentum * m + d
             x = x - lr * m                     (nesterov: x - lr * (d + momentum * m))

A round sends as much as one step of data parallelism does, so that `every` steps cost
1/every of the traffic. With lr = 1 and no momentum x becomes the plain average.

Papers: Stich, "Local SGD Converges Fast and Communicates Little", 2018,
arXiv:1805.09767, Algorithm 1 (the average); Wang et al., "SlowMo", 2019,
arXiv:1910.00643, Algorithm 1 (heavy-ball momentum); Douillard et al., "DiLoCo", 2023,
arXiv:2311.08105, Algorithm 1 (Nesterov, lr 0.7, momentum 0.9). Differs from the papers:
SlowMo divides d by the inner step size and multiplies the step by it, which is the same
while that size is constant; the inner optimizer's state stays with its rank.
"""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from mlopt_edu.parallel.data_parallel import broadcast_


@torch.no_grad()
def average_(
    tensors: Iterable[Tensor], *, group: dist.ProcessGroup | None = None
) -> None:
    """Replace tensors by their mean over the ranks, in one message a dtype and device.

    Args:
        tensors: Floating-point tensors of the same shapes, in the same order, on all
            ranks.
        group: Process group; None for all ranks. All must call.
    """
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for members in kinds.values():
        flat = torch.cat([tensor.flatten() for tensor in members])
        flat.div_(dist.get_world_size(group))
        dist.all_reduce(flat, group=group)
        means = flat.split_with_sizes([tensor.numel() for tensor in members])
        for tensor, mean in zip(members, means, strict=True):
            tensor.copy_(mean.view_as(tensor))


def outer_update_(
    anchor: Tensor,
    average: Tensor,
    momentum_buffer: Tensor,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
) -> None:
    """Move the anchor towards the average in place, and advance the momentum.

    Args:
        anchor: Parameter x at the start of the round, any shape; becomes the next one.
        average: Mean of the ranks' parameters at its end, same shape.
        momentum_buffer: m, same shape, zeros at first.
        lr: Outer step size; 1 goes to the average itself.
        momentum: Share of m that stays, in [0, 1).
        nesterov: Step along d + momentum * m instead of m.

    Example:
        >>> x, m = torch.tensor([1.0]), torch.zeros(1)
        >>> target = torch.tensor([3.0])
        >>> outer_update_(x, target, m, lr=0.5, momentum=0.9, nesterov=False)
        >>> x, m
        (tensor([2.]), tensor([-2.]))
    """
    if momentum == 0:
        anchor.lerp_(average, lr)  # at lr = 1 the average to the last bit
        return
    moved = anchor - average
    momentum_buffer.mul_(momentum).add_(moved)
    direction = moved.add_(momentum_buffer, alpha=momentum) if nesterov else None
    anchor.sub_(momentum_buffer if direction is None else direction, alpha=lr)


class LocalSGD:
    """Brings the ranks together after every so many local steps.

    Construct it on all ranks at once: it starts them from rank 0's parameters. Call
    `step` after each step of the inner optimizer, which is any. Give it running
    statistics besides the parameters if the model has some (`lr=1`, no momentum).

    Memory: a copy of the parameters, and a second one with momentum.

    Args:
        params: Parameters of this rank's model.
        every: Local steps between two averages, at least 1.
        lr: Outer step size, above 0.
        momentum: Outer momentum, in [0, 1).
        nesterov: Nesterov's form of it.
        group: Process group; None for all ranks.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        every: int,
        *,
        lr: float = 1.0,
        momentum: float = 0.0,
        nesterov: bool = False,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        self.params = list(params)
        if not self.params:
            raise ValueError("params must hold at least one tensor, got none")
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        if not lr > 0:
            raise ValueError(f"lr must be above 0, got {lr}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {momentum}")
        if nesterov and momentum == 0:
            raise ValueError("nesterov must go with a momentum above 0, got momentum 0")
        self.every = every
        self.lr = lr
        self.momentum = momentum
        self.nesterov = nesterov
        self.group = group
        self.local_steps = 0
        broadcast_(self.params, group=group)
        self.anchors = [param.detach().clone() for param in self.params]
        self.momentum_buffers = [
            torch.zeros_like(anchor) if momentum else anchor.new_empty(0)
            for anchor in self.anchors
        ]

    @torch.no_grad()
    def step(self) -> bool:
        """Count a local step; after the last of a round, average.

        Returns:
            Whether this step ended a round. Then all ranks have the same parameters.
        """
        self.local_steps += 1
        if self.local_steps % self.every:
            return False
        average_(self.params, group=self.group)
        rows = zip(self.params, self.anchors, self.momentum_buffers, strict=True)
        for param, anchor, momentum_buffer in rows:
            outer_update_(
                anchor,
                param,
                momentum_buffer,
                lr=self.lr,
                momentum=self.momentum,
                nesterov=self.nesterov,
            )
            param.copy_(anchor)
        return True
