"""How every figure looks, and how it is shown.

Colours are those of Okabe and Ito, which people with a colour-vision deficiency can
tell apart; lines differ in dashes too. Axes and text take the colour of the page, so
that a figure reads in the light and in the dark theme.
"""

import io
import re
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", "-.", ":")
INK = "#010203"  # stands for the page's own text colour until `show` replaces it

STYLE: dict[Any, Any] = {
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


@mpl.rc_context(STYLE)
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


@mpl.rc_context(STYLE)
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
