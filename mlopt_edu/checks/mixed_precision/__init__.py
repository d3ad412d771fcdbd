"""Exercise 16: sixteen-bit numbers, loss scaling, and a copy of the weights in 32.

fp16 has 5 bits for the exponent and 10 for the fraction, bfloat16 has 8 and 7, fp32
has 8 and 23. Paper: Micikevicius et al., "Mixed Precision Training", 2017,
arXiv:1710.03740 (loss scaling, master weights). The rule that moves the scale is that
of `torch.amp.GradScaler`.

One task a file, imported in the order in which the exercise asks them.
"""

# ruff: noqa: I001 (the order is that of the tasks)
from ._to_bfloat16 import to_bfloat16
from ._lost_share import lost_share
from ._loss_scale_path import loss_scale_path
from ._scaled_training import scaled_training
from ._train_with_master import train_with_master
from ._choices import bf16_or_fp16, clip_when, scaler_for_bf16, stays_in_fp32

__all__ = [
    "bf16_or_fp16",
    "clip_when",
    "loss_scale_path",
    "lost_share",
    "scaled_training",
    "scaler_for_bf16",
    "stays_in_fp32",
    "to_bfloat16",
    "train_with_master",
]
