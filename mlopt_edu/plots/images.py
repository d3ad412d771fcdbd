"""Pictures in rows."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mlopt_edu.plots._figure import STYLE


@mpl.rc_context(STYLE)
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
