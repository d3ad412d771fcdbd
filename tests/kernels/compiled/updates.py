"""Kernels over many tensors, and those that compress weights."""

from . import Compiled

KERNELS: dict[str, Compiled] = {}
