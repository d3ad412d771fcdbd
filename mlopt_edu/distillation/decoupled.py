r"""Decoupled distillation: how sure the teacher is, and what it sees in other classes.

    p_t, q_t   probability of the right class for teacher and student, at temperature T
    target = T² · KL of (p_t, 1 - p_t) from (q_t, 1 - q_t)
    others = T² · KL of the softmax over all other classes
    loss   = target_weight · target + others_weight · others

The soft-target loss is target + (1 - p_t) · others: the surer the teacher, the less
of its knowledge about the other classes comes through. Here `others_weight` does not
depend on p_t.

Paper: Zhao et al., "Decoupled Knowledge Distillation", 2022, arXiv:2203.08679,
equations 6 to 8; alpha and beta there are `target_weight` and `others_weight`.
Differs from the paper: nothing.
"""

import math

import torch
from torch import Tensor

from mlopt_edu.distillation.logits import (
    check_factor,
    check_labels,
    check_logits,
    check_positive,
    check_weights,
    divergence,
    weighted_mean,
    widened,
)


def decoupled_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 4.0,
    target_weight: float = 1.0,
    others_weight: float = 8.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the weighted sum of both parts, the mean over all samples.

    The gradient reaches the student alone.

    Args:
        student_logits: Tensor of shape (..., n_classes), at least 2 classes.
        teacher_logits: Tensor of the same shape.
        labels: int64 tensor of shape (...), entries in [0, n_classes).
        temperature: T above, finite and above 0.
        target_weight: Factor of the first part, at least 0.
        others_weight: Factor of the second part, at least 0.
        weights: Tensor of shape (...), at least 0, or a mask: the mean is weighted by
            it. A label is needed where it is 0 too.

    Returns:
        Scalar in nats, at least 0, in float32 or the wider type of the logits.

    Raises:
        ValueError: If shapes do not fit or a number is out of range.

    Example:
        >>> student, teacher = torch.zeros(1, 3), torch.tensor([[4.0, 0.0, 0.0]])
        >>> decoupled_loss(student, teacher, torch.tensor([0]), others_weight=100.0)
        tensor(1.9726)
    """
    check_logits(student_logits, teacher_logits)
    check_positive("temperature", temperature)
    check_factor("target_weight", target_weight)
    check_factor("others_weight", others_weight)
    if student_logits.shape[-1] < 2:
        raise ValueError("logits must be of at least 2 classes, got 1")
    check_labels(labels, student_logits)
    if weights is not None:
        check_weights(weights, labels.shape)
    parts_q = _parts(widened(student_logits) / temperature, labels)
    parts_p = _parts(widened(teacher_logits.detach()) / temperature, labels)
    target, others = (
        divergence(log_p, log_q) for log_p, log_q in zip(parts_p, parts_q, strict=True)
    )
    return temperature**2 * weighted_mean(
        target_weight * target + others_weight * others, weights
    )


def _parts(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logarithms of (p_t, 1 - p_t) and of the softmax over the others."""
    log_probs = logits.log_softmax(-1)
    label = labels.unsqueeze(-1)
    right = log_probs.gather(-1, label)
    others = log_probs.scatter(-1, label, -math.inf)
    wrong = others.logsumexp(-1, keepdim=True)
    return torch.cat([right, wrong], dim=-1), others - wrong
