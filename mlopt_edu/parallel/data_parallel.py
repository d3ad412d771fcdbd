r"""Data parallelism: every rank has the model and a shard of the batch.

    grad = 1/world_size * Σ_rank grad_rank        (all-reduce, mean)

Gradients travel in buckets, last layer first, as backward makes them: a full bucket is
on its way while backward goes on with the layers before it. Few large messages cost
less than many small ones, and only the last bucket is waited for in full.

The mean over ranks is the mean over samples only where all ranks have equally many.
`mean_over_ranks` weights the loss so that it is right for any shards, also empty ones;
to average the ranks' mean losses is the known mistake.

Paper: Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel
Training", 2020, arXiv:2006.15704, section 4.2. Differs from the paper: unused
parameters are found at the end of backward, not by a walk over the graph.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Variable


def mean_over_ranks(
    loss_sum: Tensor, samples: int, *, group: dist.ProcessGroup | None = None
) -> Tensor:
    """Scale a rank's summed loss so that averaged gradients are those of the mean.

        loss = loss_sum * world_size / (samples on all ranks)

    The mean of this loss over the ranks is the mean loss over all samples.

    Args:
        loss_sum: Sum of the losses of this rank's samples, scalar (reduction="sum").
        samples: How many samples this rank has in the whole step: with gradient
            accumulation, those of all its micro-batches together. May be 0.
        group: Process group; None for all ranks. All must call.

    Returns:
        Scalar to call `backward` on.

    Raises:
        ValueError: If `samples` is negative on this rank, or 0 on every rank.
    """
    if samples < 0:
        raise ValueError(f"samples must be at least 0, got {samples}")
    total = torch.tensor(samples, device=loss_sum.device)
    dist.all_reduce(total, group=group)
    if total == 0:
        raise ValueError("samples must be above 0 on some rank, got 0 on all")
    return loss_sum * (dist.get_world_size(group) / int(total))


class _Bucket:
    """Parameters of one dtype and device whose gradients travel together."""

    def __init__(self, params: list[nn.Parameter]) -> None:
        self.params = params
        self.reset()

    def reset(self) -> None:
        self.missing = set(self.params)
        self.flat: Tensor | None = None
        self.work: Any = None

    def send(self, group: dist.ProcessGroup | None) -> None:
        """Start the all-reduce; a gradient that is None counts as zero."""
        grads = [
            torch.zeros_like(param) if param.grad is None else param.grad
            for param in self.params
        ]
        self.flat = torch.cat([grad.flatten() for grad in grads])
        # Before the sum and not after it: half precision would overflow.
        self.flat.div_(dist.get_world_size(group))
        self.work = dist.all_reduce(self.flat, group=group, async_op=True)

    def receive(self, used: dict[nn.Parameter, bool]) -> None:
        """Wait, and write the mean into the gradients of the used parameters."""
        assert self.flat is not None  # sent before
        self.work.wait()
        means = self.flat.split_with_sizes([param.numel() for param in self.params])
        for param, mean in zip(self.params, means, strict=True):
            if not used[param]:
                continue
            if param.grad is None:
                param.grad = torch.empty_like(param)
            param.grad.copy_(mean.view_as(param))
        self.reset()


class DataParallel(nn.Module):
    """A model whose gradients are the mean over all ranks after `backward`.

    Parameters and buffers start as rank 0 has them. In training, each forward takes the
    buffers (running statistics) of rank 0. All ranks must run the same number of
    backward passes; wrap the model before you make the optimizer, or after: the
    parameters stay the same objects.

    Args:
        module: Any model.
        bucket_bytes: A bucket is closed when it holds so many bytes, at least 1.
        find_unused: Let parameters go without a gradient. One that has a gradient on
            some ranks gets the mean with zero for the others; one that has none
            anywhere keeps None, so that no optimizer moves it. Costs one small
            all-reduce a step.
        group: Process group; None for all ranks.

    Raises:
        ValueError: If `bucket_bytes` is below 1, or no parameter asks for a gradient.
        RuntimeError: In backward, if a parameter got no gradient and `find_unused` is
            False.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        bucket_bytes: int = 25 * 2**20,
        find_unused: bool = False,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        if bucket_bytes < 1:
            raise ValueError(f"bucket_bytes must be at least 1, got {bucket_bytes}")
        params = [param for param in module.parameters() if param.requires_grad]
        if not params:
            raise ValueError(
                "module must have a parameter that requires a gradient, got none"
            )
        self.module = module
        self.find_unused = find_unused
        self.group = group
        self._sync = True
        self._in_backward = False
        self._buckets = [
            _Bucket(part) for part in fill_buckets(params[::-1], bucket_bytes)
        ]
        self._next = 0  # first bucket that is not yet on its way
        self._bucket_of = {
            param: bucket for bucket in self._buckets for param in bucket.params
        }
        broadcast_([*module.parameters(), *module.buffers()], group=group)
        for param in params:
            param.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                self._gradient_is_ready
            )

    def forward(self, *inputs: Any) -> Any:
        """Run the model on this rank's shard."""
        if self.training and self._sync:
            broadcast_(self.module.buffers(), group=self.group)
        return self.module(*inputs)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Accumulate gradients on this rank; the next backward outside sends them."""
        before, self._sync = self._sync, False
        try:
            yield
        finally:
            self._sync = before

    def _gradient_is_ready(self, param: nn.Parameter) -> None:
        if not self._sync:
            return
        if not self._in_backward:
            self._in_backward = True
            Variable._execution_engine.queue_callback(self._finish)
        self._bucket_of[param].missing.discard(param)
        # In the order of the list, not of completion: all-reduces pair up by order, and
        # a parameter that one rank does not use changes what it completes first.
        while self._next < len(self._buckets) and not self._buckets[self._next].missing:
            self._buckets[self._next].send(self.group)
            self._next += 1

    def _finish(self) -> None:
        """Send what is left at the end of backward, then wait for every bucket."""
        left, self._next, self._in_backward = self._buckets[self._next :], 0, False
        if left and not self.find_unused:
            self._complain(left)
        used = {param: param.grad is not None for param in self._bucket_of}
        for bucket in left:
            bucket.send(self.group)
        if self.find_unused:
            anywhere = torch.tensor([int(flag) for flag in used.values()])
            anywhere = anywhere.to(next(iter(used)).device)
            dist.all_reduce(anywhere, op=dist.ReduceOp.MAX, group=self.group)
            used = dict(zip(used, anywhere.bool().tolist(), strict=True))
        for bucket in self._buckets:
            bucket.receive(used)

    def _complain(self, left: list[_Bucket]) -> None:
        names = {param: name for name, param in self.module.named_parameters()}
        missing = [names[param] for bucket in left for param in bucket.missing]
        for bucket in self._buckets:
            bucket.reset()
        raise RuntimeError(
            "every parameter must get a gradient in backward, got none for "
            f"{', '.join(sorted(missing))}; pass find_unused=True"
        )


def fill_buckets(
    params: Sequence[nn.Parameter], bucket_bytes: int
) -> list[list[nn.Parameter]]:
    """Part parameters into buckets, in order; a bucket has one dtype and device.

    Args:
        params: Parameters in the order in which their gradients come.
        bucket_bytes: A bucket is closed when it holds at least so many bytes.

    Returns:
        The buckets in the order in which they were opened.

    Example:
        >>> layers = [nn.Linear(4, 4, bias=False) for _ in range(3)]  # 64 bytes each
        >>> [len(bucket) for bucket in fill_buckets([l.weight for l in layers], 100)]
        [2, 1]
    """
    buckets: list[list[nn.Parameter]] = []
    opened: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    for param in params:
        kind = param.dtype, param.device
        if kind not in opened:
            opened[kind] = []
            buckets.append(opened[kind])
        opened[kind].append(param)
        if sum(one.numel() * one.itemsize for one in opened[kind]) >= bucket_bytes:
            del opened[kind]
    return buckets


@torch.no_grad()
def broadcast_(
    tensors: Iterable[Tensor], *, group: dist.ProcessGroup | None = None
) -> None:
    """Replace tensors by rank 0's.

    Args:
        tensors: Tensors of the same shapes, in the same order, on all ranks.
        group: Process group, whose first rank counts; None for all ranks.
    """
    for tensor in tensors:
        whole = tensor.detach().contiguous()  # itself, unless its layout is another
        dist.broadcast(whole, group=group, group_src=0)
        if whole.data_ptr() != tensor.data_ptr():
            tensor.copy_(whole)
