r"""One launch over many tensors: a table on the device says which program works where.

A model has hundreds of parameters, most of them small. A launch for each would cost
some microseconds each, and its last wave of programs would leave the device half idle.
So all tensors are cut into chunks of BLOCK_SIZE elements, a program takes one chunk,
and finds its place in a table of int64:

    addresses   of array 0 of every tensor, of array 1, ...     n_arrays * n_tensors
    sizes       elements of every tensor                        n_tensors
    tensors     which tensor a chunk belongs to                 n_chunks
    starts      its first element in there                      n_chunks

An array is a role: the parameters, their gradients, their averages. 16 bytes a chunk is
little beside the 2048 elements of it; that loads wait for the table is hidden by the
programs that run beside. The table depends on addresses and sizes alone, so it is kept
as long as the tensors stay where they are, and a step copies nothing to the device.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from mlopt_kernels._triton import tl, triton


class Chunks(NamedTuple):
    """The table, and what a launch must know of it."""

    addresses: Tensor  # (n_arrays * n_tensors,)
    sizes: Tensor  # (n_tensors,)
    tensors: Tensor  # (n_chunks,)
    starts: Tensor  # (n_chunks,)
    aligned: bool  # every address is a multiple of 16


def chunks(arrays: Sequence[Sequence[Tensor]], block_size: int) -> Chunks:
    """Return the table of tensors that are cut into chunks, on their device.

    Args:
        arrays: For each role a tensor for each parameter, contiguous, on one device;
            tensors of one parameter have one size. No tensor is empty.
        block_size: Elements of a chunk.
    """
    device = arrays[0][0].device
    on_gpu = device.type == "cuda"
    return _table(
        tuple(tensor.data_ptr() for array in arrays for tensor in array),
        tuple(tensor.numel() for tensor in arrays[0]),
        block_size,
        device,
        # Another stream would not wait for the copy of this one.
        torch.cuda.current_stream(device).cuda_stream if on_gpu else 0,
    )


@lru_cache(maxsize=32)
def _table(
    addresses: tuple[int, ...],
    sizes: tuple[int, ...],
    block_size: int,
    device: torch.device,
    stream: int,
) -> Chunks:
    size = torch.tensor(sizes)
    counts = -(-size // block_size)  # rounded up
    tensors = torch.arange(len(sizes)).repeat_interleave(counts)
    # A chunk's number, less the number of the first chunk of its tensor.
    within = torch.arange(len(tensors)) - (counts.cumsum(0) - counts)[tensors]
    parts = [torch.tensor(addresses), size, tensors, within * block_size]
    table = torch.cat(parts)
    if device.type == "cuda":
        # Pinned, the copy is queued like a launch, and the host need not wait for it.
        table = table.pin_memory().to(device, non_blocking=True)
    first, second, third, _ = accumulate(len(part) for part in parts)
    return Chunks(
        table[:first],
        table[first:second],
        table[second:third],
        table[third:],
        aligned=all(address % 16 == 0 for address in addresses),
    )


def by_dtype(tensors: Sequence[Tensor]) -> list[list[int]]:
    """Return the numbers of the tensors of each dtype, leaving out empty tensors."""
    groups: dict[torch.dtype, list[int]] = {}
    for number, tensor in enumerate(tensors):
        if tensor.numel():
            groups.setdefault(tensor.dtype, []).append(number)
    return list(groups.values())


def write_back(tensors: Sequence[Tensor], dense: Sequence[Tensor]) -> None:
    """Copy to each tensor what was computed in its contiguous copy, if it has one."""
    for tensor, copy in zip(tensors, dense, strict=True):
        if not tensor.is_contiguous():
            tensor.copy_(copy)


@triton.jit
def address(
    addresses_ptr,  # (n_arrays * n_tensors,)
    number,
    like_ptr,
    ALIGNED: tl.constexpr,  # noqa: N803
):
    """Return an address of the table as a pointer of the type of `like_ptr`."""
    pointer = tl.load(addresses_ptr + number).to(like_ptr.dtype)
    if ALIGNED:
        # The compiler cannot know it, and would load element by element.
        pointer = tl.multiple_of(pointer, 16)
    return pointer
