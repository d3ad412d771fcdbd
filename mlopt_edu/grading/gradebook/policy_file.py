"""Reads the policies of a course from a TOML file.

timezone = "Europe/Berlin"      # of the times below that name none
keep = "best"                   # or "last", or "best per task"
grace_minutes = 15
percent_per_day = 10
cap_percent = 50

[exercises.01_gradient_descent]
due = 2026-11-13T23:59:00
cut_off = 2026-11-20T23:59:00
keep = "last"                   # every setting above may differ for an exercise

[exercises.01_gradient_descent.extensions]
ada = 2026-11-15T23:59:00
"""

import tomllib
from collections.abc import Mapping
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .policies import Policies, Policy

_COMMON = ("keep", "grace_minutes", "percent_per_day", "cap_percent")
_OWN = ("due", "cut_off", "extensions")


def read_policies(path: Path) -> Policies:
    """Read a file of policies.

    Raises:
        ValueError: If it is not TOML, or a setting is unknown or out of its range.
        OSError: If it cannot be read.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} must be TOML: {error}") from None
    _only(found, (*_COMMON, "timezone", "exercises"), path.name)
    zone = _zone(found.get("timezone"), path.name)
    common = {name: found[name] for name in _COMMON if name in found}
    own = {}
    for stem, settings in _table(found.get("exercises", {}), path.name).items():
        name = f"{path.name}, [exercises.{stem}]"
        _only(_table(settings, name), (*_COMMON, *_OWN), name)
        own[stem] = _policy({**common, **settings}, zone, name)
    return Policies(_policy(common, zone, path.name), own)


def _policy(settings: dict[str, Any], zone: tzinfo | None, name: str) -> Policy:
    for key, value in settings.items():
        if key in ("due", "cut_off"):
            settings[key] = _time(value, zone, f"{name}: {key}")
        elif key == "extensions":
            settings[key] = {
                student: _time(time, zone, f"{name}: the extension of {student}")
                for student, time in _table(value, name).items()
            }
        elif key != "keep" and type(value) not in (int, float):
            raise ValueError(f"{name}: {key} must be a number, got {value!r}")
    try:
        return Policy(**settings)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _time(value: object, zone: tzinfo | None, name: str) -> datetime:
    if not isinstance(value, datetime):
        raise ValueError(
            f"{name} must be a time like 2026-11-13T23:59:00, without quotes, "
            f"got {value!s}"
        )
    if value.tzinfo is None and zone is None:
        raise ValueError(
            f"{name} must have an offset like {value}+01:00, or the file a timezone"
        )
    return value if value.tzinfo else value.replace(tzinfo=zone)


def _zone(value: object, name: str) -> tzinfo | None:
    if value is None:
        return None
    try:
        return ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(
            f"{name}: timezone must be a name like Europe/Berlin, got {value!r}; on a "
            "machine without time zones, install the Python package tzdata"
        ) from None


def _table(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a table of settings, got {value!r}")
    return value


def _only(settings: Mapping[str, Any], known: tuple[str, ...], name: str) -> None:
    for key in settings:
        if key not in known:
            raise ValueError(
                f"{name}: there is no setting {key!r}; there are {', '.join(known)}"
            )
