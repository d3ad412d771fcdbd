r"""Learning-rate range test: raise the lr from tiny to huge and watch the loss.

    lr_i = lowest * (highest / lowest)^(i / (steps - 1))

At first the loss hardly moves, then it falls, then it grows: the lr is too large.
The rule here suggests a tenth of the lr at which the smoothed loss is lowest, because
there the next few updates already undo what the earlier ones won.

Paper: Smith, "Cyclical Learning Rates for Training Neural Networks", 2015,
arXiv:1506.01186, section 3.3.
Differs from the paper: the lr grows geometrically and not in a line; the suggestion is
a rule and not a look at a plot of the accuracy.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)
Batch = TypeVar("Batch")


@dataclass(frozen=True)
class LRRange:
    """What a range test saw.

    Attributes:
        lrs: Learning rate of each update, float64 array of shape (n,); with several
            parameter groups, that of the group with the largest.
        losses: Loss of each batch before the update with that lr, same shape.
        smoothed: Mean of each loss and its neighbours, same shape.
        suggestion: A tenth of the lr at which `smoothed` is lowest; None if that is
            the first one or `highest`, and the range must be moved.
    """

    lrs: NDArray[np.float64]
    losses: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    suggestion: float | None


def lr_range_test(
    model: Model,
    optimizer: torch.optim.Optimizer,
    *,
    loss_of_batch: Callable[[Model, Batch], Tensor],
    batches: Iterable[Batch],
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    window: int = 5,
    diverged: float = 4.0,
) -> LRRange:
    """Train a copy of the model while the lr grows, and return the losses.

    The model, the optimizer and torch's random numbers are left as they were; what
    `batches` draws from elsewhere is not put back. The test ends early when the mean of
    the last `window` losses is above `diverged` times the lowest such mean, or a loss
    is not finite; that loss is left out.

    Args:
        model: Model in the mode (train or eval) in which it is to be tested.
        optimizer: Optimizer over the model's parameters; the ratios between the lrs of
            its groups are kept.
        loss_of_batch: Gives the loss of a model on a batch, a tensor of one number
            that is never negative.
        batches: Batches; gone through again when there are fewer than `steps`.
        lowest: First lr, above 0.
        highest: Last lr, above `lowest`.
        steps: Number of updates, at least 2.
        window: Losses in one mean, an odd number of at least 1.
        diverged: Growth of the smoothed loss that ends the test, above 1.

    Raises:
        ValueError: If a number is out of its range, every lr of the optimizer is 0,
            or `batches` is, or becomes, empty.
    """
    if not 0 < lowest < highest < math.inf:
        raise ValueError(
            "lowest and highest must satisfy 0 < lowest < highest, "
            f"got {lowest} and {highest}"
        )
    if steps < 2:
        raise ValueError(f"steps must be at least 2, got {steps}")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window must be an odd number of at least 1, got {window}")
    if not diverged > 1:
        raise ValueError(f"diverged must be above 1, got {diverged}")
    largest = max(float(group["lr"]) for group in optimizer.param_groups)
    if largest == 0:
        raise ValueError(
            "optimizer must have an lr above 0 in some group, got 0 in all"
        )

    model, optimizer = _copies(model, optimizer)
    shares = [float(group["lr"]) / largest for group in optimizer.param_groups]
    lrs = np.geomspace(lowest, highest, steps)
    losses: list[float] = []
    best = math.inf
    with torch.random.fork_rng(_gpus(model)):
        for lr, batch in zip(lrs, _endless(batches), strict=False):
            for group, share in zip(optimizer.param_groups, shares, strict=True):
                group["lr"] = float(lr) * share
            loss = _update(model, optimizer, loss_of_batch, batch)
            if not math.isfinite(loss):
                break
            losses.append(loss)
            recent = float(np.mean(losses[-window:]))
            best = min(best, recent) if len(losses) >= window else best
            if recent > diverged * best:
                break

    smoothed = _smooth(np.array(losses), window)
    lrs = lrs[: len(losses)]
    place = int(np.argmin(smoothed)) if losses else 0
    turned = 0 < place < steps - 1
    return LRRange(
        lrs, np.array(losses), smoothed, float(lrs[place]) / 10 if turned else None
    )


def _copies(
    model: Model, optimizer: torch.optim.Optimizer
) -> tuple[Model, torch.optim.Optimizer]:
    # One memory for both, so that the optimizer's copy holds the copy's parameters.
    copied: dict[int, object] = {}
    model = copy.deepcopy(model, copied)
    twin = copy.deepcopy(optimizer, copied)
    # torch copies groups and state alone; LBFGS, for one, needs its other attributes.
    # An LR scheduler leaves a `step` that belongs to the original.
    for name, value in vars(optimizer).items():
        if name != "step" and name not in vars(twin):
            setattr(twin, name, copy.deepcopy(value, copied))
    return model, twin


def _update(
    model: Model,
    optimizer: torch.optim.Optimizer,
    loss_of_batch: Callable[[Model, Batch], Tensor],
    batch: Batch,
) -> float:
    first: list[float] = []

    # A closure, because some optimizers need the loss more than once a step.
    def closure() -> float:
        optimizer.zero_grad()
        loss = loss_of_batch(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        first.append(loss.item())
        return first[-1]

    optimizer.step(closure)
    return first[0]


def _smooth(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return centred means over `window` values, over fewer at the ends."""
    half = window // 2
    means = [values[max(0, i - half) : i + half + 1].mean() for i in range(len(values))]
    return np.array(means)


def _endless(batches: Iterable[Batch]) -> Iterator[Batch]:
    while True:
        count = 0
        for batch in batches:
            count += 1
            yield batch
        if count == 0:
            raise ValueError(
                "batches must give a batch each time it is gone through, got none; "
                "pass a list or a DataLoader instead of an iterator that ends"
            )


def _gpus(model: nn.Module) -> list[int]:
    devices = {parameter.device for parameter in model.parameters()}
    return [d.index for d in devices if d.type == "cuda" and d.index is not None]
