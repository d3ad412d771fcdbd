"""Boxes of a schedule, asserted on the artists."""

import numpy as np
import pytest

from mlopt_edu.plots import schedule


def test_each_action_is_a_box_on_the_row_of_its_stage():
    figure = schedule([[("F0", 0, 1), ("B0", 3, 5)], [("F0", 1, 2)]])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["F0", "B0", "F0"]
    boxes = [patch for patch in axes.patches if patch.get_fill()]
    found = [
        (box.get_x(), box.get_width(), box.get_y() + box.get_height() / 2)
        for box in boxes
    ]
    assert np.allclose(found, [(0, 1, 0), (3, 2, 0), (1, 1, -1)])
    assert boxes[0].get_facecolor() != boxes[1].get_facecolor()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["stage 0", "stage 1"]


@pytest.mark.parametrize(
    ("stages", "message"),
    [([[]], "stages must hold at least one action"), ([[("X", 0, 1)]], "label must")],
)
def test_what_cannot_be_drawn_is_refused(stages, message):
    with pytest.raises(ValueError, match=message):
        schedule(stages)
