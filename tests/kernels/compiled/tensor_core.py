"""Kernels that multiply matrices: they show the tensor-core instruction."""

from . import Compiled

KERNELS: dict[str, Compiled] = {}
