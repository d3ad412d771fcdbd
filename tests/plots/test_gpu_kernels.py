import numpy as np
import pytest

from mlopt_edu.plots import roofline


def test_the_roof_rises_with_the_bandwidth_up_to_the_peak():
    figure = roofline(
        {"device": (2e12, 2e13)}, {"add": (0.1, 1.5e11), "mm": (80, 1e13)}
    )
    (axes,) = figure.axes
    roof, add, mm = axes.lines
    x, height = np.asarray(roof.get_xdata()), np.asarray(roof.get_ydata())
    np.testing.assert_allclose(height, np.minimum(2e13, 2e12 * x))
    assert (x[0], x[-1]) == pytest.approx((0.05, 160))
    for line, at in ((add, (0.1, 1.5e11)), (mm, (80, 1e13))):
        assert (line.get_xdata()[0], line.get_ydata()[0]) == at
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_everything_is_in_the_legend_and_looks_different():
    roofs = {"fp32": (2e12, 2e13), "bf16": (2e12, 3e14)}
    points = {f"kernel {k}": (0.1 * (k + 1), 1e11) for k in range(10)}
    figure = roofline(roofs, points)
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == [*roofs, *points]
    lines = figure.axes[0].lines
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == 12


@pytest.mark.parametrize(
    ("roofs", "points", "says"),
    [
        ({}, {"a": (1, 1)}, "roofs must not be empty"),
        ({"a": (1, 1)}, {}, "points must not be empty"),
        ({"a": (0, 1)}, {"b": (1, 1)}, r"roofs must be above 0, got \(0, 1\) for 'a'"),
        ({"a": (1, 1)}, {"b": (1, -1)}, r"points must be above 0, got \(1, -1\) for"),
    ],
)
def test_it_refuses(roofs, points, says):
    with pytest.raises(ValueError, match=says):
        roofline(roofs, points)
