"""From scores to masks: which weights stay (True) and which go (False).

`amount` is what goes, as in `torch.nn.utils.prune`: a share in [0, 1] as a float, or a
count as an int. The counts are exact. Where scores are equal the earlier weight, in
row-major order, goes first: the same scores give the same mask everywhere, where
`topk` may pick any of them. A boolean mask keeps the tensor's shape; `weight[mask]`
does not, it flattens.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor


def check_amount(amount: float | int) -> None:
    """Raise if `amount` is neither a share in [0, 1] nor a count.

    Raises:
        TypeError: If it is not an int or a float.
        ValueError: If it is out of range.
    """
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise TypeError(
            "amount must be a float (share) or an int (count), "
            f"got {type(amount).__name__}"
        )
    if not (0 <= amount <= 1 if isinstance(amount, float) else amount >= 0):
        raise ValueError(
            "amount must be a share in [0, 1] as a float or a count of at least 0 as "
            f"an int, got {amount}"
        )


def count_of(amount: float | int, size: int) -> int:
    """Return how many of `size` weights an amount is, a share rounded as by `round`.

    Raises:
        TypeError: If `amount` is not an int or a float.
        ValueError: If it is out of range, or a count above `size`.

    Example:
        >>> count_of(0.25, 10), count_of(3, 10)
        (2, 3)
    """
    check_amount(amount)
    if isinstance(amount, float):
        return round(amount * size)
    if amount > size:
        raise ValueError(f"amount must be at most the {size} weights, got {amount}")
    return amount


def keep_largest(scores: Tensor, amount: float | int) -> Tensor:
    """Return the mask of what stays when the `amount` lowest scores go.

    Args:
        scores: Any shape, real, no NaN.
        amount: What goes: share in [0, 1] as a float, or count as an int.

    Returns:
        Boolean tensor of the shape of `scores` with exactly that many False.

    Raises:
        TypeError: If `amount` is not an int or a float.
        ValueError: If `amount` is out of range or a score is NaN.

    Example:
        >>> keep_largest(torch.tensor([3.0, 1.0, 2.0, 1.0]), 0.5)
        tensor([ True, False,  True, False])
    """
    count = count_of(amount, scores.numel())
    flat = _sortable(scores)
    if count in (0, flat.numel()):
        return torch.full_like(scores, count == 0, dtype=torch.bool)
    # Selecting the count-th score is linear in time, where sorting is not.
    last = flat.kthvalue(count).values
    lower, equal = flat < last, flat == last
    first_equal = equal & (equal.cumsum(0) <= count - lower.sum())
    return ~(lower | first_equal).reshape(scores.shape)


def keep_largest_global(
    scores: Sequence[Tensor], amount: float | int
) -> tuple[Tensor, ...]:
    """Return one mask a tensor; the lowest scores of all tensors together go.

    Layers are compared with each other: one whose scores are small may lose nearly all
    its weights, and none is safe from losing every one.

    Args:
        scores: Tensors of any shapes; earlier ones go first where scores are equal.
        amount: What goes of all together: share as a float, or count as an int.

    Raises:
        TypeError: If `amount` is not an int or a float.
        ValueError: If `amount` is out of range or a score is NaN.

    Example:
        >>> keep_largest_global([torch.tensor([1.0, 5.0]), torch.tensor([2.0])], 2)
        (tensor([False,  True]), tensor([False]))
    """
    count_of(amount, sum(tensor.numel() for tensor in scores))
    if not scores:
        return ()
    together = keep_largest(torch.cat([tensor.flatten() for tensor in scores]), amount)
    sizes = [tensor.numel() for tensor in scores]
    ends = list(accumulate(sizes))
    return tuple(
        together[end - size : end].reshape(tensor.shape)
        for tensor, size, end in zip(scores, sizes, ends, strict=True)
    )


def keep_largest_per_row(scores: Tensor, amount: float | int) -> Tensor:
    """Return the mask that takes the same number away from each row.

    Args:
        scores: At least one dimension; a row is what one index of the first dimension
            holds: the weights into one output.
        amount: What goes of each row: share as a float, or count as an int.

    Raises:
        TypeError: If `amount` is not an int or a float.
        ValueError: If `amount` is out of range or a score is NaN.

    Example:
        >>> keep_largest_per_row(torch.tensor([[1.0, 2.0], [9.0, 8.0]]), 0.5)
        tensor([[False,  True],
                [ True, False]])
    """
    if scores.ndim == 0:
        raise ValueError("scores must have at least 1 dimension, got a scalar")
    size = math.prod(scores.shape[1:])
    count = count_of(amount, size)
    rows = _sortable(scores).reshape(scores.shape[0], size)
    order = rows.argsort(dim=1, stable=True)
    mask = torch.ones_like(rows, dtype=torch.bool)
    return mask.scatter_(1, order[:, :count], False).reshape(scores.shape)


def n_m_mask(scores: Tensor, *, n: int = 2, m: int = 4, dim: int = 1) -> Tensor:
    """Return the mask that keeps the n largest of every m neighbours: N:M sparsity.

    2:4 is the pattern that sparse tensor cores multiply at up to twice the speed
    (Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021, arXiv:2104.08378).

    Args:
        scores: Shape (out_features, in_features) or (out_channels, in_channels, ...).
        n: How many stay, in [0, m].
        m: Size of a group, at least 1.
        dim: Groups lie along this dimension, the inputs in torch's layers; its size
            must be a multiple of m.

    Raises:
        ValueError: If an argument is out of its range, or a score is NaN.

    Example:
        >>> n_m_mask(torch.tensor([[1.0, 4.0, 3.0, 2.0]]))
        tensor([[False,  True,  True, False]])
    """
    check_n_m(n, m)
    if not -scores.ndim <= dim < scores.ndim:
        raise ValueError(
            f"dim must be a dimension of shape {tuple(scores.shape)}, got {dim}"
        )
    size = scores.shape[dim]
    if size % m:
        raise ValueError(
            f"scores must have a multiple of m = {m} entries in dimension {dim}, "
            f"got {size}"
        )
    last = scores.movedim(dim, -1)
    groups = last.reshape(-1, m)
    mask = keep_largest_per_row(groups, m - n).reshape(last.shape)
    return mask.movedim(-1, dim).contiguous()


def check_n_m(n: int, m: int) -> None:
    """Raise ValueError unless 0 <= n <= m and m >= 1."""
    if not (m >= 1 and 0 <= n <= m):
        raise ValueError(f"n and m must satisfy 0 <= n <= m, m >= 1, got {n} and {m}")


def _sortable(scores: Tensor) -> Tensor:
    """Return the scores as a flat tensor of a type that can be sorted."""
    if scores.is_complex():
        raise ValueError(f"scores must be real, got {scores.dtype}; take their abs()")
    flat = scores.detach().flatten()
    if flat.dtype is torch.bool:
        return flat.to(torch.uint8)
    if flat.is_floating_point() and flat.isnan().any():
        raise ValueError(
            f"scores must hold no NaN, got {int(flat.isnan().sum())}; did the loss "
            "overflow?"
        )
    return flat
