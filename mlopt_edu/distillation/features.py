r"""Hints and attention: the student learns what the teacher's layers show inside.

    hint       1/2 · mean (r(s) - t)²       s, t: activations; r: a learnt projector
    attention  Q = sum_channels |F|^p as one vector of places, divided by its length
               mean over samples of ‖Q_student - Q_teacher‖² = 2 - 2 · cosine

A hint asks for the teacher's features, so a projector r must bring the student's to
the teacher's size; it is trained with the student and thrown away. Attention asks only
*where* the features are large, so the number of channels does not matter.

Papers: Romero et al., "FitNets: Hints for Thin Deep Nets", 2014, arXiv:1412.6550,
equation 3; Zagoruyko and Komodakis, "Paying More Attention to Attention", 2016,
arXiv:1612.03928, equations 1 and 2. Differs from the papers: the hint is a mean over
entries and not a sum, so that its weight need not change with the layer's size;
FitNets reach the teacher's map size by an unpadded convolution, we by pooling; the
distance of attention maps is squared, which has a gradient where they agree.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlopt_edu.distillation.logits import check_positive, widened


def hint_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Return half the mean squared difference; the gradient reaches the student alone.

    Args:
        student_features: Tensor of any shape, brought to the teacher's by a `Projector`
            if it has another.
        teacher_features: Tensor of the same shape.

    Returns:
        Scalar, at least 0, in float32 or the wider type of the features.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> hint_loss(torch.zeros(2, 3), torch.full((2, 3), 4.0))
        tensor(8.)
    """
    if student_features.shape != teacher_features.shape:
        raise ValueError(
            "student_features must have the shape of teacher_features, "
            f"{tuple(teacher_features.shape)}, got {tuple(student_features.shape)}; a "
            "Projector brings them there"
        )
    gap = widened(student_features) - widened(teacher_features.detach())
    return gap.square().mean() / 2


class Projector(nn.Module):
    """Linear map from the student's channels to the teacher's, the same at all places.

    Give its parameters to the optimizer beside the student's.

    Args:
        in_channels: Channels of the student's features, at least 1.
        out_channels: Channels of the teacher's, at least 1.
        dim: Dimension of the channels: 1 for vectors and feature maps, -1 for sequences
            of shape (batch, time, channels).
        size: Size of the teacher's feature map, (length,), (height, width) or (depth,
            height, width), to which the student's is averaged; None if it has it. Only
            with `dim` 1.
        generator: Draws the weights, uniform within 1 / sqrt(in_channels).

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        dim: int = 1,
        size: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if min(in_channels, out_channels) < 1:
            raise ValueError(
                "in_channels and out_channels must be at least 1, "
                f"got {in_channels} and {out_channels}"
            )
        if dim not in (1, -1):
            raise ValueError(f"dim must be 1 or -1, got {dim}")
        if size is not None and (dim != 1 or len(size) not in (1, 2, 3)):
            raise ValueError(
                "size must be None, or 1 to 3 numbers with dim 1, "
                f"got {tuple(size)} with dim {dim}"
            )
        super().__init__()
        self.dim = dim
        pools = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
        self.pool = None if size is None else pools[len(size) - 1](tuple(size))
        self.linear = nn.Linear(in_channels, out_channels)
        bound = 1 / math.sqrt(in_channels)
        for parameter in self.linear.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(self, features: Tensor) -> Tensor:
        """Return features with the teacher's channels, and its size if one was given.

        Args:
            features: Tensor of shape (batch, in_channels, ...), or with the channels
                last.
        """
        channels = features.shape[self.dim] if features.ndim > 1 else None
        if channels != self.linear.in_features:
            raise ValueError(
                f"features must have {self.linear.in_features} channels in dimension "
                f"{self.dim}, got shape {tuple(features.shape)}"
            )
        if self.pool is not None:
            features = self.pool(features)
        projected: Tensor = self.linear(features.movedim(self.dim, -1))
        return projected.movedim(-1, self.dim)


def attention_map(features: Tensor, *, p: float = 2.0) -> Tensor:
    """Return where the features are large: one vector of length 1 a sample.

    Args:
        features: Tensor of shape (batch, channels, ...), at least one dimension of
            places after the channels.
        p: Power of the absolute values, above 0; a large one looks at the strongest
            channel alone.

    Returns:
        Tensor of shape (batch, places), at least 0; all 0 where the features are.

    Raises:
        ValueError: If there are no places or `p` is out of range.

    Example:
        >>> features = torch.tensor([[[3.0, 0.0, 0.0], [0.0, -4.0, 0.0]]])
        >>> attention_map(features, p=1.0)
        tensor([[0.6000, 0.8000, 0.0000]])
    """
    if features.ndim < 3:
        raise ValueError(
            "features must have shape (batch, channels, places...), "
            f"got {tuple(features.shape)}"
        )
    check_positive("p", p)
    energy = widened(features).abs().pow(p).sum(1).flatten(1)
    return functional.normalize(energy, dim=1)


def attention_transfer_loss(
    student_features: Tensor, teacher_features: Tensor, *, p: float = 2.0
) -> Tensor:
    """Return the mean squared distance of the attention maps, from 0 to 2.

    The gradient reaches the student alone.

    Args:
        student_features: Tensor of shape (batch, channels, ...).
        teacher_features: Tensor with the same batch and places; its channels may be
            others.
        p: Power of `attention_map`.

    Raises:
        ValueError: If batch or places differ, or `p` is out of range.

    Example:
        >>> left, right = torch.tensor([[[5.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]])
        >>> attention_transfer_loss(left, right)
        tensor(2.)
    """
    shapes = [
        (shape[0], *shape[2:])
        for shape in (student_features.shape, teacher_features.shape)
        if len(shape) > 1
    ]
    if len(shapes) != 2 or shapes[0] != shapes[1]:
        raise ValueError(
            "student_features and teacher_features must have the same shape but for "
            f"the channels, got {tuple(student_features.shape)} and "
            f"{tuple(teacher_features.shape)}; pool the larger map"
        )
    gap = attention_map(student_features, p=p) - attention_map(
        teacher_features.detach(), p=p
    )
    return gap.square().sum(1).mean()
