"""Lists every file in what was given, in folders and in archives.

A folder is entered, a link to one is not. An archive is entered too, and an archive
in it: a zip a learner in a zip of the class. Nothing is unpacked to disk. What cannot
be entered is listed with the reason.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath

from .archive import Archive, is_archive
from .owner import METADATA, TIMESTAMP, owner_by_convention
from .untrusted import UnreadableError, open_file, read_file

MAX_DEPTH = 8  # folders in folders
MAX_INNER = 32 * 2**20  # bytes of an archive in an archive
RESULTS = "class.json"  # marks a folder of results, which is no submission
SUFFIXES = (".ipynb", ".py")


@dataclass(frozen=True)
class File:
    """A file that was handed in, or what stands for one.

    Attributes:
        parts: Its path in what was given, through archives.
        path: The file on disk, perhaps an archive.
        member: Its name in the archive, with the archive in the archive in front.
        problem: Why it cannot be read, or "".
        given: How many of `parts` lead to the class.
        is_inner: Whether a learner made the archive it is in, and named it there.
    """

    parts: tuple[str, ...]
    path: Path
    member: tuple[str, ...] = ()
    problem: str = ""
    given: int = 0
    is_inner: bool = False

    @property
    def own(self) -> tuple[str, ...]:
        """The path in the class."""
        return self.parts[self.given :]

    @property
    def is_script(self) -> bool:
        """Whether its name is that of a script."""
        return self.parts[-1].lower().endswith(".py")


def list_files(given: Path, out: Path | None) -> list[File]:
    """Return the files in a folder or an archive, in the order of their names.

    Raises:
        ValueError: If it is neither, or an archive that cannot be read.
    """
    if given.is_dir():
        return list(_expand(list(_walk(given, out))))
    if not is_archive(given.name) or not given.is_file():
        raise ValueError(f"{given} must be a folder or an archive of submissions")
    files = _members(File((), given), is_class=True, is_top=True)
    if not files[0].parts:
        raise ValueError(f"{given} cannot be graded: {files[0].problem}")
    return files


def read_listed(path: Path, member: tuple[str, ...]) -> bytes:
    """Return the content of a listed file.

    Raises:
        UnreadableError: If it is too large, or cannot be read.
    """
    if not member:
        return read_file(path)
    *outer, name = member
    return _archive(path, tuple(outer)).read(name)


def _walk(
    folder: Path, out: Path | None, parts: tuple[str, ...] = ()
) -> Iterator[File]:
    """Yield the files in a folder, and a folder that holds none as if it were one."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        yield File(parts, folder, problem=f"the folder cannot be read: {reason}")
        return
    if any(entry.name == RESULTS for entry in entries):
        return
    is_empty = True
    for entry in entries:
        path, inner = folder / entry.name, (*parts, entry.name)
        if _is_hidden(entry.name) or path == out:
            continue
        is_empty = False
        # A folder that is a link may lead anywhere: it is not followed.
        if not entry.is_dir(follow_symlinks=False):
            yield File(inner, path)
        elif len(inner) < MAX_DEPTH:
            yield from _walk(path, out, inner)
        else:
            yield File(inner, path, problem="it lies too many folders deep")
    if is_empty and parts:
        yield File(parts, folder, problem="the folder is empty")


def _expand(files: list[File]) -> Iterator[File]:
    """Yield files, and in place of each archive what it holds."""
    kept = [f for f in files if is_archive(f.parts[-1]) or is_submission(f.parts[-1])]
    for file in files:
        if file.problem or not is_archive(file.parts[-1]):
            yield file
            continue
        is_only = kept == [file] and owner_by_convention(file.parts[0]) is None
        is_top = len(file.parts) == 1
        yield from _members(file, is_class=is_only and is_top, is_top=is_top)


def _members(file: File, *, is_class: bool, is_top: bool = False) -> list[File]:
    """Return the files in an archive; a broken one is a file with a problem."""
    try:
        archive = _archive(file.path, file.member)
    except UnreadableError as error:
        return [replace(file, problem=str(error))]
    members = []
    for one in archive.members:
        name = PurePosixPath(one.name).parts
        if not any(map(_is_hidden, name)):
            members.append((name, one))
    names = [name for name, _ in members]
    handed_in = [n for n in names if is_submission(n[-1]) or is_archive(n[-1])]
    is_class = (is_class and len(handed_in) > 1) or _is_export(names, is_top=is_top)
    found = []
    for name, one in members:
        inner = File(
            (*file.parts, *name),
            file.path,
            (*file.member, one.name),
            # An archive in it may be larger; a problem of another file is nobody's.
            "" if is_archive(name[-1]) else one.problem,
            given=len(file.parts) if is_class else 0,
            is_inner=not is_class,
        )
        if not is_archive(name[-1]):
            found.append(inner)
        elif file.member:
            problem = "it is an archive in an archive in an archive; hand in one zip"
            found.append(replace(inner, problem=problem))
        else:
            given, is_inner = inner.given, True
            for deep in _members(inner, is_class=False):
                found.append(replace(deep, given=given, is_inner=is_inner))
    if not found:
        return [replace(file, problem="the archive is empty")]
    return found


def _is_export(names: Sequence[tuple[str, ...]], *, is_top: bool) -> bool:
    """Return whether the names in an archive are those of a whole class."""
    if not is_top:
        return False
    return any(
        name[-1] == METADATA
        or any(owner_by_convention(part) for part in name[:2])
        or (name[-1] == TIMESTAMP and len(name) >= 3)
        for name in names
    )


def _archive(path: Path, outer: tuple[str, ...]) -> Archive:
    """Open an archive once: its list of members is long when the class is."""
    try:
        state = path.stat()
    except OSError:
        raise UnreadableError("the archive cannot be read any more") from None
    # A forked process shares the file's position with its parent: it opens its own.
    return _opened(path, outer, (os.getpid(), state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=4)
def _opened(path: Path, outer: tuple[str, ...], state: tuple[int, ...]) -> Archive:
    if not outer:
        return Archive(open_file(path), path.name)
    *above, name = outer
    data = _opened(path, tuple(above), state).read(name, limit=MAX_INNER)
    return Archive(BytesIO(data), name)


def _is_hidden(name: str) -> bool:
    names = ("__MACOSX", "__pycache__")
    return name in names or (name.startswith(".") and name != "..")


def is_submission(name: str) -> bool:
    """Return whether a file name is that of a notebook or a script."""
    return name.lower().endswith(SUFFIXES)
