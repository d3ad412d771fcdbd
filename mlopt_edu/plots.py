"""Figures of the lessons: numbers in, one Figure out.

Colours are those of Okabe and Ito, which people with a colour-vision deficiency can
tell apart; lines differ in dashes too. Axes and text take the colour of the page, so
that a figure reads in the light and in the dark theme.
"""

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", "-.", ":")
INK = "#010203"  # stands for the page's own text colour until `show` replaces it

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.size": 10,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


class Shown:
    """A figure with its caption and alternative text, as a notebook shows it."""

    def __init__(self, svg: str, *, alt: str, caption: str) -> None:
        self.svg, self.alt, self.caption = svg, alt, caption

    def __repr__(self) -> str:
        return f"Figure: {self.alt}"

    def _repr_html_(self) -> str:
        return (
            '<figure style="margin: .5em 0; max-width: 46rem; '
            'color: var(--jp-content-font-color1, currentColor)">'
            f"{self.svg}<figcaption>{escape(self.caption)}</figcaption></figure>"
        )


@mpl.rc_context(_STYLE)
def show(figure: Figure, *, alt: str, caption: str) -> Shown:
    """Show a figure to everyone: with a caption, and with words for who cannot see it.

    Args:
        figure: What to show.
        alt: What the figure shows, for a screen reader.
        caption: What to learn from it.

    Raises:
        ValueError: If `alt` or `caption` is empty.
    """
    for name, text in (("alt", alt), ("caption", caption)):
        if not text.strip():
            raise ValueError(f"{name} must say something, got {text!r}")
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Ids that nothing refers to would stand twice on a page with two figures.
    used = set(re.findall(r"#([\w.-]+)", svg))
    svg = re.sub(
        r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", svg
    )
    label = f'<svg role="img" aria-label="{escape(alt)}" style="max-width: 100%; '
    label += 'height: auto"'
    title = f"><title>{escape(alt)}</title>"
    svg = svg.replace("<svg", label, 1).replace(">", title, 1)
    return Shown(svg, alt=alt, caption=caption)


@mpl.rc_context(_STYLE)
def new_figure(columns: int = 1, *, width: float = 7.0, height: float = 3.4) -> Figure:
    """Return an empty figure of `columns` axes side by side; sizes are in inches.

    Raises:
        ValueError: If `columns` is not 1 to 4.
    """
    if not 1 <= columns <= 4:
        raise ValueError(f"columns must be 1 to 4 to stay readable, got {columns}")
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.subplots(1, columns)
    return figure


@mpl.rc_context(_STYLE)
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


@mpl.rc_context(_STYLE)
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


@mpl.rc_context(_STYLE)
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


@mpl.rc_context(_STYLE)
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


@mpl.rc_context(_STYLE)
def images(rows: Mapping[str, ArrayLike]) -> Figure:
    """Draw rows of grey images, each row with its name.

    Args:
        rows: Name to images of shape (n, height, width), at most 12 a row.
    """
    most = max((len(np.asarray(pictures)) for pictures in rows.values()), default=0)
    if not 1 <= most <= 12:
        raise ValueError(f"rows must hold 1 to 12 images each, got {most}")
    figure = Figure(figsize=(7.0, 0.2 + 0.85 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), most, squeeze=False)
    for line, (name, pictures) in zip(grid, rows.items(), strict=True):
        for axes in line:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        for axes, picture in zip(line, np.asarray(pictures), strict=False):
            axes.imshow(picture, cmap="gray_r")
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure
