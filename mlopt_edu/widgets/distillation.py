r"""A teacher's answer to one picture, softened, and a student that comes to it.

    p = softmax(v / T),  q = softmax(z / T),  z <- z - T (q - p), from z = 0

Without the factor T² in the loss the step is (q - p) / T instead. The browser computes
it (distillation.js) and draws it (soft_targets.js).
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from traitlets import Bool, Float, Int, TraitError, Unicode
from traitlets import List as ListOf

from mlopt_edu.widgets._panels import PanelWidget, sources


class SoftTargets(PanelWidget):
    """The softened probabilities of teacher and student, and the student's way there.

    `temperature`, `steps` and `squared` are also attributes that follow the controls
    and move them.

    Args:
        teacher_logits: The teacher's logits for one picture, 2 to 12 finite numbers
            between -50 and 50.
        names: Name of each class; None for "class 0", "class 1", ...
        temperature: T in [0.5, 20].
        steps: Steps that the student has taken, in [0, 200].
        squared: Whether the student's loss has the factor T².
        unlocked: Whether the controls may be moved; see `Prediction.unlocks`.

    Raises:
        TraitError: If a value is of the wrong type or out of its range.
    """

    _esm = sources("panels.js", "distillation.js", "soft_targets.js")
    _css = sources("style.css", "panels.css", "distillation.css")

    RANGES: ClassVar = {"temperature": (0.5, 20), "steps": (0, 200)}

    teacher_logits = ListOf(Float()).tag(sync=True)
    names = ListOf(Unicode()).tag(sync=True)
    temperature = Float(1).tag(sync=True)
    steps = Int().tag(sync=True)
    squared = Bool(True).tag(sync=True)

    def __init__(
        self,
        teacher_logits: Sequence[float] = (6.0, 4.0, 2.0, -1.0, -4.0),
        *,
        names: Sequence[str] | None = None,
        temperature: float = 4.0,
        steps: int = 20,
        squared: bool = True,
        unlocked: bool = True,
    ) -> None:
        logits = [float(value) for value in teacher_logits]
        if not 2 <= len(logits) <= 12 or not all(
            math.isfinite(value) and abs(value) <= 50 for value in logits
        ):
            raise TraitError(
                "teacher_logits must be 2 to 12 numbers in [-50, 50], got "
                f"{list(teacher_logits)}"
            )
        labels = [f"class {k}" for k in range(len(logits))]
        labels = labels if names is None else list(names)
        if len(labels) != len(logits):
            raise TraitError(
                f"names must be as many as the logits, {len(logits)}, got {len(labels)}"
            )
        settings: dict[str, Any] = {
            "temperature": temperature,
            "steps": steps,
            "squared": squared,
        }
        self.set_trait("teacher_logits", logits)
        self.set_trait("names", labels)
        super().__init__(settings, unlocked=unlocked)
