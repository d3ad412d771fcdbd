"""Memory that counts what the kernels in Triton's interpreter move through it.

The interpreter runs one program after another and knows no edge: a store past the end
of an array lands in what lies behind it, and two programs that store to one place just
take turns. On a GPU the first is corruption and the second a race. Here each array has
a guard zone on both sides, and every access is held against the arrays:

    bytes      each active lane counts, as many bytes as its element has
    sectors    32 bytes of memory, the least that a GPU moves: those that one load or
               store of one program touches count once, whatever is used of them
    outside    lanes that touch no array: they load poison, and store nothing
    races      elements that one program stores to while another one, of the same
               launch, loads or stores them; atomic operations do not race each other

Poison is NaN, or 113 in integers. It stands in every array that was not written, and in
the lanes of a masked load without `other`: a GPU leaves anything there. In these lanes
it takes turns with inf and -inf, since a maximum or minimum skips NaN.

There is no cache in this picture: what two loads both touch counts twice.
"""

from contextlib import ExitStack
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

SECTOR = 32  # bytes
GUARD = 4096  # bytes on either side of an array
_POISON = 113
_NOBODY, _MANY, _ATOMIC = -1, -2, -3  # in the place of a program's number

_Array = np.ndarray[Any, Any]


class _Region:
    """The addresses of one array, and which program touched which element last."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.start = tensor.data_ptr()
        self.end = self.start + tensor.numel() * tensor.element_size()
        self.forget()

    def forget(self) -> None:
        """Begin a new launch: it waits for the one before."""
        n_elements = self.tensor.numel()
        self._writer = np.full(n_elements, _NOBODY)
        self._reader = np.full(n_elements, _NOBODY)
        self._raced = np.zeros(n_elements, dtype=bool)

    def touch(self, addresses: _Array, program: int, *, stores: bool) -> int:
        """Note who was here; return how many elements this turned into races."""
        index = (addresses - self.start).astype(np.int64) // self.tensor.element_size()
        writer, reader = self._writer[index], self._reader[index]
        raced = (writer != _NOBODY) & (writer != program)
        if stores:
            raced |= (reader != _NOBODY) & (reader != program)
            self._writer[index] = program
        else:
            alone = (reader == _NOBODY) | (reader == program)
            self._reader[index] = np.where(alone, program, _MANY)
        found = np.unique(index[raced & ~self._raced[index]])
        self._raced[found] = True
        return len(found)


class Memory:
    """Global memory of a GPU that is not there, for kernels in the interpreter.

    Make arrays with `copy` and `empty`, and launch kernels inside `with memory:`.

    Attributes:
        bytes_read: Bytes loaded so far, by all programs of all launches.
        bytes_written: Bytes stored so far.
        sectors: Sectors of 32 bytes touched so far, by loads and stores.
        outside: Lanes that loaded or stored outside of every array.
        races: Elements at which programs of one launch raced.

    Example:
        >>> memory = Memory()
        >>> memory.copy(np.array([1.0, 2.0]))
        tensor([1., 2.], dtype=torch.float64)
        >>> memory.empty((2,))
        tensor([nan, nan])
    """

    def __init__(self) -> None:
        self.bytes_read = 0
        self.bytes_written = 0
        self.sectors = 0
        self.outside = 0
        self.races = 0
        self._regions: list[_Region] = []
        self._builder: Any = None
        self._open = ExitStack()

    def copy(self, values: _Array | Tensor) -> Tensor:
        """Return a contiguous copy of an array or tensor in this memory."""
        source = torch.as_tensor(values)
        tensor = self.empty(tuple(source.shape), source.dtype)
        tensor.copy_(source)
        return tensor

    def empty(
        self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Return a contiguous tensor full of poison in this memory."""
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        padding = -n_bytes % SECTOR
        whole = torch.zeros(n_bytes + padding + 2 * GUARD, dtype=torch.uint8)
        tensor = whole[GUARD : GUARD + n_bytes].view(dtype).view(shape)
        tensor.fill_(float("nan") if dtype.is_floating_point else _POISON)
        self._regions.append(_Region(tensor))
        return tensor

    def report(self, *outputs: Tensor) -> tuple[Any, ...]:
        """Return copies of the outputs as arrays, and what was counted.

        Returns:
            `(*outputs, bytes_read, bytes_written, outside, races)`.
        """
        arrays = (output.numpy().copy() for output in outputs)
        counts = (self.bytes_read, self.bytes_written, self.outside, self.races)
        return (*arrays, *counts)

    def __enter__(self) -> "Memory":
        """Begin to count.

        Raises:
            RuntimeError: If Triton was imported without its interpreter.
        """
        try:
            from triton import knobs
            from triton.language.standard import cdiv
            from triton.runtime.interpreter import (
                InterpretedFunction,
                interpreter_builder,
            )
        except ModuleNotFoundError:
            return self  # the launch says so
        if not knobs.runtime.interpret or not isinstance(cdiv, InterpretedFunction):
            raise RuntimeError(
                "TRITON_INTERPRET must be 1 before Triton is imported, and was not: "
                'set os.environ["TRITON_INTERPRET"] = "1" first and restart the kernel'
            )
        # The instance gets methods of its own that hide those of its class.
        self._builder = interpreter_builder
        methods = {
            "set_grid_dim": self._start,
            "create_masked_load": self._load,
            "create_masked_store": self._store,
            "create_atomic_rmw": self._atomic,
        }
        vars(self._builder).update(methods)
        for name in methods:
            self._open.callback(vars(self._builder).pop, name, None)
        # Poison that nobody uses, as inf - inf, is nothing to warn of.
        self._open.enter_context(np.errstate(invalid="ignore"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop counting; an error in a kernel is raised as what it was."""
        self._open.close()
        self._builder = None
        if kind is not None and kind.__name__ == "InterpreterError":
            cause = error.__cause__ if error is not None else None
            while type(cause).__name__ == "InterpreterError" and cause is not None:
                cause = cause.__cause__
            if cause is not None:
                raise cause from None

    def _start(self, *size: int) -> None:
        for region in self._regions:
            region.forget()
        type(self._builder).set_grid_dim(self._builder, *size)

    def _load(self, pointers: Any, mask: Any, other: Any, *options: Any) -> Any:
        inside = self._touch(pointers, mask, stores=False)
        real = type(self._builder).create_masked_load
        loaded = real(self._builder, pointers, inside, None, *options)
        poison: list[float] = [_POISON]
        if loaded.data.dtype.kind == "f":
            poison = [np.nan, np.inf, -np.inf]
        elif str(loaded.dtype) == "bf16":
            poison = [0x7FC0, 0x7F80, 0xFF80]  # their bits, which NumPy holds instead
        masked_off = np.broadcast_to(~_bits(mask), loaded.data.shape)
        if other is None:
            np.place(loaded.data, masked_off, poison)
        else:
            np.copyto(loaded.data, other.data, "unsafe", masked_off)
        loaded.data[~masked_off & ~_bits(inside)] = poison[0]
        return loaded

    def _store(self, pointers: Any, value: Any, mask: Any, *options: Any) -> Any:
        inside = self._touch(pointers, mask, stores=True)
        real = type(self._builder).create_masked_store
        return real(self._builder, pointers, value, inside, *options)

    def _atomic(
        self, operation: Any, pointers: Any, value: Any, mask: Any, *options: Any
    ) -> Any:
        inside = self._touch(pointers, mask, stores=True, atomic=True)
        real = type(self._builder).create_atomic_rmw
        return real(self._builder, operation, pointers, value, inside, *options)

    def _touch(
        self, pointers: Any, mask: Any, *, stores: bool, atomic: bool = False
    ) -> Any:
        """Count an access; return its mask without the lanes that touch no array."""
        bits = _bits(mask)
        shape = np.broadcast_shapes(pointers.data.shape, bits.shape)
        addresses = np.broadcast_to(pointers.data, shape)
        active = np.broadcast_to(bits, shape)
        size = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
        inside = np.zeros(shape, dtype=bool)
        program = _ATOMIC if atomic else self._program()
        for region in self._regions:
            here = (
                active & (addresses >= region.start) & (addresses + size <= region.end)
            )
            if here.any():
                self.races += region.touch(addresses[here], program, stores=stores)
                inside |= here
        n_bytes = size * int(inside.sum())
        self.bytes_written += n_bytes if stores else 0
        self.bytes_read += n_bytes if atomic or not stores else 0
        self.sectors += len(np.unique(addresses[inside] // SECTOR))
        self.outside += int((active & ~inside).sum())
        # A block pointer brings a mask of its own making, an array.
        return (
            inside if isinstance(mask, np.ndarray) else type(mask)(inside, mask.dtype)
        )

    def _program(self) -> int:
        (x, y, z), (width, height, _) = self._builder.grid_idx, self._builder.grid_dim
        return int(x + width * (y + height * z))


def _bits(mask: Any) -> _Array:
    """Return a mask as booleans; joined with a number it may hold integers."""
    held = mask if isinstance(mask, np.ndarray) else mask.data
    return np.asarray(held).astype(bool)
