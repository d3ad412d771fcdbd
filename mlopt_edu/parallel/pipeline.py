r"""Pipeline parallelism: each rank holds a few layers and hands activations on.

    balance(costs, p)            which layers a stage gets, so that the slowest is fast
    train_step(stage, schedule)  one step: what the schedule says, over sends

A stage receives the output of the stage before, computes, and sends its own on. In the
backward it receives the gradient of what it had sent, and sends the gradient of what it
had received. Between two neighbours a step moves

    forward    the activations of the whole batch, and a header of 72 bytes a
               micro-batch: type and shape, so that the last one may be smaller
    backward   as many values of gradients

The loss is the mean over all samples: a micro-batch counts by its share of the batch.
Gradients add up in `.grad` in the order of the schedule; an optimizer on each rank then
steps as it would alone. Layers that look at a whole batch, such as batch normalization
in training, see a micro-batch, and so differ from one process.

Papers: Huang et al., "GPipe", 2018, arXiv:1811.06965; Narayanan et al., 2020,
arXiv:2006.09503 (see `mlopt_edu.parallel.schedule`). Differs from the papers: nothing
is recomputed.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mlopt_edu.parallel.schedule import Forward, Schedule, Span

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
MOST_DIMENSIONS = 7
HEADER_BYTES = 8 * (2 + MOST_DIMENSIONS)
"""Index of the type, number of dimensions and sizes, in int64."""


@dataclass(frozen=True)
class StepReport:
    """What one rank did in a step.

    Attributes:
        loss: Mean loss of the batch on the last stage, None on the others.
        spans: What ran and when, in seconds of this machine's monotonic clock; time
            spent waiting for a neighbour lies between the spans.
    """

    loss: float | None
    spans: list[Span]


def balance(
    costs: Sequence[float], n_stages: int, *, speeds: Sequence[float] | None = None
) -> list[range]:
    """Cut layers into consecutive stages so that the slowest takes the least time.

    Args:
        costs: Work of each layer, at least 0, in any unit: measured seconds or FLOPs.
        n_stages: Stages, from 1 to the number of layers.
        speeds: Work that each stage's device does in a unit of time, above 0: unequal
            for mixed devices. Alike by default.

    Returns:
        The indices of each stage's layers, none empty.

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> balance([1, 1, 1, 1, 4], 2)
        [range(0, 4), range(4, 5)]
        >>> balance([1, 1, 1, 1, 1, 1], 2, speeds=[2, 1])
        [range(0, 4), range(4, 6)]
    """
    if not 1 <= n_stages <= len(costs):
        raise ValueError(
            f"n_stages must be from 1 to the number of layers, {len(costs)}, "
            f"got {n_stages}"
        )
    if min(costs) < 0:
        raise ValueError(f"costs must each be at least 0, got {min(costs)}")
    speeds = [1.0] * n_stages if speeds is None else speeds
    if len(speeds) != n_stages or min(speeds) <= 0:
        raise ValueError(
            f"speeds must be {n_stages} numbers above 0, one a stage, got {speeds}"
        )
    # best[end]: the slowest stage's time and the cuts when the stages so far take the
    # layers before `end`.
    best = {0: (0.0, [0])}
    for speed in speeds:
        longer: dict[int, tuple[float, list[int]]] = {}
        for start, (slowest, cuts) in best.items():
            work = 0.0
            for end in range(start + 1, len(costs) + 1):
                work += costs[end - 1]
                found = (max(slowest, work / speed), [*cuts, end])
                longer[end] = min(longer.get(end, found), found)
        best = longer
    cuts = best[len(costs)][1]
    return [range(a, b) for a, b in pairwise(cuts)]


def train_step(
    stage: nn.Module,
    schedule: Schedule,
    *,
    inputs: Tensor | None = None,
    targets: Tensor | None = None,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    group: dist.ProcessGroup | None = None,
) -> StepReport:
    """Run the forwards and backwards of one batch on this rank's stage.

    Gradients are added to the parameters' `.grad`. The ranks must call this together;
    rank i of the group runs stage i.

    Args:
        stage: The layers of this rank: takes one tensor, returns one floating tensor.
        schedule: Actions of every stage, by `gpipe` or `one_f_one_b`; it says how
            many micro-batches there are.
        inputs: The whole batch, of shape (batch, ...), on the first rank; ignored on
            the others. The batch is cut with `torch.tensor_split`.
        targets: Tensor of shape (batch, ...) on the last rank; ignored on the others.
        loss_fn: Takes (output, targets) of a micro-batch and returns the mean over
            its samples.
        group: Ranks of the pipeline, all by default.

    Returns:
        Loss and times of this rank.

    Raises:
        ValueError: If the schedule does not fit the group or the batch, or inputs or
            targets are missing where they are needed.
    """
    rank, world_size = dist.get_rank(group), dist.get_world_size(group)
    if len(schedule) != world_size:
        raise ValueError(
            f"schedule must have one stage a rank, {world_size}, got {len(schedule)}"
        )
    actions = schedule[rank]
    n_micro = sum(isinstance(action, Forward) for action in actions)
    is_first, is_last = rank == 0, rank == world_size - 1
    micro_inputs = _cut("inputs", inputs, n_micro) if is_first else ()
    micro_targets = _cut("targets", targets, n_micro) if is_last else ()
    batch = sum(len(part) for part in micro_targets)
    link = _Link(rank, stage, group)

    live: dict[int, tuple[Tensor, Tensor]] = {}
    total_loss = 0.0
    spans = []
    for action in actions:
        micro = action.micro
        if isinstance(action, Forward):
            x = micro_inputs[micro] if is_first else link.receive_activation()
            start = time.monotonic()
            x = x if is_first else x.requires_grad_()
            output = stage(x)
            if is_last:
                share = len(micro_targets[micro]) / batch
                output = share * loss_fn(output, micro_targets[micro])
                total_loss += output.item()
            live[micro] = (x, output)
            end = time.monotonic()
            if not is_last:
                link.send_activation(output.detach())
        else:
            x, output = live.pop(micro)
            gradient = None if is_last else link.receive_gradient(output)
            start = time.monotonic()
            if output.requires_grad:  # a first stage may be frozen
                output.backward(gradient)  # type: ignore[no-untyped-call]
            end = time.monotonic()
            if not is_first:
                # The stage before waits also where nothing of `x` reached the output.
                link.send_gradient(torch.zeros_like(x) if x.grad is None else x.grad)
        spans.append(Span(action, start, end))
    link.wait()
    return StepReport(total_loss if is_last else None, spans)


class _Link:
    """Sends to and receives from the neighbours of one stage.

    Sends do not wait for the receiver: two neighbours that both wait to be received
    from, as 1F1B has them, would wait for ever.
    """

    def __init__(
        self, rank: int, stage: nn.Module, group: dist.ProcessGroup | None
    ) -> None:
        self.rank, self.group = rank, group
        parameter = next(stage.parameters(), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self.sends: list[tuple[dist.Work | None, Tensor]] = []

    def send_activation(self, tensor: Tensor) -> None:
        if tensor.dtype not in DTYPES or tensor.ndim > MOST_DIMENSIONS:
            raise ValueError(
                f"a stage must return a floating tensor of at most {MOST_DIMENSIONS} "
                f"dimensions, got {tensor.dtype} of shape {tuple(tensor.shape)}"
            )
        shape = [*tensor.shape] + [0] * (MOST_DIMENSIONS - tensor.ndim)
        header = [DTYPES.index(tensor.dtype), tensor.ndim, *shape]
        self._send(torch.tensor(header, device=self.device), self.rank + 1)
        self._send(tensor, self.rank + 1)

    def receive_activation(self) -> Tensor:
        header = torch.empty(2 + MOST_DIMENSIONS, dtype=torch.int64, device=self.device)
        dtype, ndim, *shape = self._receive(header, self.rank - 1).tolist()
        tensor = torch.empty(shape[:ndim], dtype=DTYPES[dtype], device=self.device)
        return self._receive(tensor, self.rank - 1)

    def send_gradient(self, tensor: Tensor) -> None:
        self._send(tensor, self.rank - 1)

    def receive_gradient(self, output: Tensor) -> Tensor:
        like = torch.empty(output.shape, dtype=output.dtype, device=output.device)
        return self._receive(like, self.rank + 1)

    def wait(self) -> None:
        for work, _ in self.sends:
            if work is not None:
                work.wait()
        self.sends.clear()

    def _send(self, tensor: Tensor, to: int) -> None:
        tensor = tensor.contiguous()
        work = dist.isend(tensor, group=self.group, group_dst=to)
        # The memory must not be freed or written to before it is sent.
        self.sends.append((work, tensor))

    def _receive(self, tensor: Tensor, source: int) -> Tensor:
        dist.recv(tensor, group=self.group, group_src=source)
        return tensor


def _cut(name: str, tensor: Tensor | None, n_micro: int) -> tuple[Tensor, ...]:
    """Cut a batch into micro-batches that differ by at most one sample."""
    if tensor is None:
        raise ValueError(f"{name} must be given on this rank, got None")
    if len(tensor) < n_micro:
        raise ValueError(
            f"{name} must hold a sample for each of {n_micro} micro-batches, "
            f"got {len(tensor)}"
        )
    return tensor.tensor_split(n_micro)
