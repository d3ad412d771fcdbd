"""Triton kernels, one a file: bytes counted, reference, kernel, launcher, operator.

Importing this needs torch alone. On a CPU each public function computes its plain torch
reference; on an NVIDIA GPU it launches its kernel, which needs Triton.
"""

from mlopt_kernels.vector_add import vector_add, vector_add_reference

__all__ = ["vector_add", "vector_add_reference"]
