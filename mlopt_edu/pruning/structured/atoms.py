"""Single channels, and which of them must go together: a union-find.

An *atom* is one index of one dimension of one parameter or buffer: "filter 3 of conv1",
"input 3 of conv2". Running a model shows which atoms are the same channel. They form a
class, and a class is what can be removed: all of its atoms, or none.

    find(a) = find(b)   after   unite(a, b)
    frozen(a)           a class that must stay, and why

Two numbers are no atoms. `FIXED` is any index that is no channel: of the batch, of
time, of height and width. `ANY` is an index of a tensor of equal entries, such as the
zeros that a recurrent layer begins with, which fits any channel.

Source: Tarjan, "Efficiency of a good but not linear set union algorithm", Journal of
the ACM 22, 1975, without union by rank. Differs from the source: whole arrays at once.
"""

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

FIXED, ANY, FIRST = 0, 1, 2


class Mismatch(Exception):  # noqa: N818 - an answer, caught where it was asked for
    """Two channels meet that are not the same."""


class Atoms:
    """Classes of atoms, merged as a run shows them to be one channel.

    Args:
        count: Number of atoms; they are `FIRST` to `FIRST + count - 1`.
    """

    def __init__(self, count: int) -> None:
        self._parent = np.arange(FIRST + count)
        self._reason = np.zeros(FIRST + count, dtype=np.int64)
        self._reasons = [""]

    def find(self, atoms: IntArray) -> IntArray:
        """Return the class of each atom: its smallest member."""
        roots = self._parent[atoms]
        while ((above := self._parent[roots]) != roots).any():
            roots = above
        self._parent[atoms] = roots
        return roots

    def live(self, atoms: IntArray) -> IntArray:
        """Return the class of each atom, `FIXED` where it is frozen."""
        roots = self.find(atoms)
        return np.where(self._reason[roots] > 0, FIXED, roots)

    def why_frozen(self, atoms: IntArray) -> str:
        """Return why the first frozen one of some atoms is, or nothing."""
        reasons = self._reason[self.find(atoms)]
        return self._reasons[next(iter(reasons[reasons > 0]), 0)]

    def unite(self, a: IntArray, b: IntArray, why: str) -> None:
        """Make the atoms of two arrays, of one shape, the same channels in pairs.

        Args:
            a: Atoms.
            b: Atoms; where one side is `FIXED`, the other is frozen.
            why: The reason in that case, as a sentence.
        """
        a, b = a.ravel(), b.ravel()
        real = (a != ANY) & (b != ANY)
        a, b = a[real], b[real]
        self.freeze(np.concatenate([a[b == FIXED], b[a == FIXED]]), why)
        real = (a != FIXED) & (b != FIXED)
        a, b = a[real], b[real]
        # Of several links from one class only the last is kept: until all are in.
        while (differ := (first := self.find(a)) != (second := self.find(b))).any():
            low = np.minimum(first, second)[differ]
            high = np.maximum(first, second)[differ]
            np.maximum.at(self._reason, low, self._reason[high])
            self._parent[high] = low

    def freeze(self, atoms: IntArray, why: str) -> None:
        """Keep the classes of these atoms whole."""
        roots = np.unique(self.find(atoms))
        roots = roots[(roots >= FIRST) & (self._reason[roots] == 0)]
        if len(roots):
            self._reason[roots] = len(self._reasons)
            self._reasons.append(why)


class SettledAtoms(Atoms):
    """Classes that are known: whatever would merge or freeze one is a mismatch."""

    def find(self, atoms: IntArray) -> IntArray:
        """Return the atoms, which are classes already."""
        return atoms

    def live(self, atoms: IntArray) -> IntArray:
        """Return the atoms: what was frozen is `FIXED` already."""
        return atoms

    def unite(self, a: IntArray, b: IntArray, why: str) -> None:
        """Raise Mismatch where the classes differ."""
        a, b = a.ravel(), b.ravel()
        if ((a != b) & (a != ANY) & (b != ANY)).any():
            raise Mismatch(why)

    def freeze(self, atoms: IntArray, why: str) -> None:
        """Raise Mismatch if one of the atoms belongs to a class that may go."""
        if (atoms >= FIRST).any():
            raise Mismatch(why)
