"""Triton where it is installed, and elsewhere a stand-in that says how to get it.

A kernel is decorated when its file is imported, also on a machine that will only use
the reference. The stand-in lets that pass and raises when a kernel is launched.
"""

from importlib.util import find_spec
from typing import Any


class _Missing:
    """Accepts everything that happens to a kernel before it is launched."""

    def __getattr__(self, name: str) -> "_Missing":
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> "_Missing":
        return self

    def __getitem__(self, grid: Any) -> "_Missing":
        raise ModuleNotFoundError(
            "triton must be installed to launch a kernel, got no such package: "
            "pip install 'mlopt-edu[kernels]' (Linux), or move the tensors to the CPU"
        )


tl: Any
triton: Any
if find_spec("triton"):
    import triton
    import triton.language as tl
else:
    triton = tl = _Missing()

__all__ = ["tl", "triton"]
