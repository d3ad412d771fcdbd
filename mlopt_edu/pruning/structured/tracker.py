"""What the operators of a run say about channels: the words that their rules use.

Every tensor of a run carries, for each of its dimensions, an array of atoms: which
channel each index is. An operator's rule looks at the arrays of its inputs, unites what
it makes equal, and says the arrays of its outputs. In this way

    addition       unites the channels of both sides
    concatenation  joins two arrays
    flattening     repeats each channel for every position
    convolution    reads the channels of x with its weight, and makes new ones

and nothing else in this package has to know of residual sums or flattened images.
"""

from collections.abc import Callable, Sequence, Set

import numpy as np
from torch import Tensor, nn

from mlopt_edu.pruning.structured.atoms import ANY, FIRST, FIXED, Atoms, IntArray
from mlopt_edu.pruning.structured.known import Known, fixed
from mlopt_edu.pruning.structured.seen import Choice, Dims, Seen, Size


class Tracker(Known):
    """Knows the channels of every tensor of a run.

    Args:
        atoms: The classes.
        labels: For every parameter and buffer, the atoms of its dimensions.
        dimension_of: For each atom the number of its dimension.
        against: Numbers of the splits at which not to take the choice preferred.
    """

    def __init__(
        self,
        atoms: Atoms,
        labels: Sequence[tuple[Tensor, Dims]],
        *,
        dimension_of: IntArray,
        against: Set[int] = frozenset(),
    ) -> None:
        super().__init__(labels)
        self.atoms = atoms
        self.dimension_of = dimension_of
        self.against = against
        self._divisions = 0
        self.seen = Seen()
        self.running: list[tuple[str, nn.Module]] = []
        self.untouched = {id(tensor) for tensor, _ in labels}
        self.looked_at_inputs = False
        self.operator = ""

    def unite(self, a: IntArray, b: IntArray) -> None:
        """Say that the indices of two dimensions, of one size, are the same."""
        # A single index is stretched over whatever it meets.
        if a.size == 1 and FIXED in (a[0], b[0]):
            return
        self.atoms.unite(
            a, b, f"{self.operator} joins it with a dimension of fixed size"
        )

    def keep(self, atoms: IntArray, what: str = "needs all of its channels") -> None:
        """Say that nothing can be removed from these."""
        self.atoms.freeze(atoms, f"{self.operator} {what}")

    def average(self, atoms: IntArray) -> None:
        """Say that something is averaged over these, so that even zeros matter."""
        self.seen.averaged.append(atoms)

    def product(
        self,
        weight: Tensor,
        other: Tensor,
        *,
        made: Sequence[IntArray],
        read: Sequence[IntArray],
    ) -> bool:
        """Note which dimensions of a weight make and which read channels.

        Returns:
            Whether `weight` is one, and `other` is not.
        """
        if not self.is_weight(weight) or self.is_weight(other):
            return False
        for atoms, dimensions in ((made, self.seen.makes), (read, self.seen.reads)):
            for array in atoms:
                dimensions |= self._dimensions(array)
        return True

    def combine(self, *arrays: IntArray) -> None:
        """Note that dimensions of weights become one of a weight made of them."""
        together = set[int]().union(*map(self._dimensions, arrays))
        if len(together) > 1:
            self.seen.together.append(together)

    def _dimensions(self, array: IntArray) -> set[int]:
        if not len(self.dimension_of):
            return set()
        own = array[array >= FIRST]
        return set(np.unique(self.dimension_of[own]).tolist())

    def read(
        self, samples: Tensor, fan_out: Callable[[], Tensor], atoms: IntArray
    ) -> None:
        """Meet activations with a weight; an observer overrides this.

        Args:
            samples: Activations, shape (samples, positions, channels): one sample for
                each row of a matrix or each image, one position for each pixel.
            fan_out: Returns the sum of the absolute weights on each channel, shape
                (channels,).
            atoms: Which channels these are, shape (channels,).
        """

    def broadcast(self, tensors: Sequence[Dims], shape: Sequence[int]) -> Dims:
        """Unite dimensions as an entrywise operator lines them up, from the right."""
        result = list(fixed(shape))
        for position in range(1, len(shape) + 1):
            size = shape[-position]
            arrays = [
                dims[-position]
                for dims in tensors
                if len(dims) >= position and len(dims[-position]) == size
            ]
            if not arrays:
                continue
            merged = arrays[0]
            for array in arrays[1:]:
                self.unite(merged, array)
                unknown = (merged == ANY) if size > 1 else (merged <= ANY)
                merged = np.where(unknown, array, merged)
            result[-position] = merged
        return tuple(result)

    def reshape(self, dims: Dims, shape: Sequence[int]) -> Dims:
        """Follow a view to a new shape of as many entries."""
        if 0 in shape:
            return fixed(shape)
        # Of a single channel it is not followed where it goes; then nothing is checked.
        lost = any(
            (len(array) == 1 and array[0] != FIXED) or (array == ANY).any()
            for array in dims
        )
        source = [array for array in dims if len(array) > 1]
        target = [size for size in shape if size > 1]
        found: list[IntArray] = []
        while source:
            parts, sizes = [source.pop(0)], [target.pop(0)]
            while (have := _entries(parts)) != (want := int(np.prod(sizes))):
                if have < want:
                    parts.append(source.pop(0))
                else:
                    sizes.append(target.pop(0))
            merged = parts[0]
            for part in parts[1:]:
                merged = self.flatten(merged, part)
            found += self._divide_all(merged, sizes)
        if lost:
            found = [np.where(array == FIXED, ANY, array) for array in found]
        one = np.array([ANY if lost else FIXED])
        return tuple(found.pop(0) if size > 1 else one for size in shape)

    def flatten(self, outer: IntArray, inner: IntArray) -> IntArray:
        """Merge two dimensions: entry i * len(inner) + j stands for (i, j).

        One of them must stay whole then. If both have channels, that is the later one
        of the weight, since heads come before their features.
        """
        rows = np.repeat(outer, len(inner))
        columns = np.tile(inner, len(outer))
        both = (self.atoms.live(rows) >= FIRST) & (self.atoms.live(columns) >= FIRST)
        if both.any():
            later = inner if outer.max() < inner.max() else outer
            self.keep(later, "merges it with another dimension of channels")
        merged = np.where(self.atoms.live(rows) >= FIRST, rows, columns)
        # Entries that are equal along one dimension alone are not all equal.
        return np.where((merged == ANY) & (rows != columns), FIXED, merged)

    def divide(
        self, flat: IntArray, rows: int, prefer: Choice, *, forced: bool = False
    ) -> tuple[IntArray, IntArray]:
        """Split a dimension into rows * columns; return the atoms of both.

        Args:
            flat: The dimension.
            rows: Number of rows; columns are what is left.
            prefer: What to do if the channels alone do not tell.
            forced: Leave no choice.
        """
        table = self.atoms.live(flat).reshape(rows, -1)
        atoms = flat.reshape(rows, -1)
        no_rows, no_columns = fixed(atoms.shape)
        self._divisions += 1
        same_rows = bool((table == table[0]).all())
        same_columns = bool((table == table[:, :1]).all())
        if same_columns and (prefer is Choice.ROWS or not same_rows):
            return atoms[:, 0], no_columns
        if same_rows:
            return no_rows, atoms[0]
        if not forced:
            self.seen.splits[self._divisions] = (flat, prefer)
        columns_go = prefer is Choice.COLUMNS
        if not forced and self._divisions in self.against:
            columns_go = not columns_go
        same = atoms[:1] if columns_go else atoms[:, :1]
        why = f"{self.operator} splits it into parts whose sizes are fixed"
        self.atoms.unite(atoms, np.broadcast_to(same, atoms.shape), why)
        return (no_rows, atoms[0]) if columns_go else (atoms[:, 0], no_columns)

    def count(
        self, attribute: str, atoms: IntArray, position: int | None = None
    ) -> None:
        """Say that a number of the running module is the count of these channels."""
        if self.running:
            name, module = self.running[-1]
            if hasattr(module, attribute):
                self.seen.sizes.append(Size(name, attribute, position, atoms))

    def _divide_all(self, flat: IntArray, sizes: Sequence[int]) -> list[IntArray]:
        if len(sizes) == 1:
            return [flat]
        rows, columns = self._divide_view(flat, sizes[0])
        return [rows, *self._divide_all(columns, sizes[1:])]

    def _divide_view(self, flat: IntArray, rows: int) -> tuple[IntArray, IntArray]:
        """Split for a view: rows can go where the running module counts its heads."""
        table = self.atoms.live(flat).reshape(rows, -1)
        heads, columns = len(np.unique(table, axis=0)), table.shape[1]
        for name, module in reversed(self.running):
            counts = [
                attribute
                for attribute, value in vars(module).items()
                if "head" in attribute
                and type(value) is int
                and value == heads * (columns if _is_width(attribute) else 1)
            ]
            if heads > 1 and counts:
                outer, inner = self.divide(flat, rows, Choice.ROWS)
                if (self.atoms.live(outer) >= FIRST).any():
                    first = np.sort(np.unique(table, axis=0, return_index=True)[1])
                    entries = flat.reshape(rows, columns)[first].ravel()
                    for attribute in counts:
                        atoms = entries if _is_width(attribute) else outer[first]
                        self.seen.sizes.append(Size(name, attribute, None, atoms))
                return outer, inner
        return self.divide(flat, rows, Choice.COLUMNS)


def _entries(parts: Sequence[IntArray]) -> int:
    return int(np.prod([len(part) for part in parts]))


def _is_width(attribute: str) -> bool:
    return any(word in attribute for word in ("dim", "size", "width"))
