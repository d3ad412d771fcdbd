"""Opens and decodes files that nobody vouches for: nothing waits, nothing is too big.

What a learner hands in may be a link, a pipe, a picture, or a notebook that some
editor saved in another encoding. A file is refused before it is read when it is too
large, and every refusal is one sentence for the person who handed it in.
"""

import json
import os
import stat
from pathlib import Path
from typing import BinaryIO

MAX_FILE = 20 * 2**20  # bytes: a notebook without pictures has some 50,000

# How files begin that people rename to notebooks.
_BEGINNINGS = (
    (b"PK", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\xd0\xcf\x11\xe0", "an Office document"),
    (b"<!DOCTYPE", "a web page"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
)


class UnreadableError(ValueError):
    """A submission that cannot be graded; the message is the reason."""


def open_file(path: Path) -> BinaryIO:
    """Open a regular file, not through a link, without waiting for a pipe's writer.

    Raises:
        UnreadableError: If it is anything else, or cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        kind = path.lstat().st_mode
        if stat.S_ISLNK(kind):
            raise UnreadableError("the file is a symbolic link, not a notebook")
        # A device may do something when it is opened: ask before, and once more after.
        if not stat.S_ISREG(kind):
            raise UnreadableError("it is not a file")
        file = os.fdopen(os.open(path, flags), "rb")
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise UnreadableError("it is not a file")


def read_file(path: Path) -> bytes:
    """Return the content of a submitted file.

    Raises:
        UnreadableError: If it is no regular file, too large, or cannot be read.
    """
    with open_file(path) as file:
        try:
            if os.fstat(file.fileno()).st_size > MAX_FILE:
                raise too_large(MAX_FILE)
            data = file.read(MAX_FILE + 1)
        except OSError as error:
            raise _unreadable(error) from None
    if len(data) > MAX_FILE:  # it grew meanwhile
        raise too_large(MAX_FILE)
    return data


def too_large(limit: int) -> UnreadableError:
    """Return the refusal of a file of more than `limit` bytes."""
    return UnreadableError(
        f"the file is larger than {limit // 2**20} MB; "
        "clear the notebook's outputs and hand it in again"
    )


def text_of(data: bytes) -> tuple[str, list[str]]:
    """Return the text of a file, and a note if it is not the usual UTF-8.

    Raises:
        UnreadableError: If it is empty, or no text.

    Example:
        >>> text_of('{"näme": 1}'.encode("utf-16"))
        ('{"näme": 1}', ['the file is in UTF-16, not in UTF-8'])
    """
    if not data.strip(b"\0 \t\r\n\xef\xbb\xbf"):
        raise UnreadableError("the file is empty")
    for beginning, kind in _BEGINNINGS:
        if data.startswith(beginning):
            raise UnreadableError(f"the file is {kind}, not a notebook")
    encoding = json.detect_encoding(data)  # by its first bytes; "utf-8" in doubt
    notes = []
    try:
        text = data.decode(encoding)
        if not encoding.startswith("utf-8"):
            name = encoding[:6].upper()
            notes.append(f"the file is in {name}, not in UTF-8")
    except UnicodeDecodeError:
        if not encoding.startswith("utf-8"):
            raise UnreadableError("the file is damaged: it is not text") from None
        # Windows' own encoding first: it is Latin-1 with quotes in the gap.
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        notes.append(
            "the file is not in UTF-8; it was read as Windows-1252, so letters with "
            "accents may be wrong"
        )
    return text, notes


def _unreadable(error: Exception) -> UnreadableError:
    if isinstance(error, UnreadableError):
        return error
    reason = getattr(error, "strerror", None) or type(error).__name__
    return UnreadableError(f"the file cannot be read: {reason.lower()}")
