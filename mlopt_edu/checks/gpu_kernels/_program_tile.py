"""Task 9: the order in which programs take tiles, so that neighbours share."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task

Tile = tuple[int, int]


def program_tile_reference(
    program_id: int, row_tiles: int, col_tiles: int, group: int
) -> Tile:
    """Down the rows of a group, then a column further; the last group may be lower."""
    first = program_id // (group * col_tiles) * group
    height = min(group, row_tiles - first)
    inside = program_id - first * col_tiles
    return first + inside % height, inside // height


def _programs(rng: np.random.Generator) -> Iterator[Case]:
    names = ("program_id", "row_tiles", "col_tiles", "group")
    for label, *values in (
        ("the first tile", 0, 4, 4, 2),
        ("down the group", 1, 4, 4, 2),
        ("the next column", 2, 4, 4, 2),
        ("the second group", 9, 4, 4, 2),
        ("a last group that is lower", 14, 5, 3, 2),
        ("a last group of two rows out of three", 12, 5, 3, 3),
        ("groups of one row", 7, 3, 5, 1),
        ("one group for all", 7, 3, 5, 8),
        ("one column of tiles", 4, 6, 1, 4),
    ):
        yield Case(label, dict(zip(names, values, strict=True)))
    for number in range(5):
        rows, cols = rng.integers(2, 40, 2).tolist()
        group = int(rng.integers(2, 9))
        values = [int(rng.integers(rows * cols)), rows, cols, group]
        yield Case(f"drawn {number + 1}", dict(zip(names, values, strict=True)))


program_tile = Task(
    "program_tile",
    points=2,
    section="15 · Derive",
    reference=program_tile_reference,
    draw=_programs,
    rtol=0,
    hints=(
        "How many tiles does a whole group have? So in which group is the program?",
        "The group starts at the row of tiles `program_id // (group * col_tiles) * "
        "group`. It has `group` rows, or what is left of them at the lower edge.",
        "Inside of its group, program i has the row `i % height` and the column "
        "`i // height`, where height is the number of rows of *this* group.",
    ),
)


@program_tile.mistake
def row_by_row(program_id: int, row_tiles: int, col_tiles: int, group: int) -> Tile:
    """You go row by row: the programs that run together need all columns of y.

    Go down `group` rows first, then a column further.
    """
    return program_id // col_tiles, program_id % col_tiles


@program_tile.mistake
def column_by_column(
    program_id: int, row_tiles: int, col_tiles: int, group: int
) -> Tile:
    """You go down whole columns of tiles: stop after `group` rows."""
    return program_id % row_tiles, program_id // row_tiles


@program_tile.mistake
def last_group_full(
    program_id: int, row_tiles: int, col_tiles: int, group: int
) -> Tile:
    """The last group may have fewer rows: some of your tiles lie below the matrix.

    And others are never computed. Use `min(group, row_tiles - first)` rows.
    """
    first = program_id // (group * col_tiles) * group
    inside = program_id - first * col_tiles
    return first + inside % group, inside // group


@program_tile.mistake
def counted_from_program_0(
    program_id: int, row_tiles: int, col_tiles: int, group: int
) -> Tile:
    """You take `program_id % height` for the row: count from the group's first program.

    It makes no difference until a last group that is lower.
    """
    first = program_id // (group * col_tiles) * group
    _, col = program_tile_reference(program_id, row_tiles, col_tiles, group)
    return first + program_id % min(group, row_tiles - first), col


@program_tile.mistake
def swapped(program_id: int, row_tiles: int, col_tiles: int, group: int) -> Tile:
    """You return the column first: the row of tiles, then the column."""
    row, col = program_tile_reference(program_id, row_tiles, col_tiles, group)
    return col, row


@program_tile.mistake
def group_not_added(
    program_id: int, row_tiles: int, col_tiles: int, group: int
) -> Tile:
    """Every group starts at row 0 again: add the row where this group begins."""
    first = program_id // (group * col_tiles) * group
    row, col = program_tile_reference(program_id, row_tiles, col_tiles, group)
    return row - first, col


@program_tile.mistake
def group_as_row(program_id: int, row_tiles: int, col_tiles: int, group: int) -> Tile:
    """You add the number of the group; it begins at that number times `group`."""
    number = program_id // (group * col_tiles)
    row, col = program_tile_reference(program_id, row_tiles, col_tiles, group)
    return row - number * group + number, col


@program_tile.mistake
def columns_in_groups(
    program_id: int, row_tiles: int, col_tiles: int, group: int
) -> Tile:
    """You group columns of tiles: groups are of rows here."""
    col, row = program_tile_reference(program_id, col_tiles, row_tiles, group)
    return row, col
