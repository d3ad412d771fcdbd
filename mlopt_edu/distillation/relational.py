r"""Relational distillation: how samples lie to one another, not where they lie.

    distance  d_ij = ‖x_i - x_j‖ / mean of all distances
    angle     a_ijk = cosine of the angle at x_j between x_i and x_k
    loss      mean of huber(student's - teacher's) over all pairs or triples

Both see the batch as a figure: turning, moving and enlarging it changes nothing, and
the features of teacher and student may have different sizes.

Paper: Park et al., "Relational Knowledge Distillation", 2019, arXiv:1904.05068,
equations 5 to 10. Differs from the paper: means instead of sums.
"""

import torch
from torch import Tensor
from torch.nn import functional

from mlopt_edu.distillation.logits import widened


def relational_distance_loss(
    student_features: Tensor, teacher_features: Tensor
) -> Tensor:
    """Return the mean Huber loss (delta 1) between normalized distances of pairs.

    The gradient reaches the student alone.

    Args:
        student_features: Tensor of shape (batch, ...), batch at least 2; the rest is
            flattened.
        teacher_features: Tensor of shape (batch, ...).

    Returns:
        Scalar, at least 0, in float32 or the wider type of the features.

    Raises:
        ValueError: If the batches differ or are too small.

    Example:
        >>> line = torch.tensor([[0.0], [1.0], [2.0]])
        >>> relational_distance_loss(7 * line, line @ torch.tensor([[3.0, 4.0]]))
        tensor(0.)
        >>> relational_distance_loss(line, torch.tensor([[0.0], [2.0], [2.0]]))
        tensor(0.1875)
    """
    student, teacher = _points(student_features, teacher_features, at_least=2)
    return functional.huber_loss(_distances(student), _distances(teacher))


def relational_angle_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Return the mean Huber loss (delta 1) between cosines of angles of triples.

    The gradient reaches the student alone. Memory grows with the third power of the
    batch: 64 samples make 262,144 cosines.

    Args:
        student_features: Tensor of shape (batch, ...), batch at least 3; the rest is
            flattened.
        teacher_features: Tensor of shape (batch, ...).

    Returns:
        Scalar, at least 0, in float32 or the wider type of the features.

    Raises:
        ValueError: If the batches differ or are too small.

    Example:
        >>> right = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> relational_angle_loss(right.flip(1), 5 * right - 1)
        tensor(0.)
    """
    student, teacher = _points(student_features, teacher_features, at_least=3)
    return functional.huber_loss(_cosines(student), _cosines(teacher))


def _distances(points: Tensor) -> Tensor:
    distances = functional.pdist(points)
    mean = distances.mean()
    # All points in one place: there is no distance, and no unit for it.
    return distances / mean.where(mean > 0, 1.0)


def _cosines(points: Tensor) -> Tensor:
    """Return the cosine at every vertex for every two others, each pair once."""
    # Entry (j, i) is the direction from vertex j to point i.
    directions = functional.normalize(points - points.unsqueeze(1), dim=-1)
    cosines = directions @ directions.mT
    n = len(points)
    vertex, first, second = torch.meshgrid(*[torch.arange(n)] * 3, indexing="ij")
    distinct = (first < second) & (first != vertex) & (second != vertex)
    return cosines[distinct.to(points.device)]


def _points(
    student: Tensor, teacher: Tensor, *, at_least: int
) -> tuple[Tensor, Tensor]:
    if student.shape[:1] != teacher.shape[:1] or min(student.ndim, teacher.ndim) < 2:
        raise ValueError(
            "student_features and teacher_features must have shapes (batch, ...) of "
            f"one batch, got {tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    if len(student) < at_least:
        raise ValueError(
            f"a batch must hold at least {at_least} samples, got {len(student)}"
        )
    return widened(student).flatten(1), widened(teacher.detach()).flatten(1)
