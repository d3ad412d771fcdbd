"""What widgets with panels and controls share on the Python side."""

from pathlib import Path
from typing import Any, ClassVar

import anywidget
from traitlets import Bool, Dict, TraitError

_HERE = Path(__file__).parent


def sources(*names: str) -> str:
    """Return the texts of files beside this one, one after the other."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)


class PanelWidget(anywidget.AnyWidget):
    """Controls that redraw panels in the browser (panels.js).

    A subclass tags its settings `sync=True`, bounds them in `RANGES`, and passes all
    of them to `__init__` here.
    """

    RANGES: ClassVar[dict[str, tuple[float, float]]] = {}

    unlocked = Bool(True).tag(sync=True)
    _initial = Dict().tag(sync=True)  # where "Reset" returns to

    def __init__(self, settings: dict[str, Any], *, unlocked: bool) -> None:
        self._register_validator(self._check_range, tuple(self.RANGES))
        super().__init__(**settings, unlocked=unlocked, _initial=settings)

    def _check_range(self, _: Any, proposal: dict[str, Any]) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        low, high = self.RANGES[name]
        if not low <= value <= high:
            raise TraitError(f"{name} must be in [{low}, {high}], got {value}")
        return value
