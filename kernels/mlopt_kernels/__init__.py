"""Triton kernels, one a file: bytes counted, reference, kernel, launcher, operator.

Importing this needs torch alone. On a CPU each public function computes its plain torch
reference; on an NVIDIA GPU it launches its kernel, which needs Triton.
"""

from mlopt_kernels.axpy import axpy, axpy_reference
from mlopt_kernels.clip_grad_norm import clip_grad_norm_, clip_grad_norm_reference
from mlopt_kernels.cross_entropy import cross_entropy, cross_entropy_reference
from mlopt_kernels.distillation_loss import (
    distillation_loss,
    distillation_loss_reference,
)
from mlopt_kernels.dropout import dropout, dropout_reference
from mlopt_kernels.fused_adamw import FusedAdamW, fused_adamw_, fused_adamw_reference
from mlopt_kernels.fused_lion import FusedLion, fused_lion_, fused_lion_reference
from mlopt_kernels.group_quantize import (
    group_dequantize,
    group_dequantize_reference,
    group_quantize,
    group_quantize_reference,
)
from mlopt_kernels.layer_norm import layer_norm, layer_norm_reference
from mlopt_kernels.magnitude_mask import magnitude_mask, magnitude_mask_reference
from mlopt_kernels.matmul import matmul, matmul_reference
from mlopt_kernels.reduction import (
    sum_all,
    sum_all_reference,
    sum_rows,
    sum_rows_reference,
)
from mlopt_kernels.rms_norm import rms_norm, rms_norm_reference
from mlopt_kernels.softmax import softmax, softmax_reference
from mlopt_kernels.vector_add import vector_add, vector_add_reference

__all__ = [
    "FusedAdamW",
    "FusedLion",
    "axpy",
    "axpy_reference",
    "clip_grad_norm_",
    "clip_grad_norm_reference",
    "cross_entropy",
    "cross_entropy_reference",
    "distillation_loss",
    "distillation_loss_reference",
    "dropout",
    "dropout_reference",
    "fused_adamw_",
    "fused_adamw_reference",
    "fused_lion_",
    "fused_lion_reference",
    "group_dequantize",
    "group_dequantize_reference",
    "group_quantize",
    "group_quantize_reference",
    "layer_norm",
    "layer_norm_reference",
    "magnitude_mask",
    "magnitude_mask_reference",
    "matmul",
    "matmul_reference",
    "rms_norm",
    "rms_norm_reference",
    "softmax",
    "softmax_reference",
    "sum_all",
    "sum_all_reference",
    "sum_rows",
    "sum_rows_reference",
    "vector_add",
    "vector_add_reference",
]
