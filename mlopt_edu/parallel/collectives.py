"""The collectives, from sends between two ranks.

A tree needs the fewest rounds, ceil(log2 p), and its busiest rank sends the whole
tensor in each. A ring needs 2 (p - 1) rounds, and no rank sends more than its share:
over an all-reduce each sends 2 (p - 1) / p of the tensor, the least that any algorithm
can do. So the tree is for small tensors, where rounds cost, the ring for large ones.

Ring: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
workstations", 2009. Tree: Thakur, Rabenseifner and Gropp, "Optimization of collective
communication operations in MPICH", 2005.

All of them give every rank the same bits, the same in each run: the ranks fix the order
of each sum. The dtypes are any; sums of half precision round once a hop.
"""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup


def tree_broadcast(
    tensor: Tensor, *, src: int = 0, group: ProcessGroup | None = None
) -> Tensor:
    """Copy `tensor` of rank `src` to all ranks, in place.

    The ranks that have it double in each round: binomial tree.

    Args:
        tensor: Any shape, the same on each rank.
        src: Rank in the group that has the values.
        group: The ranks that take part; all of them by default.

    Returns:
        `tensor`.
    """
    rank, world_size = _place(group)
    _check_root("src", src, world_size)
    place = (rank - src) % world_size
    flat = _flat_copy(tensor)
    for reach in _powers_of_two_below(world_size):
        if place < reach and place + reach < world_size:
            _exchange(group, send=flat, to=(rank + reach) % world_size)
        elif reach <= place < 2 * reach:
            _exchange(group, receive=flat, source=(rank - reach) % world_size)
    return _write_back(tensor, flat)


def tree_reduce(
    tensor: Tensor, *, dst: int = 0, group: ProcessGroup | None = None
) -> Tensor:
    """Sum `tensor` over the ranks into rank `dst`, in place there alone.

    The broadcast backwards: in each round half of the ranks that still hold a sum hand
    it on.

    Args:
        tensor: Any shape, the same on each rank; unchanged on the others.
        dst: Rank in the group that gets the sum.
        group: The ranks that take part; all of them by default.

    Returns:
        `tensor`.
    """
    rank, world_size = _place(group)
    _check_root("dst", dst, world_size)
    place = (rank - dst) % world_size
    total = _flat_copy(tensor)
    arrived = torch.empty_like(total)
    for reach in reversed(_powers_of_two_below(world_size)):
        if place < reach and place + reach < world_size:
            _exchange(group, receive=arrived, source=(rank + reach) % world_size)
            total += arrived
        elif reach <= place < 2 * reach:
            _exchange(group, send=total, to=(rank - reach) % world_size)
    return _write_back(tensor, total) if rank == dst else tensor


def tree_all_reduce(tensor: Tensor, *, group: ProcessGroup | None = None) -> Tensor:
    """Sum `tensor` over the ranks, in place on all: reduce, then broadcast.

    Args:
        tensor: Any shape, the same on each rank.
        group: The ranks that take part; all of them by default.

    Returns:
        `tensor`.
    """
    return tree_broadcast(tree_reduce(tensor, group=group), group=group)


def ring_reduce_scatter(tensor: Tensor, *, group: ProcessGroup | None = None) -> Tensor:
    """Sum `tensor` over the ranks and return this rank's chunk of the sum.

    Chunk c starts at rank c + 1 and walks once around the ring; each rank adds its own
    part and sends it on. It ends at rank c, complete.

    Args:
        tensor: Any shape, the same on each rank; unchanged.
        group: The ranks that take part; all of them by default.

    Returns:
        The chunk of index rank of `tensor.flatten().tensor_split(world_size)`, summed.

    Example:
        >>> from mlopt_edu.parallel import launch
        >>> launch(lambda: ring_reduce_scatter(torch.arange(3)), 2)
        [tensor([0, 2]), tensor([4])]
    """
    rank, world_size = _place(group)
    chunks = _flat_copy(tensor).tensor_split(world_size)
    for step in range(1, world_size):
        leaving = chunks[(rank - step) % world_size]
        mine = chunks[(rank - step - 1) % world_size]
        arrived = torch.empty_like(mine)
        _shift(group, leaving, arrived)
        mine += arrived
    return chunks[rank].clone()


