"""Curves over several runs, and intervals: asserted on their artists."""

import numpy as np
import pytest

from mlopt_edu.plots import intervals, lines


def drawn(figure):
    (axes,) = figure.axes
    return [
        (line.get_label(), line.get_xydata().tolist(), line.get_linewidth())
        for line in axes.lines
    ]


def test_one_run_is_one_line():
    figure = lines([1, 2], {"a": [3, 5]}, xlabel="lr", ylabel="loss", xscale="log")
    (axes,) = figure.axes
    assert [line[:2] for line in drawn(figure)] == [("a", [[1, 3], [2, 5]])]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lr", "loss")
    assert axes.get_legend() is None  # a single curve is named by the axis


def test_several_runs_are_thin_lines_and_their_mean_is_thick():
    figure = lines([0, 1], {"a": [[1, 2], [3, 6]], "b": [0, 0]}, xlabel="", ylabel="")
    first, second, mean, other = drawn(figure)
    assert [first[1], second[1]] == [[[0, 1], [1, 2]], [[0, 3], [1, 6]]]
    assert mean[:2] == ("a", [[0, 2], [1, 4]])
    assert other[0] == "b"
    assert first[2] < mean[2]


def test_limits_are_kept():
    figure = lines([0, 1], {"a": [1, 50]}, xlabel="", ylabel="", ylim=(0, 10))
    assert figure.axes[0].get_ylim() == (0, 10)


def test_intervals_show_every_run_the_mean_and_its_ends():
    figure = intervals(
        {"plain": [1.0, 2.0], "better": [3.0, 5.0, 4.0]},
        {"plain": (0.5, 2.5), "better": (3.5, 4.5)},
        xlabel="accuracy in %",
        mark=2.0,
    )
    (axes,) = figure.axes
    runs, ends, mean, runs_2, ends_2, mean_2, mark = axes.lines
    assert list(runs.get_xdata()) == [1, 2]
    assert list(runs_2.get_xdata()) == [3, 5, 4]
    assert [list(ends.get_xdata()), list(ends_2.get_xdata())] == [
        [0.5, 2.5],
        [3.5, 4.5],
    ]
    assert [list(mean.get_xdata()), list(mean_2.get_xdata())] == [[1.5], [4]]
    assert list(mark.get_xdata()) == [2, 2]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["plain", "better"]
    assert axes.get_xlabel() == "accuracy in %"
    heights = np.array([line.get_ydata()[0] for line in axes.lines[:-1]])
    low, high = axes.get_ylim()
    assert (low < heights).all()
    assert (heights < high).all()


def test_a_group_needs_its_bounds():
    with pytest.raises(KeyError):
        intervals({"plain": [1.0]}, {}, xlabel="")
