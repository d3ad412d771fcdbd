"""Unstructured pruning, one frozen object a method, each with a `prune_`.

Every method scores the weights, decides which stay and hands the masks to the model.
What is pruned already has the lowest score of all, so an amount counts from the
beginning, not from what is left: 0.5 and then 0.8 leave a fifth.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from mlopt_edu.pruning.from_data import gradients, input_norms
from mlopt_edu.pruning.masked import Target, find_targets, mask_
from mlopt_edu.pruning.masks import (
    check_amount,
    check_n_m,
    keep_largest,
    keep_largest_global,
    keep_largest_per_row,
    n_m_mask,
)
from mlopt_edu.pruning.prune import FilterFn, LossFn
from mlopt_edu.pruning.scores import (
    magnitude_scores,
    snip_scores,
    taylor_scores,
    wanda_scores,
)


@dataclass(frozen=True, kw_only=True)
class Magnitude:
    """The smallest weights go.

    Attributes:
        amount: What shall be zero afterwards: share in [0, 1] as a float, or count.
        per_layer: The same amount from each weight tensor; otherwise the smallest of
            all together, which spares layers that need their weights.
    """

    amount: float | int
    per_layer: bool = False

    def __post_init__(self) -> None:
        check_amount(self.amount)

    def prune_(self, model: nn.Module, filter_fn: FilterFn) -> None:
        """Mask the chosen layers; see `prune_`."""
        targets = find_targets(model, filter_fn)
        scores = [magnitude_scores(target.weight) for target in targets]
        _mask_lowest_(targets, scores, self.amount, self.per_layer)


@dataclass(frozen=True, kw_only=True)
class Random:
    """Any weights go: the baseline that a criterion must beat.

    Attributes:
        amount: What shall be zero afterwards: share in [0, 1] as a float, or count.
        per_layer: The same amount from each weight tensor.
        generator: Draws them; None for torch's global one.
    """

    amount: float | int
    per_layer: bool = False
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        check_amount(self.amount)

    def prune_(self, model: nn.Module, filter_fn: FilterFn) -> None:
        """Mask the chosen layers; see `prune_`."""
        targets = find_targets(model, filter_fn)
        scores = [
            torch.rand(
                target.weight.shape,
                generator=self.generator,
                device=target.weight.device,
            )
            for target in targets
        ]
        _mask_lowest_(targets, scores, self.amount, self.per_layer)


@dataclass(frozen=True, kw_only=True)
class Snip:
    """Weights go whose removal changes the loss least, before training or after.

    Gradients are taken as the model is; its gradients, buffers and modes are left as
    they were.

    Attributes:
        amount: What shall be zero afterwards: share in [0, 1] as a float, or count.
        loss: Called with the model, returns a scalar:
            `lambda model: F.cross_entropy(model(x), y)`.
        per_layer: The same amount from each weight tensor.
    """

    amount: float | int
    loss: LossFn
    per_layer: bool = False

    def __post_init__(self) -> None:
        check_amount(self.amount)

    def prune_(self, model: nn.Module, filter_fn: FilterFn) -> None:
        """Mask the chosen layers; see `prune_`."""
        targets = find_targets(model, filter_fn)
        grads = gradients(model, targets, self.loss, scalar=True)
        scores = [
            snip_scores(target.weight, grad[0])
            for target, grad in zip(targets, grads, strict=True)
        ]
        _mask_lowest_(targets, scores, self.amount, self.per_layer)


@dataclass(frozen=True, kw_only=True)
class Taylor:
    """As SNIP, with the changes of several losses squared and added.

    At a minimum the gradient of the mean loss vanishes, and SNIP with it; gradients of
    single batches or examples do not.

    Attributes:
        amount: What shall be zero afterwards: share in [0, 1] as a float, or count.
        loss: Called with the model, returns losses of shape (k,), one for each batch
            or example; each costs a backward pass.
        per_layer: The same amount from each weight tensor.
    """

    amount: float | int
    loss: LossFn
    per_layer: bool = False

    def __post_init__(self) -> None:
        check_amount(self.amount)

    def prune_(self, model: nn.Module, filter_fn: FilterFn) -> None:
        """Mask the chosen layers; see `prune_`."""
        targets = find_targets(model, filter_fn)
        grads = gradients(model, targets, self.loss)
        scores = [
            taylor_scores(target.weight, grad)
            for target, grad in zip(targets, grads, strict=True)
        ]
        _mask_lowest_(targets, scores, self.amount, self.per_layer)


@dataclass(frozen=True, kw_only=True)
class Wanda:
    """From each output, weights go that are small or see small inputs.

    Input norms are those of the model as it is, all layers at once; the paper measures
    block by block, on inputs that come from pruned blocks.

    Attributes:
        amount: What shall be zero in each row: share in [0, 1] as a float, or count.
        inputs: Calibration batches: each a tensor or a tuple of the model's arguments.
    """

    amount: float | int
    inputs: Iterable[Tensor | tuple[Tensor, ...]]

    def __post_init__(self) -> None:
        check_amount(self.amount)

    def prune_(self, model: nn.Module, filter_fn: FilterFn) -> None:
        """Mask the chosen linear and convolution layers; see `prune_`."""
        targets = find_targets(model, filter_fn)
        scores = _wanda(model, targets, self.inputs)
        masks = [
            keep_largest_per_row(_below_all(target, score), self.amount)
            for target, score in zip(targets, scores, strict=True)
        ]
        mask_(targets, masks)


@dataclass(frozen=True, kw_only=True)
class NM:
    """Of every m neighbouring inputs, n stay: 2:4 by default.

    Attributes:
        n: How many stay, in [0, m].
        m: Size of a group, at least 1; must divide each chosen layer's inputs.
        inputs: Calibration batches as for `Wanda`, whose scores are then taken; None
            for magnitudes.
    """

    n: int = 2
    m: int = 4
    inputs: Iterable[Tensor | tuple[Tensor, ...]] | None = None

    def __post_init__(self) -> None:
        check_n_m(self.n, self.m)

    def prune_(self, model: nn.Module, filter_fn: FilterFn) -> None:
        """Mask the chosen layers; see `prune_`."""
        targets = find_targets(model, filter_fn)
        dims = [_input_dim(target) for target in targets]
        for target, dim in zip(targets, dims, strict=True):
            if target.weight.shape[dim] % self.m:
                raise ValueError(
                    f"{target.name} must have a multiple of m = {self.m} inputs, got "
                    f"{target.weight.shape[dim]}; let filter_fn leave it out"
                )
        if self.inputs is None:
            scores = [magnitude_scores(target.weight) for target in targets]
        else:
            scores = _wanda(model, targets, self.inputs)
        masks = [
            n_m_mask(_below_all(target, score), n=self.n, m=self.m, dim=dim)
            for target, score, dim in zip(targets, scores, dims, strict=True)
        ]
        mask_(targets, masks)


def _mask_lowest_(
    targets: Sequence[Target],
    scores: Sequence[Tensor],
    amount: float | int,
    per_layer: bool,
) -> None:
    scores = [
        _below_all(target, score) for target, score in zip(targets, scores, strict=True)
    ]
    masks = (
        [keep_largest(score, amount) for score in scores]
        if per_layer
        else keep_largest_global(scores, amount)
    )
    mask_(targets, masks)


def _below_all(target: Target, scores: Tensor) -> Tensor:
    """Put what is pruned already below every other score."""
    kept = target.kept
    return scores if kept is None else scores.masked_fill(~kept, -torch.inf)


def _input_dim(target: Target) -> int:
    """Return the dimension of a weight that counts the inputs."""
    return 0 if isinstance(target.owners[0][0], _ConvTransposeNd) else 1


def _wanda(
    model: nn.Module,
    targets: Sequence[Target],
    inputs: Iterable[Tensor | tuple[Tensor, ...]],
) -> list[Tensor]:
    for target in targets:
        for module, _ in target.owners:
            if not isinstance(module, nn.Linear | _ConvNd) or isinstance(
                module, _ConvTransposeNd
            ):
                raise ValueError(
                    f"{target.name} must belong to a linear or convolution layer for "
                    f"Wanda's scores, got {type(module).__name__}; let filter_fn leave "
                    "it out"
                )
    norms = input_norms(model, targets, inputs)
    return [
        wanda_scores(target.weight, norm)
        for target, norm in zip(targets, norms, strict=True)
    ]
