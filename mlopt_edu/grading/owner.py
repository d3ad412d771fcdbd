"""Whose submission a file is, by how the systems of a class name what they export.

- **Canvas** ("Download Submissions"): `lovelaceada_LATE_12345_67890_original-1.ipynb`,
  the sortable name in lower case without spaces, LATE if so, the user's number, the
  attachment's number, the file's name. With anonymous grading
  `anon_aB3dE_67890_original.ipynb`. Source: canvas-lms, lib/content_zipper.rb,
  `get_filename` and `add_upload_submission`.
- **Moodle** ("Download all submissions"): a folder
  `Ada Lovelace_123456_assignsubmission_file_`, without the last underscore since 4.1,
  or flat `Ada Lovelace_123456_assignsubmission_file_original.ipynb`. The name has no
  underscore; the number is the participant's. Source: moodle,
  mod/assign/classes/downloader.php, `get_student_prefix` and
  `load_submissionplugin_filelist`.
- **Gradescope** ("Export Submissions"): folders `submission_123456` and beside them
  `submission_metadata.yml`: for each folder `:submitters:` with `:name:`, `:sid:` and
  `:email:`, and `:created_at:`. Its guides (guides.gradescope.com, "Exporting
  Submission Data") name the file; its form is that of public programs that read it.
- **nbgrader**: `submitted/STUDENT/ASSIGNMENT/original.ipynb` and beside it
  `timestamp.txt`, as "2015-02-02 15:58:23.948203 UTC". Source: nbgrader's user guide,
  "Autograding"; nbgrader/utils.py, `parse_utc`.
- anything else: `ada.ipynb`, or `ada/anything.ipynb`.

Neither Canvas nor Moodle writes when something was handed in: the times in their zips
are those of the download, and those in a learner's own zip are the learner's. So no
time is ever taken from an archive's members.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

METADATA = "submission_metadata.yml"
TIMESTAMP = "timestamp.txt"

_CANVAS = re.compile(
    r"(?P<name>[^/]*?[^/_])(?P<late>_LATE)?_(?P<id>\d+)_\d+_(?P<file>[^/]+)"
)
_CANVAS_ANONYMOUS = re.compile(
    r"(?P<late>LATE_)?anon_(?P<id>[A-Za-z0-9]+)_\d+_(?P<file>[^/]+)"
)
_MOODLE = re.compile(
    r"(?P<name>[^/_]+)_(?P<id>\d+)_assignsubmission_[a-z]+(_(?P<file>[^/]*))?"
)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d{1,6})?\d*\s*"
    r"(Z|UTC|UCT|GMT|[+-]\d\d:?\d\d)?"
)


@dataclass(frozen=True)
class Owner:
    """Who handed something in.

    Attributes:
        student: A name that no one else in the class has.
        user_id: The number or address that the system knows them by, or "".
        late: Whether the system says that it came late.
    """

    student: str
    user_id: str = ""
    late: bool = False


def owner_by_convention(name: str) -> Owner | None:
    """Return the owner that a file's or folder's name tells, None if it tells none.

    Two learners may share a name, so the number is part of `student`.

    Example:
        >>> owner_by_convention("lovelaceada_LATE_12345_67890_hw-1.ipynb")
        Owner(student='lovelaceada_12345', user_id='12345', late=True)
        >>> owner_by_convention("Ada Lovelace_77_assignsubmission_file_").student
        'Ada Lovelace_77'
    """
    if match := _MOODLE.fullmatch(name):
        return Owner(f"{match['name']}_{match['id']}", match["id"])
    if match := _CANVAS_ANONYMOUS.fullmatch(name):
        return Owner(f"anon_{match['id']}", match["id"], match["late"] is not None)
    if match := _CANVAS.fullmatch(name):
        student = f"{match['name']}_{match['id']}"
        return Owner(student, match["id"], match["late"] is not None)
    return None


def time_of(text: object) -> datetime | None:
    """Return the time in a text, None if it is none or its zone is not certain.

    nbgrader writes UTC when it writes no zone.

    Example:
        >>> time_of("2015-02-02 15:58:23.948203 UTC").isoformat()
        '2015-02-02T15:58:23.948203+00:00'
    """
    match = _TIME.fullmatch(str(text).strip())
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    try:
        time = datetime.fromisoformat(f"{day}T{clock}{fraction or ''}")
    except ValueError:
        return None
    if zone is None or zone[0] not in "+-":
        return time.replace(tzinfo=UTC)
    sign = -1 if zone[0] == "-" else 1
    digits = zone[1:].replace(":", "")
    offset = sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return time.replace(tzinfo=timezone(offset)) if abs(offset).days < 1 else None


def gradescope(text: str) -> dict[str, tuple[list[Owner], datetime | None]]:
    """Return the owners of each folder of a Gradescope export, and when it came.

    A group hands in once, and each of its members owns it.

    Args:
        text: Content of `submission_metadata.yml`; nothing is read from a broken one.
    """
    import yaml  # type: ignore[import-untyped]

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """Takes Ruby's own tags for what they are: nothing."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    try:
        data = yaml.load(text, Loader)  # safe: a subclass of the safe loader
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    found: dict[str, tuple[list[Owner], datetime | None]] = {}
    for folder, record in data.items() if isinstance(data, dict) else ():
        if isinstance(folder, str) and isinstance(record, dict):
            people = record.get(":submitters")
            people = people if isinstance(people, list) else []
            owners = [_submitter(one) for one in people if isinstance(one, dict)]
            time = record.get(":created_at")
            if isinstance(time, datetime) and time.tzinfo is None:
                time = time.replace(tzinfo=UTC)
            known = time if isinstance(time, datetime) else time_of(time)
            found[folder] = [one for one in owners if one is not None], known
    return found


def _submitter(person: Mapping[str, Any]) -> Owner | None:
    texts = [str(person.get(key) or "").strip() for key in (":sid", ":email", ":name")]
    named = [text for text in texts if text]
    return Owner(named[0], named[0]) if named else None
