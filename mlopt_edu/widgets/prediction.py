"""The learner commits to a guess before the controls of a lesson unlock."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
from ipywidgets.widgets.widget import Widget
from ipywidgets.widgets.widget_link import jsdlink
from traitlets import Bool, TraitError, Unicode, validate
from traitlets import List as ListTrait

_HERE = Path(__file__).parent


class Prediction(anywidget.AnyWidget):
    """A question whose guess is frozen once it is committed.

    Text between backticks is shown as code; everything else is shown as it is.

    Args:
        question: What the learner predicts.
        options: The guesses to choose from: at least two, all different.
        reveal: What really happens; folded away until the learner opens it, and
            offered only after the guess.

    Raises:
        TypeError: If the question, an option or `reveal` is not a string.
        ValueError: If the question is empty, or the options are fewer than two, empty
            or not all different.
    """

    _esm = "\n".join(
        (_HERE / name).read_text(encoding="utf-8")
        for name in ("radio_group.js", "prediction.js")
    )
    _css = (_HERE / "style.css").read_text(encoding="utf-8")

    question = Unicode().tag(sync=True)
    options = ListTrait(Unicode()).tag(sync=True)
    reveal = Unicode().tag(sync=True)
    choice = Unicode().tag(sync=True)
    committed = Bool(False).tag(sync=True)

    def __init__(
        self, question: str, options: Sequence[str], *, reveal: str = ""
    ) -> None:
        if not isinstance(question, str) or not isinstance(reveal, str):
            raise TypeError(
                "question and reveal must be strings, got "
                f"{type(question).__name__} and {type(reveal).__name__}"
            )
        if isinstance(options, str) or not all(isinstance(o, str) for o in options):
            raise TypeError(f"options must be a list of strings, got {options!r}")
        options = list(options)
        if not question.strip():
            raise ValueError("question must say what to predict, got an empty string")
        if len(options) < 2 or len(set(options)) < len(options) or "" in options:
            raise ValueError(
                f"options must be at least two different texts, got {options!r}"
            )
        super().__init__(question=question, options=options, reveal=reveal)

    def unlocks(self, widget: Widget) -> None:
        """Lock a widget until the guess is committed, in the browser alone.

        Args:
            widget: A widget with a synced boolean trait `unlocked`.

        Raises:
            TypeError: If the widget has no such trait.
        """
        if not isinstance(widget, Widget) or not widget.has_trait("unlocked"):
            raise TypeError(
                "widget must have a trait named unlocked, as LossSurface has, "
                f"got {type(widget).__name__}"
            )
        widget.set_trait("unlocked", self.committed)
        jsdlink((self, "committed"), (widget, "unlocked"))  # type: ignore[no-untyped-call]

    @validate("choice")
    def _check_choice(self, proposal: dict[str, Any]) -> Any:
        choice = proposal["value"]
        if choice and choice not in self.options:
            raise TraitError(f"choice must be one of {self.options}, got {choice!r}")
        return choice
