"""Kernels run in Triton's interpreter, or with TRITON_INTERPRET=0 on a GPU.

The interpreter is chosen in tests/conftest.py, before anything imports Triton.
"""

import os

import pytest
import torch

ON_GPU = os.environ["TRITON_INTERPRET"] == "0" and torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
GUARD = 4096


class Guarded:
    """An output full of poison between two guard zones.

    Neither the interpreter nor a GPU reports a store out of bounds: it lands in a
    neighbour's memory. Here the neighbours are zones that must still hold the poison.
    """

    def __init__(self, n_elements: int, dtype: torch.dtype) -> None:
        self.poison = torch.tensor(113, dtype=dtype, device=DEVICE)
        self._memory = self.poison.repeat(n_elements + 2 * GUARD)
        self.output = self._memory[GUARD : GUARD + n_elements]

    def check(self) -> None:
        """Fail if a guard zone was written to."""
        end = GUARD + len(self.output)
        for where, zone in {
            "before": self._memory[:GUARD],
            "after": self._memory[end:],
        }.items():
            written = int((zone != self.poison).sum())
            assert written == 0, f"{written} elements written {where} the output"


@pytest.fixture
def guarded():
    return Guarded


@pytest.fixture
def device():
    return DEVICE
