"""Exercise 12: soft targets, hints from inside, a frozen teacher, a net grown larger.

Papers: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015,
arXiv:1503.02531 (tasks 1 to 5 and 8); Ba and Caruana, "Do Deep Nets Really Need to be
Deep?", 2013, arXiv:1312.6184 (task 5); Romero et al., "FitNets: Hints for Thin Deep
Nets", 2014, arXiv:1412.6550 (task 6); Zagoruyko and Komodakis, "Paying More Attention
to Attention", 2016, arXiv:1612.03928 (task 7); Yin et al., "Dreaming to Distill", 2019,
arXiv:1912.08795 (task 10); Furlanello et al., "Born-Again Neural Networks", 2018,
arXiv:1805.04770 (task 11); Chen, Goodfellow and Shlens, "Net2Net: Accelerating Learning
via Knowledge Transfer", 2015, arXiv:1511.05641 (task 12).
Differs from the papers: the hint of task 6 is a mean over all entries, and the
distances of tasks 7 and 10 are squared.

One task a file, imported in the order in which the exercise asks them.
"""

# ruff: noqa: I001 (the order is that of the tasks)
from ._softened import softened
from ._soft_target_loss import soft_target_loss
from ._soft_target_gradient import soft_target_gradient
from ._distillation_loss import distillation_loss
from ._logit_regression import logit_regression
from ._hint_loss import hint_loss
from ._attention_transfer import attention_transfer
from ._train_student import train_student
from ._ask_teacher import ask_teacher
from ._match_statistics import match_statistics
from ._ensemble_targets import ensemble_targets
from ._net2wider import net2wider
from ._choices import called_distillation, weights_as_targets, why_t_squared

__all__ = [
    "ask_teacher",
    "attention_transfer",
    "called_distillation",
    "distillation_loss",
    "ensemble_targets",
    "hint_loss",
    "logit_regression",
    "match_statistics",
    "net2wider",
    "soft_target_gradient",
    "soft_target_loss",
    "softened",
    "train_student",
    "weights_as_targets",
    "why_t_squared",
]
