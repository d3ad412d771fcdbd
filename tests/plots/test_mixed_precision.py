"""Shares by octave, asserted on the artists."""

import numpy as np
import pytest

from mlopt_edu.plots import octaves


def test_each_octave_has_its_share_of_the_nonzero_values():
    figure = octaves({"g": [[0.0, 1.0], [-1.9, 2.0], [8.0, 0.0]]}, marks={})
    (axes,) = figure.axes
    (stair,) = axes.patches
    values, edges, _ = stair.get_data()
    assert list(edges) == [1, 2, 4, 8, 16]
    assert list(values) == [50, 25, 0, 25]
    assert axes.get_xscale() == "log"


def test_marks_are_lines_with_names():
    figure = octaves({"a": np.ones(3)}, marks={"fp16's smallest": 2.0**-24})
    (axes,) = figure.axes
    (line,) = axes.lines
    assert list(line.get_xdata()) == [2.0**-24] * 2
    assert [text.get_text().strip() for text in axes.texts] == ["fp16's smallest"]


def test_nothing_but_zeros_is_refused():
    with pytest.raises(ValueError, match="groups must hold nonzero values, got none"):
        octaves({"none": [0.0, 0.0]}, marks={})
