r"""Soft targets: the student learns the teacher's probabilities, softened.

    p = softmax(v / T),  q = softmax(z / T)       v, z: logits of teacher and student
    soft = T² · KL(p ‖ q) = T² · sum_k p_k · (log p_k - log q_k)
    loss = hard_weight · cross_entropy(z, label) + soft_weight · soft

T is `temperature`. Its gradient for z is T · (q - p). A softened probability moves by
1/T of a logit's change, so the gradient of KL alone fades like 1/T²; the factor T²
keeps the balance of the two terms when T changes. For large T the gradient becomes
that of logit regression on centred logits, divided by the number of classes.

Papers: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015,
arXiv:1503.02531, sections 2 and 2.1; Ba and Caruana, "Do Deep Nets Really Need to be
Deep?", 2013, arXiv:1312.6184, equation 1. Differs from the papers: Hinton et al.
minimize the cross-entropy with p, which is KL plus the teacher's entropy, a constant;
KL is 0 where the student has learnt everything.
"""

from torch import Tensor
from torch.nn import functional

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

# torch's sign for "no label", the default of cross_entropy's ignore_index.
NO_LABEL = -100


def soft_target_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 4.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Return T² · KL(teacher ‖ student), the mean over all samples.

    The gradient reaches the student alone. A class that both rule out by a logit of
    -inf adds nothing. 16-bit logits are computed with in float32.

    Args:
        student_logits: Tensor of shape (..., n_classes); every leading dimension counts
            samples, as (batch, time) does.
        teacher_logits: Tensor of the same shape. Logits, not probabilities: the softmax
            happens here.
        temperature: T above, finite and above 0.
        weights: Tensor of shape (...), at least 0, or a mask: the mean is weighted by
            it, and where it is 0 the logits may be anything, also NaN. If all are 0 the
            loss is 0.

    Returns:
        Scalar in nats, at least 0, in float32 or the wider type of the logits.

    Raises:
        ValueError: If the shapes do not fit or `temperature` is out of range.

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[4.0, -4.0]])
        >>> soft_target_loss(student, teacher, temperature=2.0)
        tensor(2.4122)
    """
    check_logits(student_logits, teacher_logits)
    check_positive("temperature", temperature)
    student, teacher = widened(student_logits), widened(teacher_logits.detach())
    if weights is not None:
        check_weights(weights, student.shape[:-1])
        kept = (weights != 0).unsqueeze(-1)
        student, teacher = student.where(kept, 0.0), teacher.where(kept, 0.0)
    log_q = (student / temperature).log_softmax(-1)
    log_p = (teacher / temperature).log_softmax(-1)
    return temperature**2 * weighted_mean(divergence(log_p, log_q), weights)


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 4.0,
    hard_weight: float = 0.1,
    soft_weight: float = 0.9,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the weighted sum of the cross-entropy with labels and the soft targets.

    Args:
        student_logits: Tensor of shape (..., n_classes).
        teacher_logits: Tensor of the same shape.
        labels: int64 tensor of shape (...), entries in [0, n_classes), or -100 where
            there is no label: there the teacher alone counts.
        temperature: T of `soft_target_loss`; the hard term is always at T = 1.
        hard_weight: Factor of the cross-entropy, at least 0.
        soft_weight: Factor of the soft targets, at least 0.
        weights: As for `soft_target_loss`; they weigh both terms.

    Returns:
        Scalar in nats. The cross-entropy is a mean over what has a label, 0 if nothing
        has.

    Raises:
        ValueError: If shapes do not fit or a number is out of range.

    Example:
        >>> import torch
        >>> student, teacher = torch.zeros(2, 4), torch.zeros(2, 4)
        >>> distillation_loss(student, teacher, torch.tensor([3, -100]), hard_weight=1)
        tensor(1.3863)
    """
    check_factor("hard_weight", hard_weight)
    check_factor("soft_weight", soft_weight)
    check_logits(student_logits, teacher_logits)
    check_labels(labels, student_logits)
    soft = soft_target_loss(
        student_logits, teacher_logits, temperature=temperature, weights=weights
    )
    counted = (labels != NO_LABEL).to(soft.dtype)
    if weights is not None:
        counted = counted * weights
    kept = labels.where(counted != 0, NO_LABEL)
    logits = widened(student_logits).where((counted != 0).unsqueeze(-1), 0.0)
    hard = functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), kept.reshape(-1), reduction="none"
    )
    hard = weighted_mean(hard.reshape(labels.shape), counted)
    return hard_weight * hard + soft_weight * soft


def logit_regression_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    centered: bool = False,
    weights: Tensor | None = None,
) -> Tensor:
    """Return half the squared distance of the logits, the mean over all samples.

    The gradient reaches the student alone.

    Args:
        student_logits: Tensor of shape (..., n_classes).
        teacher_logits: Tensor of the same shape.
        centered: Subtract each sample's mean logit first, which no softmax sees.
        weights: As for `soft_target_loss`.

    Returns:
        Scalar, at least 0, in float32 or the wider type of the logits.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 1.0]])
        >>> logit_regression_loss(student, teacher)
        tensor(2.)
        >>> logit_regression_loss(student, teacher, centered=True)
        tensor(1.)
    """
    check_logits(student_logits, teacher_logits)
    gap = widened(student_logits) - widened(teacher_logits.detach())
    if weights is not None:
        check_weights(weights, gap.shape[:-1])
        gap = gap.where((weights != 0).unsqueeze(-1), 0.0)
    if centered:
        gap = gap - gap.mean(-1, keepdim=True)
    return weighted_mean(gap.square().sum(-1) / 2, weights)
