r"""Label smoothing: ask for a little less than certainty.

    target_k = (1 - smoothing) * [k = label] + smoothing / n_classes
    loss     = - sum_k target_k * log p_k

Cross-entropy with hard labels is lowest at infinite logits, and pulls for ever. With
smoothed ones its minimum is finite: log((1 - s) n_classes / s + 1) between the right
logit and the others, where the loss is the entropy of the target.

Paper: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
2015, arXiv:1512.00567, section 7. Differs from the paper: nothing; the prior over
classes is uniform, as in its experiments.
"""

import torch
from torch import Tensor
from torch.nn import functional


def smooth_labels(labels: Tensor, n_classes: int, *, smoothing: float) -> Tensor:
    """Turn labels into probabilities.

    Args:
        labels: int64 tensor of any shape with entries in [0, n_classes).
        n_classes: Number of classes, at least 1.
        smoothing: Share of the probability spread over all classes, in [0, 1].

    Returns:
        Tensor of shape (*labels.shape, n_classes) in the default dtype; the last
        dimension sums to 1.

    Raises:
        ValueError: If `smoothing` is out of range.

    Example:
        >>> smooth_labels(torch.tensor([2]), 4, smoothing=0.25)
        tensor([[0.0625, 0.0625, 0.8125, 0.0625]])
    """
    _check(smoothing)
    hard = functional.one_hot(labels, n_classes).to(torch.get_default_dtype())
    return (1 - smoothing) * hard + smoothing / n_classes


def label_smoothing_loss(
    logits: Tensor, labels: Tensor, *, smoothing: float = 0.1
) -> Tensor:
    """Return the mean cross-entropy with smoothed labels.

    Args:
        logits: Tensor of shape (..., n_classes).
        labels: int64 tensor of shape (...), entries in [0, n_classes).
        smoothing: Share of the probability spread over all classes, in [0, 1].

    Returns:
        Scalar, in nats; with smoothing 0 the usual cross-entropy.

    Raises:
        ValueError: If `smoothing` is out of range or the shapes do not fit.

    Example:
        >>> label_smoothing_loss(torch.zeros(3, 4), torch.tensor([0, 1, 2]))
        tensor(1.3863)
    """
    _check(smoothing)
    if logits.shape[:-1] != labels.shape:
        raise ValueError(
            "labels must have the shape of logits without its last dimension, got "
            f"{tuple(labels.shape)} for logits {tuple(logits.shape)}"
        )
    log_probs = logits.log_softmax(-1)
    # The smoothed target is never formed: its sum splits into two terms.
    hard = -log_probs.gather(-1, labels.unsqueeze(-1)).mean()
    if smoothing == 0:  # where a logit of -inf is allowed
        return hard
    return (1 - smoothing) * hard - smoothing * log_probs.mean()


def _check(smoothing: float) -> None:
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing must be a share in [0, 1], got {smoothing}")
