"""Figures of lesson 05: signals by layer, and what blocks cost."""

from collections.abc import Mapping
from itertools import cycle

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mlopt_edu.plots._figure import COLORS, DASHES, INK, STYLE, new_figure


@mpl.rc_context(STYLE)
def signals(
    forward: Mapping[str, ArrayLike],
    backward: Mapping[str, ArrayLike],
    *,
    forward_label: str = "std of the activations",
    backward_label: str = "std of the gradients",
) -> Figure:
    """Draw what each layer gives out and gets back, side by side on logarithmic axes.

    Args:
        forward: Name to values above 0 by layer, shape (layers,) or (runs, layers);
            runs are drawn thin, their geometric mean thick.
        backward: The same for gradients, with the same names.
        forward_label: What `forward` holds.
        backward_label: What `backward` holds.

    Raises:
        ValueError: If the two have different names.
    """
    if list(forward) != list(backward):
        raise ValueError(
            "forward and backward must have the same names in the same order, "
            f"got {list(forward)} and {list(backward)}"
        )
    figure = new_figure(2, width=7.4, height=3.4)
    left, right = figure.axes
    for axes, curves in ((left, forward), (right, backward)):
        styles = zip(cycle(COLORS), cycle(DASHES), strict=False)
        for (name, values), (color, dash) in zip(curves.items(), styles, strict=False):
            runs = np.atleast_2d(np.asarray(values, dtype=float))
            layers = np.arange(1, runs.shape[1] + 1)
            if len(runs) > 1:
                axes.plot(layers, runs.T, color=color, linewidth=0.7, alpha=0.4)
            middle = np.exp(np.log(runs).mean(axis=0))
            axes.plot(layers, middle, color=color, linestyle=dash, label=name)
    left.set(yscale="log", xlabel="layer", ylabel=forward_label)
    right.set(yscale="log", xlabel="layer", ylabel=backward_label)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=min(len(labels), 3)
    )
    return figure


@mpl.rc_context(STYLE)
def savings(
    rows: Mapping[str, Mapping[str, float]],
    spreads: Mapping[str, tuple[float, float]],
    *,
    xlabel: str,
) -> Figure:
    """Draw how many times smaller each measure of a thing has become, a row a thing.

    Args:
        rows: Name of the thing to its factors by measure, each above 0; all rows have
            the same measures.
        spreads: Name of the thing to the two ends of its last measure's spread.
        xlabel: What the factors say.
    """
    figure = new_figure(height=1.3 + 0.55 * len(rows))
    (axes,) = figure.axes
    measures = list(next(iter(rows.values())))
    styles = list(zip(COLORS, "osD^", strict=False))[: len(measures)]
    for row, (name, factors) in enumerate(rows.items()):
        last = len(measures) - 1
        for k, (measure, (color, marker)) in enumerate(
            zip(measures, styles, strict=True)
        ):
            height = -row + 0.18 * (last / 2 - k)
            label = measure if row == 0 else None
            axes.plot(factors[measure], height, marker, color=color, label=label, ms=7)
            if k == last:
                axes.plot(spreads[name], [height] * 2, "|-", color=color, ms=8)
    axes.axvline(1, color=INK, linewidth=1, linestyle=":")
    axes.set(xlabel=xlabel, xlim=(0, None), ylim=(-len(rows) + 0.45, 0.55))
    axes.set_yticks([-row for row in range(len(rows))], list(rows))
    figure.legend(loc="outside upper center", ncols=len(measures))
    return figure
