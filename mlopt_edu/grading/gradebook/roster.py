"""The list of students that a course site exports, to be filled in and given back.

Every column and row stays as it was: only single cells are filled.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from .policies import number

NUMBERS = ("ID", "Identifier")  # columns of Canvas's and Moodle's own numbers

_NUMBERED = re.compile(r"(?P<name>.*)_(?P<number>\d+)")


class Sheet:
    """A CSV file of a course site.

    Args:
        path: The file, in UTF-8, separated by commas or semicolons.
        keys: Names of the columns that may name a student, the surest first.

    Raises:
        ValueError: If it is no such file.
        OSError: If it cannot be read.
    """

    def __init__(self, path: Path, *, keys: Sequence[str]) -> None:
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{path.name} must be a CSV file in UTF-8") from None
        self.name = path.name
        # A spreadsheet in a country with decimal commas separates by semicolons.
        self.mark = "\ufeff" if text.startswith("\ufeff") else ""
        text = text.removeprefix("\ufeff")
        head = text.split("\n", 1)[0]
        self.delimiter = ";" if head.count(";") > head.count(",") else ","
        self.newline = "\r\n" if head.endswith("\r") else "\n"
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter)
        try:
            self.header, *self.rows = list(reader)
        except (csv.Error, ValueError):
            raise ValueError(f"{path.name} must be a CSV file with a header") from None
        self._keys = [self.header.index(key) for key in keys if key in self.header]
        if not self._keys:
            raise ValueError(
                f"{path.name} must have a column {' or '.join(map(repr, keys))}"
            )

    def column(self, name: str) -> int | None:
        """Return the place of a column, or None."""
        return self.header.index(name) if name in self.header else None

    def row_of(self, student: str) -> tuple[int | None, str]:
        """Find the one row of a student; else say why there is none.

        Case, spaces and punctuation do not matter, nor the order of the two parts of
        "Lovelace, Ada", nor what follows the @ of an address. Of "lovelaceada_123", as
        Canvas and Moodle call files, the number counts first, then the name.
        """
        numbered = _NUMBERED.fullmatch(student)
        ways = [(letters(student), self._keys)]
        if numbered:
            ids = [key for key in self._keys if self.header[key] in NUMBERS]
            ways += [(numbered["number"], ids), (letters(numbered["name"]), self._keys)]
        for wanted, keys in ways:
            for key in keys:
                found = [
                    which
                    for which, row in enumerate(self.rows)
                    if key < len(row) and wanted and wanted in _spellings(row[key])
                ]
                if len(found) == 1:
                    return found[0], ""
                if found:
                    count = len(found)
                    return None, f"{self.name}: {count} students could be {student!r}"
        looked = ", ".join(self.header[key] for key in self._keys)
        return None, f"{self.name}: there is no student {student!r} in {looked}"

    def cell(self, row: int, column: int) -> str:
        """Return what stands in a cell; a short row ends in empty ones."""
        return self.rows[row][column] if column < len(self.rows[row]) else ""

    def fill(self, row: int, column: int, value: float | str) -> None:
        """Put points or a text into a cell."""
        cells = self.rows[row]
        cells += [""] * (column + 1 - len(cells))
        if not isinstance(value, str):
            value = number(value)
            value = value.replace(".", ",") if self.delimiter == ";" else value
        cells[column] = value

    def points(self, row: int, column: int) -> float | None:
        """Return the points in a cell, or None if there are none."""
        try:
            return float(self.cell(row, column).replace(",", "."))
        except ValueError:
            return None

    def text(self) -> str:
        """Return the file with what was filled in."""
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter, lineterminator=self.newline)
        writer.writerows([self.header, *self.rows])
        return self.mark + text.getvalue()


def letters(text: str) -> str:
    """Return the letters and digits of a text, in lower case.

    Example:
        >>> letters("Lovelace, Ada"), letters("01_gradient_descent")
        ('lovelaceada', '01gradientdescent')
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(letter for letter in folded if letter.isalnum())


def _spellings(cell: str) -> set[str]:
    last, _, first = cell.partition(",")
    number = cell.removeprefix("Participant ")
    names = (cell, first + last, cell.partition("@")[0], number)
    return set(map(letters, names))
