"""What lesson 15 needs to look into a kernel: memory that counts, and Triton.

Set `TRITON_INTERPRET=1` before this package is imported: then Triton's interpreter runs
kernels on the CPU, one program after another, and `Memory` sees every load and store.
"""

from ._triton import has_triton, tl, triton
from .memory import Memory

__all__ = ["Memory", "has_triton", "tl", "triton"]
