"""Triton where it is installed, and elsewhere a stand-in that says how to get it."""

from importlib.util import find_spec
from typing import Any

has_triton = find_spec("triton") is not None


class _Missing:
    """Lets a cell define its kernel, and says at the launch what is missing."""

    def __getattr__(self, name: str) -> "_Missing":
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> "_Missing":
        return self

    def __getitem__(self, grid: Any) -> "_Missing":
        raise ModuleNotFoundError(
            "triton must be installed to launch a kernel, got no such package: "
            "pip install 'mlopt-edu[kernels]' (Linux)"
        )


tl: Any
triton: Any
if has_triton:
    import triton
    import triton.language as tl
else:
    triton = tl = _Missing()
