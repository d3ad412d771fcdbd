"""Curves and intervals: what most measurements of the course look like."""

from collections.abc import Mapping
from itertools import cycle
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mlopt_edu.plots._figure import COLORS, DASHES, INK, STYLE, new_figure

Scale = Literal["linear", "log"]


@mpl.rc_context(STYLE)
def loss_curves(
    curves: Mapping[str, ArrayLike],
    *,
    ylabel: str = "loss",
    xlabel: str = "step",
    ceiling: float | None = None,
) -> Figure:
    """Draw losses against the step, on a logarithmic axis.

    Args:
        curves: Name to losses of shape (steps,); entries not above 0 are left out.
        ylabel: What is measured.
        xlabel: What is counted.
        ceiling: Largest value drawn, so that a diverging run leaves room for others.
    """
    figure = new_figure()
    (axes,) = figure.axes
    styles = zip(cycle(COLORS), cycle(DASHES), strict=False)
    for (name, values), (color, dash) in zip(curves.items(), styles, strict=False):
        losses = np.asarray(values, dtype=float)
        shown = np.isfinite(losses) & (losses > 0)
        if ceiling is not None:
            shown &= losses <= ceiling
        steps = np.arange(len(losses))[shown]
        axes.plot(steps, losses[shown], color=color, linestyle=dash, label=name)
    axes.set(yscale="log", xlabel=xlabel, ylabel=ylabel)
    axes.legend()
    return figure


@mpl.rc_context(STYLE)
def lines(
    x: ArrayLike,
    curves: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    ylabel: str,
    xscale: Scale = "linear",
    yscale: Scale = "linear",
    marker: str = "",
    ylim: tuple[float, float] | None = None,
) -> Figure:
    """Draw curves over `x`; where there are several runs, each thin, their mean thick.

    Args:
        x: Positions, shape (n,).
        curves: Name to values of shape (n,), or of shape (runs, n).
        xlabel: Name of `x`, with its unit.
        ylabel: Name of the values, with their unit.
        xscale: "linear" or "log".
        yscale: "linear" or "log".
        marker: Marker of matplotlib for each point, none by default.
        ylim: Lowest and highest value shown.
    """
    figure = new_figure()
    (axes,) = figure.axes
    styles = zip(cycle(COLORS), cycle(DASHES), strict=False)
    for (name, values), (color, dash) in zip(curves.items(), styles, strict=False):
        runs = np.atleast_2d(np.asarray(values, dtype=float))
        if len(runs) > 1:
            axes.plot(x, runs.T, color=color, linewidth=0.8, alpha=0.4)
        axes.plot(
            x, runs.mean(axis=0), color=color, linestyle=dash, marker=marker, label=name
        )
    axes.set(xscale=xscale, yscale=yscale, xlabel=xlabel, ylabel=ylabel)
    if ylim is not None:
        axes.set_ylim(*ylim)
    if len(curves) > 1:
        axes.legend()
    return figure


@mpl.rc_context(STYLE)
def intervals(
    groups: Mapping[str, ArrayLike],
    bounds: Mapping[str, tuple[float, float]],
    *,
    xlabel: str,
    mark: float | None = None,
) -> Figure:
    """Draw each run as a dot, and under it the mean of its group with its interval.

    Args:
        groups: Name to one value a run, shape (runs,).
        bounds: Name to the ends of the mean's interval, as `mean_interval` of
            `mlopt_edu.evaluation` computes them.
        xlabel: What was measured, with its unit.
        mark: A value to mark by a thin line, as 0 for differences.
    """
    figure = new_figure(height=0.9 + 0.45 * len(groups))
    (axes,) = figure.axes
    for row, (name, values) in enumerate(groups.items()):
        runs = np.asarray(values, dtype=float)
        color = COLORS[row % len(COLORS)]
        axes.plot(runs, np.full(len(runs), -row), ".", color=color, alpha=0.6, ms=7)
        axes.plot(bounds[name], [-row - 0.25] * 2, "|-", color=color, ms=8)
        axes.plot(runs.mean(), -row - 0.25, "D", color=color, ms=5)
    if mark is not None:
        axes.axvline(mark, color=INK, linewidth=1, linestyle=":")
    axes.set_yticks([-row - 0.12 for row in range(len(groups))], list(groups))
    axes.set_ylim(-len(groups) + 0.45, 0.35)
    axes.set_xlabel(xlabel)
    return figure
