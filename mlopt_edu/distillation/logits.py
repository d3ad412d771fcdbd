"""What the losses on logits share: the divergence, weighted means, refusals."""

import math

import torch
from torch import Tensor


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(p ‖ q) over the last dimension; where p is 0 nothing is added."""
    p = log_p.exp()
    return torch.where(p == 0, 0.0, p * (log_p - log_q)).sum(-1)


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean of all entries weighted by `weights`, 0 if these are all 0."""
    if weights is None:
        return values.mean()
    weights = weights.to(values.dtype)
    total = weights.sum()
    return (values * weights).sum() / total.where(total != 0, 1.0)


def widened(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or in its own type if that is wider."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def check_logits(student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Refuse logits of different shapes, and numbers without a dimension of classes."""
    if student_logits.shape != teacher_logits.shape or student_logits.ndim == 0:
        raise ValueError(
            "student_logits and teacher_logits must have one shape (..., n_classes), "
            f"got {tuple(student_logits.shape)} and {tuple(teacher_logits.shape)}"
        )


def check_labels(labels: Tensor, student_logits: Tensor) -> None:
    """Refuse labels that are not one number a sample."""
    if labels.shape != student_logits.shape[:-1]:
        raise ValueError(
            "labels must have the shape of student_logits without its last dimension, "
            f"got {tuple(labels.shape)} for logits {tuple(student_logits.shape)}"
        )


def check_positive(name: str, value: float) -> None:
    """Refuse a number that is not finite and above 0."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be finite and above 0, got {value}")


def check_factor(name: str, value: float) -> None:
    """Refuse a factor of a loss that is not finite and at least 0."""
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and at least 0, got {value}")


def check_weights(weights: Tensor, shape: torch.Size) -> None:
    """Refuse weights that are not one number a sample."""
    if weights.shape != shape:
        raise ValueError(
            "weights must have the shape of the logits without their last dimension, "
            f"{tuple(shape)}, got {tuple(weights.shape)}"
        )
