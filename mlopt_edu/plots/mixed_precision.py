"""Figure of lesson 16: how large the numbers of a tensor are, by powers of two."""

from collections.abc import Mapping
from itertools import cycle

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mlopt_edu.plots._figure import COLORS, DASHES, INK, STYLE, new_figure


@mpl.rc_context(STYLE)
def octaves(
    groups: Mapping[str, ArrayLike],
    *,
    marks: Mapping[str, float],
    xlabel: str = "absolute value",
) -> Figure:
    """Draw which share of the nonzero values lies in each octave, 2^k to 2^(k + 1).

    Args:
        groups: Name to finite values of any shape; zeros are left out.
        marks: Name to a value above 0 that a vertical line marks.
        xlabel: What the values are.

    Raises:
        ValueError: If a group has no nonzero value.
    """
    figure = new_figure()
    (axes,) = figure.axes
    styles = zip(cycle(COLORS), cycle(DASHES), strict=False)
    highest = 0.0
    for (name, values), (color, dash) in zip(groups.items(), styles, strict=False):
        sizes = np.abs(np.asarray(values, dtype=float)).ravel()
        if not sizes.any():
            raise ValueError(f"groups must hold nonzero values, got none in {name!r}")
        exponents = np.floor(np.log2(sizes[sizes > 0]))
        edges = np.arange(exponents.min(), exponents.max() + 2)
        counts, _ = np.histogram(exponents, edges)
        percent = 100 * counts / counts.sum()
        highest = max(highest, percent.max())
        axes.stairs(percent, 2**edges, color=color, linestyle=dash, lw=1.8, label=name)
    for name, value in marks.items():
        axes.axvline(value, color=INK, linewidth=1, linestyle=":")
        axes.text(value, 1.19 * highest, f" {name}", va="top")
    axes.set_xscale("log", base=2)
    axes.set(xlabel=xlabel, ylabel="% of the values", ylim=(0, 1.22 * highest))
    figure.legend(loc="outside upper center", ncols=min(len(groups), 3))
    return figure
