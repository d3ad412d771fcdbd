"""How far a long piece of work is: a line that renews itself, or a quiet log."""

import time
from typing import TextIO

LOG_SECONDS = 60.0  # between two lines where nobody watches


class Progress:
    """Tells count, rate, time remaining and failures.

    Args:
        total: How many things there are to do.
        stream: Where to tell it; nowhere when None.
    """

    def __init__(self, total: int, stream: TextIO | None) -> None:
        self._total = total
        self._stream = stream
        self._start = self._told = time.monotonic()
        self._done = self._failed = 0

    def step(self, *, failed: bool) -> None:
        """Count one thing as done."""
        self._done += 1
        self._failed += failed
        if self._stream is None:
            return
        now, last = time.monotonic(), self._done == self._total
        if self._stream.isatty():
            end = "\n" if last else ""
            self._stream.write(f"\r\x1b[K{self.line(now - self._start)}{end}")
        elif last or now - self._told >= LOG_SECONDS:
            self._told = now
            self._stream.write(self.line(now - self._start) + "\n")
        self._stream.flush()

    def line(self, seconds: float) -> str:
        """Return the line after so many seconds."""
        rate = self._done / max(seconds, 1e-9)
        left = (self._total - self._done) / rate
        text = f"{self._done} of {self._total} done, {rate:.2g} a second"
        if self._done < self._total:
            text += f", {left:.0f} s left"
        return text + (f", {self._failed} not gradable" if self._failed else "")
