"""Figure of lesson 14: which stage of a pipeline does what, and when."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from mlopt_edu.plots._figure import COLORS, INK, STYLE, new_figure


@mpl.rc_context(STYLE)
def schedule(
    stages: Sequence[Sequence[tuple[str, float, float]]], *, xlabel: str = "time"
) -> Figure:
    """Draw the actions of each stage as boxes along time; what stays empty is waiting.

    Args:
        stages: For each stage its actions: a label that begins with "F" (forward) or
            "B" (backward), the start and the end.
        xlabel: Name of the time, with its unit.

    Raises:
        ValueError: If no stage has an action, or a label begins otherwise.
    """
    if not any(stages):
        raise ValueError("stages must hold at least one action, got none")
    figure = new_figure(height=0.8 + 0.45 * len(stages))
    (axes,) = figure.axes
    looks = {"F": (COLORS[5], ""), "B": (COLORS[4], "///")}
    for row, actions in enumerate(stages):
        for label, start, end in actions:
            if label[:1] not in looks:
                raise ValueError(f'a label must begin with "F" or "B", got {label!r}')
            color, hatch = looks[label[0]]
            axes.barh(
                -row, end - start, left=start, height=0.8, color=color, edgecolor=INK
            )
            axes.barh(
                -row, end - start, left=start, height=0.8, fill=False, hatch=hatch,
                edgecolor=INK, linewidth=0, alpha=0.25,
            )  # fmt: skip
            axes.text(
                (start + end) / 2, -row, label, color="black", ha="center",
                va="center", fontsize=7.5,
            )  # fmt: skip
    axes.set_yticks([-row for row in range(len(stages))])
    axes.set_yticklabels([f"stage {row}" for row in range(len(stages))])
    axes.set(xlabel=xlabel)
    axes.margins(x=0)
    return figure
