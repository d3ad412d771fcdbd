"""Figure of lesson 15: what a device can do at most, and where kernels are below it."""

from collections.abc import Mapping
from itertools import cycle

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mlopt_edu.plots._figure import COLORS, DASHES, INK, STYLE, new_figure

MARKERS = "osD^vPX<>*"


@mpl.rc_context(STYLE)
def roofline(
    roofs: Mapping[str, tuple[float, float]],
    points: Mapping[str, tuple[float, float]],
) -> Figure:
    """Draw speed against intensity: a roof for each device, a marker for each kernel.

    Args:
        roofs: Name to (bandwidth in bytes per second, peak in operations per second).
        points: Name to (operations per byte, operations per second).

    Raises:
        ValueError: If there is no roof or no point, or if a number is not above 0.
    """
    for name, given in (("roofs", roofs), ("points", points)):
        if not given:
            raise ValueError(f"{name} must not be empty")
        for key, pair in given.items():
            if min(pair) <= 0:
                raise ValueError(f"{name} must be above 0, got {pair} for {key!r}")
    figure = new_figure(width=7.6, height=3.8)
    (axes,) = figure.axes
    corners = [peak / bandwidth for bandwidth, peak in roofs.values()]
    everywhere = [*corners, *(intensity for intensity, _ in points.values())]
    x = np.geomspace(min(everywhere) / 2, 2 * max(everywhere), 200)
    for (name, (bandwidth, peak)), dash in zip(
        roofs.items(), cycle(DASHES), strict=False
    ):
        height = np.minimum(peak, x * bandwidth)
        axes.plot(x, height, color=INK, linestyle=dash, lw=1.4, label=name)
    styles = zip(cycle(COLORS), cycle(MARKERS), strict=False)
    for (name, (intensity, speed)), (color, marker) in zip(
        points.items(), styles, strict=False
    ):
        axes.plot([intensity], [speed], marker, color=color, ms=7, label=name)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="operations per byte",
        ylabel="operations per second",
    )
    figure.legend(loc="outside right upper")
    return figure
