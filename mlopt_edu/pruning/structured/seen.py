"""What a run shows of a model's channels, as plain data."""

from dataclasses import dataclass, field
from enum import Enum

from mlopt_edu.pruning.structured.atoms import IntArray

# For each dimension of a tensor, which atom each index is.
Dims = tuple[IntArray, ...]


class Choice(Enum):
    """How the channels of a dimension that is split into (rows, columns) can go."""

    COLUMNS = "the same column of every row together, so that rows stay"
    ROWS = "whole rows, so that columns stay"


@dataclass(frozen=True)
class Size:
    """A number that a module keeps, which is the count of certain channels.

    Attributes:
        module: The module's name.
        attribute: The attribute's.
        position: Where in the attribute, if that is a tuple.
        atoms: The channels.
    """

    module: str
    attribute: str
    position: int | None
    atoms: IntArray


@dataclass
class Seen:
    """What a run has shown.

    Attributes:
        makes: Numbers of dimensions of weights whose index makes a channel: a filter.
        reads: The same where it reads one: a column.
        together: Sets of dimensions of weights that are one in a weight made of them.
        averaged: Arrays of atoms over which something is averaged.
        sizes: Numbers in modules that count channels.
        splits: For each split that left a choice, its atoms and the choice preferred.
    """

    makes: set[int] = field(default_factory=set)
    reads: set[int] = field(default_factory=set)
    together: list[set[int]] = field(default_factory=list)
    averaged: list[IntArray] = field(default_factory=list)
    sizes: list[Size] = field(default_factory=list)
    splits: dict[int, tuple[IntArray, Choice]] = field(default_factory=dict)
