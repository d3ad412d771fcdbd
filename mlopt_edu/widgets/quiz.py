"""A question with a few answers; the right one stays in Python."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import anywidget
from traitlets import Bool, Int, Unicode
from traitlets import List as ListTrait

_HERE = Path(__file__).parent


class Verdict(Protocol):
    """What a check says about one answer."""

    @property
    def passed(self) -> bool:
        """Whether the answer is right."""

    @property
    def message(self) -> str:
        """Why it is right or wrong."""


class Quiz(anywidget.AnyWidget):
    """A multiple-choice question that can be tried again.

    The browser knows the question and the options; it learns the verdict on an answer
    from the kernel when the learner asks for it. After that the attributes `choice`
    (the key asked for), `passed`, `message` and `attempts` hold the last verdict.
    Text between backticks is shown as code; everything else is shown as it is.

    Args:
        question: The question.
        options: Text of each option by its key, such as `{"a": "It converges."}`; at
            least two.
        check: Called with the chosen key; returns an object with `passed` and
            `message`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the question is empty or there are fewer than two options.
    """

    _esm = "\n".join(
        (_HERE / name).read_text(encoding="utf-8")
        for name in ("radio_group.js", "quiz.js")
    )
    _css = (_HERE / "style.css").read_text(encoding="utf-8")

    question = Unicode().tag(sync=True)
    # pairs, because JavaScript reorders keys like "2"
    options: ListTrait[list[str]] = ListTrait().tag(sync=True)
    choice = Unicode().tag(sync=True)
    passed = Bool(False).tag(sync=True)
    message = Unicode().tag(sync=True)
    attempts = Int(0).tag(sync=True)

    def __init__(
        self,
        question: str,
        options: Mapping[str, str],
        check: Callable[[str], Verdict],
    ) -> None:
        if not isinstance(question, str):
            raise TypeError(f"question must be a string, got {type(question).__name__}")
        if not isinstance(options, Mapping) or not all(
            isinstance(part, str) for option in options.items() for part in option
        ):
            raise TypeError(f"options must map keys to texts, got {options!r}")
        if not callable(check):
            raise TypeError(f"check must be callable, got {type(check).__name__}")
        if not question.strip():
            raise ValueError("question must ask something, got an empty string")
        if len(options) < 2:
            raise ValueError(f"options must be at least two, got {dict(options)!r}")
        super().__init__(question=question, options=[list(o) for o in options.items()])
        self._check = check
        self.on_msg(self._answer)

    def _answer(self, _: object, content: Any, __: object) -> None:
        key = content.get("check") if isinstance(content, dict) else None
        if not isinstance(key, str) or key not in dict(self.options):
            return
        try:
            verdict = self._check(key)
            passed, message = bool(verdict.passed), str(verdict.message)
        except Exception as error:  # the learner sees it where the answer was asked for
            passed = False
            message = f"The check could not run: {type(error).__name__}: {error}"
        with self.hold_sync():  # one message, so that the browser never sees half
            self.choice, self.passed, self.message = key, passed, message
            self.attempts += 1
