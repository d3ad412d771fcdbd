"""Finds what a class handed in: files, folders, and archives as systems export them.

What may be given is a folder or an archive. In a folder, an archive is one learner's,
except when it is all there is or when its content is plainly an export of a class.
Everything is looked at and nothing is unpacked to disk. A learner who handed in
something that cannot be graded (a PDF, a broken zip, a link) is found too, with the
reason in `problem`: nobody silently gets nothing.

A script (.py) counts like a notebook, but not beside a notebook of the same name:
there it is the copy that jupytext keeps.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from .archive import archive_stem, is_archive
from .labels import safe, unique
from .listing import File, is_submission, list_files, read_listed
from .owner import METADATA, TIMESTAMP, Owner, gradescope, owner_by_convention, time_of
from .untrusted import UnreadableError
from .weights import SUFFIX

Owned = tuple[File, Owner, datetime | None, tuple[File, ...]]
Records = dict[str, tuple[list[Owner], datetime | None]]  # by Gradescope's folders
Stamps = dict[tuple[str, ...], datetime | None]  # by nbgrader's folders


@dataclass(frozen=True)
class Found:
    """Something that was handed in.

    Attributes:
        label: Its name in results: its path without the suffix, safe as a file name.
        student: Whose it is; never empty.
        submitted: When it was handed in, with a time zone; None if nothing tells.
        path: The file, or the archive that holds it.
        member: Its name in the archive, with the archive in the archive in front.
        problem: Why it cannot be graded, or "".
        user_id: How the system that exported it knows the learner, or "".
        late: Whether that system says that it came late.
        weights: The learner's files of weights, the nearest first.
    """

    label: str
    student: str
    submitted: datetime | None
    path: Path
    member: tuple[str, ...] = ()
    problem: str = ""
    user_id: str = ""
    late: bool = False
    weights: tuple[File, ...] = ()


def find(given: Path, out: Path | None = None) -> list[Found]:
    """Return what a class handed in, in the order of the names.

    Args:
        given: A folder of submissions, or an archive of them.
        out: A folder to leave out, even if it lies inside.

    Raises:
        ValueError: If it is neither, or holds nothing that was handed in.
    """
    files = _inside(list_files(given, out))
    owned = list(_owned(files))
    if not owned:
        raise ValueError(f"{given} holds no notebooks (*.ipynb) to grade")
    return _labelled(owned)


def content(found: Found) -> bytes:
    """Return the bytes of a submission.

    Raises:
        UnreadableError: If it has a problem, is too large, or cannot be read.
    """
    if found.problem:
        raise UnreadableError(found.problem)
    return read_listed(found.path, found.member)


def handed_weights(found: Found, name: str) -> bytes | None:
    """Return the learner's file `NAME.safetensors`, or None if there is none.

    Canvas puts the learner in front of a file's name, and a number behind it.

    Raises:
        UnreadableError: If it is too large, or cannot be read.
    """
    wanted = re.compile(rf"(.*_)?{re.escape(name)}(-\d+)?{re.escape(SUFFIX)}")
    for file in found.weights:
        if wanted.fullmatch(file.parts[-1]):
            if file.problem:
                raise UnreadableError(file.problem)
            return read_listed(file.path, file.member)
    return None


def _inside(files: list[File]) -> list[File]:
    """Leave out the folders around the class, and nbgrader's other folders."""
    while True:
        tops = {file.own[0] for file in files if file.own}
        if "submitted" in tops and tops & {"source", "release"}:
            files = [file for file in files if file.own[:1] == ("submitted",)]
            continue
        if len(tops) != 1 or not all(len(file.own) > 1 for file in files):
            return files
        (top,) = tops
        below = {file.own[1] for file in files}
        folders = {file.own[1] for file in files if len(file.own) > 2}
        stamped = any(f.own[-1] == TIMESTAMP and len(f.own) == 3 for f in files)
        is_export = bool(files[0].member) and not files[0].is_inner
        is_archive_of_files = is_export and len(below) > 1 and not folders
        if (
            owner_by_convention(top)
            or is_archive(top)
            or not (
                top == "submitted"
                or METADATA in below
                or any(map(owner_by_convention, below))
                or (len(folders) > 1 and not stamped)
                or is_archive_of_files
            )
        ):
            return files
        files = [replace(file, given=file.given + 1) for file in files]


