"""Which layers can spare their weights: prune each alone, and look."""

import copy
from collections.abc import Callable, Sequence

from torch import nn

from mlopt_edu.pruning.masked import find_targets, layers_of
from mlopt_edu.pruning.methods import Magnitude
from mlopt_edu.pruning.prune import FilterFn, Method, is_prunable, prune_


def sensitivity(
    model: nn.Module,
    evaluate: Callable[[nn.Module], float],
    *,
    amounts: Sequence[float] = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95),
    method: Callable[[float], Method] = lambda amount: Magnitude(amount=amount),
    filter_fn: FilterFn = is_prunable,
) -> dict[str, tuple[float, ...]]:
    """Prune one layer at a time, on copies, and evaluate each.

    Layers whose curve falls early need their weights; where all curves are flat, the
    test is too easy to tell. Nothing is trained in between, so the curves are lower
    than what fine-tuning reaches.

    Args:
        model: Left as it is.
        evaluate: Called with a pruned copy, returns its score, such as accuracy.
        amounts: Shares to prune.
        method: Makes the method from an amount:
            `lambda amount: Snip(amount=amount, loss=loss)`.
        filter_fn: Called with the name of a layer in the model and the layer; chooses
            the layers to scan.

    Returns:
        For each layer's name the scores, one for each amount.

    Raises:
        ValueError: If no layer is chosen, or as `method` says.
    """
    targets = find_targets(model, filter_fn)
    owners = [{module for module, _ in target.owners} for target in targets]
    curves = {}
    for layer, module in layers_of(model):
        # Layers that share a weight are pruned together.
        together = set().union(*(group for group in owners if module in group))
        if not together:
            continue
        names = {name for name, other in layers_of(model) if other in together}
        scores = []
        for amount in amounts:
            pruned = copy.deepcopy(model)
            prune_(
                pruned,
                method(amount),
                filter_fn=lambda name, module, names=names: name in names,  # type: ignore[misc]
            )
            scores.append(evaluate(pruned))
        curves[layer] = tuple(scores)
    return curves
