r"""Mixed precision: the bits of each layer, within a budget, for the least loss.

    minimize  Σ cost(layer, bits of layer)   with   Σ weights(layer) · bits ≤ budget

The cost is how much the loss rises when this layer alone is rounded, as
`bit_sensitivity` says. That costs add up is an assumption, to be checked on the whole
model; the budget is kept exactly, and the minimum is the minimum.

Paper: the same problem in Dong et al., "HAWQ-V2", 2019, arXiv:1911.03852; the bound:
Everett, "Generalized Lagrange Multiplier Method for Solving Problems of Optimum
Allocation of Resources", 1963. Differs from the paper: the best assignment for one
budget instead of a Pareto front.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from mlopt_edu.quantization.methods import Layer, Quantization

Array = np.ndarray[Any, Any]


def allocate_bits(
    cost: Mapping[str, Mapping[int, float]],
    sizes: Mapping[str, int],
    *,
    budget: float,
) -> dict[str, int]:
    """Choose the bits of each layer with the least sum of costs within a budget.

    Exact, by dynamic programming: layer after layer, of all partial choices only those
    stay that no other one beats in both cost and bits, and whose Lagrange bound is not
    above a choice known beforehand.

    Args:
        cost: For each layer and each width the rise of the loss.
        sizes: How many weights each layer has.
        budget: Bits of all weights together: `3.5 * sum(sizes.values())` for 3.5 on
            average.

    Returns:
        The width for each layer; of several choices of least cost one of fewest bits.

    Raises:
        ValueError: If the layers differ, a cost is not finite, or the budget does not
            even suffice for the smallest widths.

    Example:
        >>> cost = {"a": {2: 9.0, 4: 1.0}, "b": {2: 3.0, 4: 1.0}}
        >>> allocate_bits(cost, {"a": 10, "b": 10}, budget=60)
        {'a': 4, 'b': 2}
    """
    if not cost or cost.keys() != sizes.keys():
        raise ValueError(
            "cost and sizes must have the same layers, at least 1, "
            f"got {sorted(cost)} and {sorted(sizes)}"
        )
    for name, costs in cost.items():
        if not costs or not all(map(math.isfinite, costs.values())):
            raise ValueError(
                f"cost must hold finite numbers for every layer, got {dict(costs)} for "
                f"{name!r}"
            )
    lowest = [sizes[name] * min(costs) for name, costs in cost.items()]
    if not sum(lowest) <= budget:
        raise ValueError(
            f"budget must be at least {sum(lowest)} bits, which the smallest widths "
            f"take, got {budget}"
        )
    widths = [np.array(list(costs)) for costs in cost.values()]
    rises = [np.array(list(costs.values())) for costs in cost.values()]
    bits = [size * w for size, w in zip(map(sizes.get, cost), widths, strict=True)]
    budget = min(budget, float(sum(b.max() for b in bits)))  # it may be infinite
    price, known = _price_of_a_bit(rises, bits, budget)
    # Nothing costs less than with a price on bits and a refund of the budget's.
    bounds = [(c + price * b).min() for c, b in zip(rises, bits, strict=True)]
    slack = 1e-9 * (sum(np.abs(c).max() for c in rises) + price * budget)
    total, rise = np.zeros(1, dtype=np.int64), np.zeros(1)
    history = []
    for place, (costs_here, bits_here) in enumerate(zip(rises, bits, strict=True)):
        total = (total[:, None] + bits_here).ravel()
        rise = (rise[:, None] + costs_here).ravel()
        bound = rise + price * (total - budget) + sum(bounds[place + 1 :])
        is_open = (total <= budget - sum(lowest[place + 1 :])) & (
            bound <= known + slack
        )
        order = np.flatnonzero(is_open)
        order = order[np.lexsort((rise[order], total[order]))]
        best_before = np.minimum.accumulate(rise[order])[:-1]
        kept = order[np.append(True, rise[order[1:]] < best_before)]
        total, rise = total[kept], rise[kept]
        history.append(kept)
    at, chosen = len(total) - 1, []  # the last one is the cheapest
    for kept, here in zip(reversed(history), reversed(widths), strict=True):
        at, choice = divmod(int(kept[at]), len(here))
        chosen.append(int(here[choice]))
    return dict(zip(cost, reversed(chosen), strict=True))


def _price_of_a_bit(
    rises: Sequence[Array], bits: Sequence[Array], budget: float
) -> tuple[float, float]:
    """Return a price at which layers that buy their best stay within the budget.

    And the least cost seen on the way, which the optimum cannot exceed.
    """

    def buy(price: float) -> tuple[float, float]:
        picks = [
            np.lexsort((b, c + price * b))[0] for c, b in zip(rises, bits, strict=True)
        ]
        chosen = list(zip(rises, bits, picks, strict=True))
        return sum(c[i] for c, _, i in chosen), sum(b[i] for _, b, i in chosen)

    low, high = 0.0, 1.0
    if buy(low)[1] <= budget:
        return low, buy(low)[0]
    while buy(high)[1] > budget:
        low, high = high, 2 * high
    known = buy(high)[0]
    for _ in range(60):
        middle = (low + high) / 2
        rise, total = buy(middle)
        if total <= budget:
            high, known = middle, min(known, rise)
        else:
            low = middle
    return high, known


@dataclass(frozen=True)
class Mixed:
    """A method for each layer, by name; the others stay as they are.

        bits = allocate_bits(cost, sizes, budget=budget)
        methods = {name: WeightOnly(bits=width) for name, width in bits.items()}
        quantize_(model, Mixed(methods))

    Each method sees the float model. What several names share as one object is called
    once, for all of them.

    Args:
        methods: The method of each layer.
    """

    methods: Mapping[str, Quantization]

    def replacements(
        self, model: nn.Module, layers: Mapping[str, Layer]
    ) -> dict[str, nn.Module]:
        """Return what the methods return.

        Raises:
            ValueError: If a name is none of the layers.
        """
        unknown = self.methods.keys() - layers.keys()
        if unknown:
            raise ValueError(
                f"methods must name layers that filter_fn chooses, got "
                f"{sorted(unknown)}"
            )
        new: dict[str, nn.Module] = {}
        by_method = {id(method): method for method in self.methods.values()}
        for method in by_method.values():
            mine = {
                name: layers[name]
                for name, other in self.methods.items()
                if other is method
            }
            new |= method.replacements(model, mine)
        return new