def ring_all_gather(
    chunk: Tensor, *, numel: int | None = None, group: ProcessGroup | None = None
) -> Tensor:
    """Return the chunks of all ranks, one after the other.

    Args:
        chunk: This rank's chunk, of any shape.
        numel: Number of elements of the whole, where the chunks are those of
            `tensor_split` and not all of one size.
        group: The ranks that take part; all of them by default.

    Returns:
        Tensor of shape [numel].

    Raises:
        ValueError: If the chunk has not the size that it must have.

    Example:
        >>> from mlopt_edu.parallel import launch
        >>> launch(lambda: ring_all_gather(torch.tensor([dist.get_rank()])), 2)
        [tensor([0, 1]), tensor([0, 1])]
    """
    rank, world_size = _place(group)
    whole = chunk.new_empty(chunk.numel() * world_size if numel is None else numel)
    chunks = whole.tensor_split(world_size)
    if chunk.numel() != chunks[rank].numel():
        raise ValueError(
            f"chunk must have {chunks[rank].numel()} of the {numel} elements on rank "
            f"{rank} of {world_size}, got {chunk.numel()}"
        )
    chunks[rank].copy_(chunk.detach().flatten())
    for step in range(world_size - 1):
        _shift(
            group,
            chunks[(rank - step) % world_size],
            chunks[(rank - step - 1) % world_size],
        )
    return whole


def ring_all_reduce(tensor: Tensor, *, group: ProcessGroup | None = None) -> Tensor:
    """Sum `tensor` over the ranks, in place on all: reduce-scatter, then all-gather.

    Args:
        tensor: Any shape, the same on each rank.
        group: The ranks that take part; all of them by default.

    Returns:
        `tensor`.

    Example:
        >>> from mlopt_edu.parallel import launch
        >>> launch(lambda: ring_all_reduce(torch.arange(3)), 2)
        [tensor([0, 2, 4]), tensor([0, 2, 4])]
    """
    chunk = ring_reduce_scatter(tensor, group=group)
    total = ring_all_gather(chunk, numel=tensor.numel(), group=group)
    return _write_back(tensor, total)


def _shift(group: ProcessGroup | None, leaving: Tensor, arriving: Tensor) -> None:
    """Send to the next rank of the ring while the previous one sends to us."""
    rank, world_size = _place(group)
    _exchange(
        group,
        send=leaving,
        to=(rank + 1) % world_size,
        receive=arriving,
        source=(rank - 1) % world_size,
    )


def _exchange(
    group: ProcessGroup | None,
    *,
    send: Tensor | None = None,
    to: int = 0,
    receive: Tensor | None = None,
    source: int = 0,
) -> None:
    """Send and receive at once, and wait for both.

    The bytes travel, whatever the dtype; both sides know when there are none.
    """
    operations = []
    if send is not None and send.numel() > 0:
        content = send.view(torch.uint8)
        operations.append(dist.P2POp(dist.isend, content, group=group, group_peer=to))
    if receive is not None and receive.numel() > 0:
        content = receive.view(torch.uint8)
        operations.append(
            dist.P2POp(dist.irecv, content, group=group, group_peer=source)
        )
    if operations:
        for work in dist.batch_isend_irecv(operations):
            work.wait()


def _place(group: ProcessGroup | None) -> tuple[int, int]:
    """Return the rank in the group and the group's size."""
    rank = dist.get_rank(group)
    if rank < 0:
        raise ValueError(
            f"group must contain this rank, {dist.get_rank()}: call on its members"
        )
    return rank, dist.get_world_size(group)


def _check_root(name: str, root: int, world_size: int) -> None:
    if not 0 <= root < world_size:
        raise ValueError(f"{name} must be a rank below {world_size}, got {root}")


def _powers_of_two_below(count: int) -> list[int]:
    return [1 << bit for bit in range((count - 1).bit_length())]


def _flat_copy(tensor: Tensor) -> Tensor:
    return tensor.detach().flatten().clone(memory_format=torch.contiguous_format)


def _write_back(tensor: Tensor, flat: Tensor) -> Tensor:
    with torch.no_grad():
        tensor.copy_(flat.view(tensor.shape))
    return tensor
