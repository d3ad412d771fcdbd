"""Figures of lesson 01: spectra of Hessians, and walks on their surfaces."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mlopt_edu.plots._figure import COLORS, DASHES, INK, STYLE, new_figure


@mpl.rc_context(STYLE)
def spectra(eigenvalues: Mapping[str, ArrayLike]) -> Figure:
    """Draw the eigenvalues of several Hessians, each on a line of its own.

    Args:
        eigenvalues: Name to positive eigenvalues of shape (d,).
    """
    figure = new_figure(height=0.9 + 0.65 * len(eigenvalues))
    (axes,) = figure.axes
    for row, values in enumerate(eigenvalues.values()):
        positive = np.asarray(values, dtype=float)
        positive = positive[positive > 0]
        if not positive.size:
            raise ValueError("eigenvalues must hold a positive one in each row")
        color = COLORS[row % len(COLORS)]
        axes.plot(
            positive, np.full(len(positive), -row), "|", color=color, ms=18, mew=2
        )
        axes.annotate(
            f"condition number {positive.max() / positive.min():,.0f}",
            (positive.max(), -row),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
        )
    rows = range(len(eigenvalues))
    axes.set(xscale="log", xlabel="eigenvalue of the Hessian (curvature)")
    axes.set_yticks([-row for row in rows], list(eigenvalues))
    axes.set_ylim(-len(eigenvalues) + 0.4, 0.6)
    axes.margins(x=0.1)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * (high / low) ** 0.35)  # room for the annotations
    return figure


@mpl.rc_context(STYLE)
def measured_against_predicted(
    x: ArrayLike,
    measured: ArrayLike,
    predicted: ArrayLike,
    *,
    xlabel: str,
    ylabel: str,
    bound: float,
    bound_label: str,
) -> Figure:
    """Draw measurements as points over a predicted line, with one level marked.

    Args:
        x: Setting that was varied, shape (n,).
        measured: What was seen, shape (n,).
        predicted: What theory says, shape (n,).
        xlabel: Name of the setting.
        ylabel: Name of the quantity.
        bound: Level to mark by a thin horizontal line.
        bound_label: What the level means.
    """
    figure = new_figure()
    (axes,) = figure.axes
    axes.plot(x, predicted, color=COLORS[0], label="predicted from the eigenvalues")
    axes.plot(x, measured, "o", color=COLORS[1], ms=6, label="measured")
    axes.axhline(bound, color=INK, linewidth=1, linestyle=":")
    axes.annotate(
        bound_label,
        (0.01, bound),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4),
        textcoords="offset points",
    )
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend(loc="best")
    return figure


@mpl.rc_context(STYLE)
def paths(
    hessian: ArrayLike,
    routes: Mapping[str, ArrayLike],
    *,
    names: Sequence[str] = ("w[0]", "w[1]"),
    reach: float = 3.0,
) -> Figure:
    """Draw routes of descent over the contours of 1/2 w^T H w.

    Args:
        hessian: Matrix H of shape (2, 2).
        routes: Name to points of shape (steps + 1, 2).
        names: Names of the two axes.
        reach: The figure shows -reach to reach on both axes.
    """
    figure = new_figure(width=5.2, height=4.6)
    (axes,) = figure.axes
    grid = np.linspace(-reach, reach, 121)
    points = np.stack(np.meshgrid(grid, grid), axis=-1)
    heights = 0.5 * np.einsum("abi,ij,abj->ab", points, np.asarray(hessian), points)
    levels = heights.max() * np.linspace(0.03, 1, 9) ** 2
    axes.contour(grid, grid, heights, levels=levels, colors="#888888", linewidths=0.8)
    styles = zip(cycle(COLORS), cycle("o^sD"), cycle(DASHES), strict=False)
    for (name, route), (color, marker, dash) in zip(
        routes.items(), styles, strict=False
    ):
        x, y = np.asarray(route, dtype=float).T
        axes.plot(
            x, y, color=color, marker=marker, linestyle=dash, ms=4, lw=1.5, label=name
        )
    axes.plot(0, 0, "*", color=INK, ms=12, label="minimum")
    axes.set(xlabel=names[0], ylabel=names[1], aspect="equal")
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
