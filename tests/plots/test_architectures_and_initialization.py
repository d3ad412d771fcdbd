import numpy as np
import pytest

from mlopt_edu import plots

RNG = np.random.default_rng(0)
FORWARD = {"He": RNG.uniform(0.5, 2, (3, 8)), "Xavier": RNG.uniform(0.1, 1, (3, 8))}
BACKWARD = {"He": RNG.uniform(0.5, 2, (3, 8)), "Xavier": RNG.uniform(0.1, 1, 8)}


def test_signals_draws_runs_thin_and_their_geometric_mean_thick():
    left, right = plots.signals(FORWARD, BACKWARD).axes
    assert [len(axes.lines) for axes in (left, right)] == [8, 5]
    middle = {line.get_label(): line for line in left.lines}["Xavier"]
    expected = np.prod(FORWARD["Xavier"], axis=0) ** (1 / 3)
    assert np.allclose(middle.get_ydata(), expected)
    assert list(middle.get_xdata()) == list(range(1, 9))
    thin = left.lines[0]
    assert np.array_equal(thin.get_ydata(), FORWARD["He"][0])
    assert thin.get_linewidth() < middle.get_linewidth()


def test_signals_uses_log_axes_and_one_legend_for_both():
    figure = plots.signals(FORWARD, BACKWARD, backward_label="back")
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "log"]
    assert figure.axes[1].get_ylabel() == "back"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["He", "Xavier"]
    styles = {(line.get_color(), line.get_linestyle()) for line in legend.get_lines()}
    assert len({color for color, _ in styles}) == len({s for _, s in styles}) == 2


def test_signals_wants_the_same_names_on_both_sides():
    with pytest.raises(ValueError, match=r"same names in the same order, got \['He',"):
        plots.signals(FORWARD, {"He": [1.0]})


ROWS = {
    "wide": {"parameters": 7.5, "MACs": 7.9, "time": 1.6},
    "deep": {"parameters": 8.6, "MACs": 8.7, "time": 3.0},
}
SPREADS = {"wide": (1.4, 1.9), "deep": (2.2, 4.1)}


def test_savings_draws_each_measure_in_its_row():
    figure = plots.savings(ROWS, SPREADS, xlabel="dense / separable")
    (axes,) = figure.axes
    points = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert [line.get_xdata()[0] for line in points] == [
        factor for row in ROWS.values() for factor in row.values()
    ]
    assert [round(float(line.get_ydata()[0])) for line in points] == [0] * 3 + [-1] * 3
    assert len({line.get_marker() for line in points}) == 3
    bars = [line for line in axes.lines if line.get_marker() == "|"]
    assert [tuple(line.get_xdata()) for line in bars] == list(SPREADS.values())
    assert [label.get_text() for label in axes.get_yticklabels()] == list(ROWS)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(ROWS["wide"])


def test_both_can_be_shown():
    for figure in (
        plots.signals(FORWARD, BACKWARD),
        plots.savings(ROWS, SPREADS, xlabel="x"),
    ):
        shown = plots.show(figure, alt="curves", caption="what to see")
        assert "currentColor" in shown.svg