def _owned(files: list[File]) -> Iterator[Owned]:
    """Yield what each learner handed in, with its owner and time."""
    records: Records = {}
    stamps: Stamps = {}
    for file in files:
        if file.own == (METADATA,):
            records = gradescope(_text(file))
        elif _is_stamp(file):
            stamps[file.parts[:-1]] = time_of(_text(file))
    groups: dict[tuple[Owner, ...], list[File]] = {}
    times: dict[tuple[str, ...], datetime | None] = {}
    for file in files:
        if file.own != (METADATA,) and not _is_stamp(file):
            owners, times[file.parts] = _owner(file, records, stamps)
            groups.setdefault(tuple(owners), []).append(file)
    for group, own in groups.items():
        for file in _handed_in(own):
            for owner in group:
                yield file, owner, times.get(file.parts), _weights(own, file)


def _weights(own: Sequence[File], notebook: File) -> tuple[File, ...]:
    """Return the files of weights among a learner's, those beside a notebook first."""
    found = [file for file in own if file.parts[-1].endswith(SUFFIX)]
    return tuple(sorted(found, key=lambda f: f.parts[:-1] != notebook.parts[:-1]))


def _is_stamp(file: File) -> bool:
    """Return whether nbgrader wrote a file, not a learner who knows its name."""
    return (
        file.own[-1:] == (TIMESTAMP,)
        and len(file.own) > 2
        and not file.is_inner
        and owner_by_convention(file.own[0]) is None
    )


def _owner(
    file: File,
    records: Records,
    stamps: Stamps,
) -> tuple[list[Owner], datetime | None]:
    own = file.own or file.parts or (file.path.name,)
    if own[0] in records:
        owners, time = records[own[0]]
        return owners or [Owner(own[0])], time
    if known := owner_by_convention(own[0]):
        return [known], None
    for depth in range(len(file.parts) - 1, file.given + 1, -1):
        if file.parts[:depth] in stamps:  # nbgrader: STUDENT/ASSIGNMENT/timestamp.txt
            return [Owner(file.parts[depth - 2])], stamps[file.parts[:depth]]
    return [Owner(_bare(own[0]) if len(own) == 1 or file.member else own[0])], None


def _handed_in(files: Sequence[File]) -> list[File]:
    """Return of one learner's files those to grade, or one that says why there is none.

    A file that is not a submission and stands alone at the top belongs to nobody.
    """
    graded = [f for f in files if is_submission(f.parts[-1])]
    notebooks = {(*f.parts[:-1], _stem(f.parts[-1])) for f in graded if not f.is_script}
    archives = [f for f in files if f.problem and is_archive(f.parts[-1])]
    if graded or archives:
        return archives + [
            f
            for f in graded
            if not f.is_script or (*f.parts[:-1], _stem(f.parts[-1])) not in notebooks
        ]
    if broken := [file for file in files if file.problem]:
        return broken[:1]
    first = files[0]
    if len(first.own) == 1 and owner_by_convention(first.own[0]) is None:
        return []
    names = ", ".join(safe(file.parts[-1]) for file in files[:3])
    problem = f"nothing of it is a notebook (*.ipynb): {names}"
    return [replace(first, parts=first.parts[: first.given + 1], problem=problem)]


def _text(file: File) -> str:
    try:
        return read_listed(file.path, file.member).decode("utf-8", "replace")
    except UnreadableError:
        return ""


def _labelled(owned: list[Owned]) -> list[Found]:
    """Return what was found in the order of the paths; a group has a label for each."""
    owned = sorted(
        owned, key=lambda one: ([*map(os.fsencode, one[0].parts)], one[1].student)
    )
    labels = unique(
        [_label(file.parts or (file.path.name,)) for file, *_ in owned],
        ["/".join((*file.parts, owner.student)) for file, owner, *_ in owned],
    )
    return [
        Found(
            name,
            safe(owner.student),
            time,
            file.path,
            file.member,
            file.problem,
            owner.user_id,
            owner.late,
            weights,
        )
        for name, (file, owner, time, weights) in zip(labels, owned, strict=True)
    ]


def _label(parts: Sequence[str]) -> str:
    return "/".join([*map(safe, parts[:-1]), safe(_stem(parts[-1]))])


def _stem(name: str) -> str:
    return name[: name.rindex(".")] if is_submission(name) else name


def _bare(name: str) -> str:
    """Return the name of a learner's file, folder or archive as the learner's."""
    return archive_stem(name) or _stem(name)
