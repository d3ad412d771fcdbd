"""Count the bytes that a rank sends, and what the formulas say that it should.

Every communication of torch.distributed passes torch's dispatcher as an operator, also
those inside DistributedDataParallel, FSDP2 or DTensor: there `Traffic` counts.

A send from rank to rank is counted as it is. Of torch's own collectives only the
argument is seen, and what they send is what the best known algorithm sends on average
over the p ranks, for n bytes:

    all-reduce                  2 (p - 1) / p n       n: the tensor
    all-gather, reduce-scatter    (p - 1) / p n       n: the whole, all chunks
    all-to-all                    (p - 1) / p n       n: what this rank hands out
    broadcast, reduce             (p - 1) / p n       n: the tensor; p - 1 sends of it
    gather, scatter               (p - 1) / p n       n: one chunk a rank; all chunks

Source: Chan et al., "Collective communication: theory, practice, and experience", 2007.
"""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import _resolve_process_group
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Operation: which argument of its c10d operator is the input, and the bytes sent for n.
_RULES: dict[str, tuple[int, Callable[[int, int], float]]] = {
    "send": (0, lambda n, p: n),
    "all_reduce": (0, lambda n, p: 2 * n * (p - 1) / p),
    "all_gather": (1, lambda n, p: n * (p - 1)),
    "reduce_scatter": (1, lambda n, p: n * (p - 1) / p),
    "all_to_all": (1, lambda n, p: n * (p - 1) / p),
    "broadcast": (0, lambda n, p: n * (p - 1) / p),
    "reduce": (0, lambda n, p: n * (p - 1) / p),
    "gather": (1, lambda n, p: n * (p - 1) / p),
    "scatter": (1, lambda n, p: n * (p - 1) / p),
}
_SILENT = ("recv", "barrier", "monitoredbarrier", "waittensor", "wraptensor")


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what this rank sends inside the `with` block.

    Attributes:
        by_operation: Bytes sent, for each operation: "send", "all_reduce",
            "all_gather", "reduce_scatter", "all_to_all", "broadcast", "reduce",
            "gather", "scatter".
        calls: Number of calls, for each operation.

    Example:
        >>> from mlopt_edu.parallel import launch
        >>> def work():
        ...     with Traffic() as traffic:
        ...         dist.all_reduce(torch.ones(100))
        ...     return traffic.sent
        >>> launch(work, 4)
        [600.0, 600.0, 600.0, 600.0]
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.by_operation: dict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()

    @property
    def sent(self) -> float:
        """Bytes that this rank sent."""
        return sum(self.by_operation.values())

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Count the operator if it sends, and run it."""
        if func.namespace in ("c10d", "_c10d_functional"):
            self._count(func, args)
        return func(*args, **(kwargs or {}))

    def _count(self, func: Any, args: tuple[Any, ...]) -> None:
        # Variants as _allgather_base_ and all_gather_into_tensor differ in the rest.
        name = func.__name__.replace("_", "")
        if name.startswith(_SILENT):
            return
        matches = [each for each in _RULES if name.startswith(each.replace("_", ""))]
        if not matches:
            raise NotImplementedError(
                f"Traffic has no rule for {func}: call it outside of the block"
            )
        operation = max(matches, key=len)  # reduce_scatter also starts with reduce
        position, rule = _RULES[operation]
        # The functional operators take no output, so that their input stands first.
        source = args[0 if func.namespace == "_c10d_functional" else position]
        tensors = [leaf for leaf in tree_leaves(source) if isinstance(leaf, Tensor)]
        sent = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        self.by_operation[operation] += rule(sent, _world_size(args))
        self.calls[operation] += 1


def ring_bytes(numel: int, element_size: int, world_size: int, rank: int) -> int:
    """Return the bytes that a rank sends in a ring all-reduce.

    It sends all chunks but its own, and then all but that of the next rank: exactly
    2 (p - 1) / p n bytes where the chunks are equal.

    Args:
        numel: Number of elements of the tensor.
        element_size: Bytes of one element.
        world_size: Number of ranks.
        rank: The rank that sends.

    Returns:
        Bytes; the sum over the ranks is 2 (p - 1) n.

    Example:
        >>> [ring_bytes(10, 4, 4, rank) for rank in range(4)]
        [56, 60, 64, 60]
    """
    return ring_reduce_scatter_bytes(
        numel, element_size, world_size, rank
    ) + ring_all_gather_bytes(numel, element_size, world_size, rank)


def ring_reduce_scatter_bytes(
    numel: int, element_size: int, world_size: int, rank: int
) -> int:
    """Return what a rank sends in a ring reduce-scatter: all chunks but its own."""
    return (numel - chunk_size(numel, world_size, rank)) * element_size


def ring_all_gather_bytes(
    numel: int, element_size: int, world_size: int, rank: int
) -> int:
    """Return what a rank sends in a ring all-gather: all chunks but the next rank's."""
    following = (rank + 1) % world_size
    return (numel - chunk_size(numel, world_size, following)) * element_size


def tree_bytes(numel: int, element_size: int, world_size: int, rank: int) -> int:
    """Return the bytes that a rank sends in a tree all-reduce with its root at rank 0.

    Each rank but the root sends its sum up once, and the result to each of its
    children: rank 0 has ceil(log2 p) of them, half of the ranks none.

    Args:
        numel: Number of elements of the tensor.
        element_size: Bytes of one element.
        world_size: Number of ranks.
        rank: The rank that sends.

    Returns:
        Bytes; the sum over the ranks is 2 (p - 1) n, that of the ring.

    Example:
        >>> [tree_bytes(10, 4, 4, rank) for rank in range(4)]
        [80, 80, 40, 40]
    """
    children, reach = 0, 1 << rank.bit_length()
    while rank + reach < world_size:
        children, reach = children + 1, 2 * reach
    return numel * element_size * (children + (rank > 0))


def chunk_size(numel: int, world_size: int, rank: int) -> int:
    """Return the elements of a rank's chunk: the first ones get what is left over.

    Example:
        >>> [chunk_size(10, 4, rank) for rank in range(4)]
        [3, 3, 2, 2]
    """
    share, left_over = divmod(numel, world_size)
    return share + (rank < left_over)


def _world_size(args: tuple[Any, ...]) -> int:
    """Return the size of the group that an operator got, boxed or by its name."""
    for argument in reversed(args):
        if isinstance(argument, torch.ScriptObject):
            with contextlib.suppress(RuntimeError):  # a reduce operation is boxed too
                return dist.ProcessGroup.unbox(argument).size()
        if isinstance(argument, str):
            return _resolve_process_group(argument).size()  # type: ignore[arg-type]
    raise TypeError(f"a collective operator must be given its group, got {args}")
