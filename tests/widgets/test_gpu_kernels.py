from collections import OrderedDict

import numpy as np
import pytest
from traitlets import TraitError

from mlopt_edu.widgets import TileExplorer

SETTINGS = [
    {},
    {"group": 3},
    {"group": 5, "cache": 3},
    {"rows": 48, "cols": 48, "group": 4, "cache": 12},
    {"rows": 1, "cols": 1, "block_rows": 32},
    {"rows": 33, "cols": 9, "block_rows": 16, "block_cols": 8, "group": 2, "cache": 2},
]

# --- the Python side ---------------------------------------------------------------


@pytest.mark.parametrize("name", TileExplorer.RANGES)
def test_ends_of_a_range_are_allowed_and_nothing_beyond(name):
    low, high = TileExplorer.RANGES[name]
    for end in (low, high):
        assert getattr(TileExplorer(**{name: end}), name) == end
    for beyond in (low - 1, high + 1):
        with pytest.raises(TraitError, match=rf"^{name} must be in \[.*\], got "):
            TileExplorer(**{name: beyond})


@pytest.mark.parametrize("name", ["block_rows", "block_cols"])
def test_a_block_that_is_no_choice_is_refused(name):
    with pytest.raises(TraitError, match=name):
        TileExplorer(**{name: 12})


# --- the mathematics in JavaScript -------------------------------------------------


def asked(bench, expression, settings):
    widget = TileExplorer(**settings)
    page = bench.mount(widget)
    names = [name for name in widget.trait_names(sync=True) if name[0] != "_"]
    state = {name: widget.get_state()[name] for name in names if name != "layout"}
    return page.evaluate(f"s => {expression}", state), TileExplorer(**settings)


def tiles(widget):
    """The order of Triton's tutorial on matrix multiplication, in Python."""
    high, wide = (
        -(-widget.rows // widget.block_rows),
        -(-widget.cols // widget.block_cols),
    )
    order = []
    for program in range(high * wide):
        group = program // (widget.group * wide)
        first = group * widget.group
        size = min(high - first, widget.group)
        row = first + (program % (widget.group * wide)) % size
        order.append((row, (program % (widget.group * wide)) // size))
    return high, wide, order


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_order_is_that_of_the_tutorial(bench, settings):
    order, widget = asked(bench, "module.tileOrder(s)", settings)
    high, wide, expected = tiles(widget)
    assert [tuple(tile) for tile in order] == expected
    assert sorted(expected) == [(i, j) for i in range(high) for j in range(wide)]


@pytest.mark.parametrize("settings", SETTINGS)
def test_loads_are_those_of_a_cache_that_drops_the_oldest(bench, settings):
    steps, widget = asked(bench, "module.walk(s)", settings)
    cache = OrderedDict()
    for step, (row, column) in zip(steps, tiles(widget)[2], strict=True):
        loaded = []
        for strip in (f"x{row}", f"y{column}"):
            if strip not in cache:
                loaded.append(strip)
            cache[strip] = True
            cache.move_to_end(strip)
            while len(cache) > widget.cache:
                cache.popitem(last=False)
        assert (step["loaded"], step["held"]) == (loaded, list(cache))


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_lane_is_counted_where_it_falls(bench, settings):
    found, widget = asked(
        bench, "module.tileOrder(s).map((tile) => module.lanesOf(s, tile))", settings
    )
    rows, cols = widget.rows, widget.cols
    for lanes, (row, column) in zip(found, tiles(widget)[2], strict=True):
        i = row * widget.block_rows + np.arange(widget.block_rows)[:, None]
        j = column * widget.block_cols + np.arange(widget.block_cols)[None]
        address = i * cols + j
        inside = (i < rows) & (j < cols)
        assert lanes == {
            "inside": inside.sum(),
            "nextRow": (~inside & (address < rows * cols)).sum(),
            "past": (~inside & (address >= rows * cols)).sum(),
            "sectors": len(np.unique(address[inside] // 8)),
        }
    assert sum(lanes["inside"] for lanes in found) == rows * cols


# --- what the learner sees ---------------------------------------------------------


def test_the_words_follow_the_settings(bench):
    page = bench.mount(TileExplorer())
    status = page.locator(".mlopt-status")
    assert "Strips loaded again" in status.inner_text()
    assert "31 strips are loaded; the least is 11" in status.inner_text()
    page.evaluate("model.set('group', 5)")
    assert "Each strip loaded once" in status.inner_text()
    page.evaluate("model.set('program', 35)")
    assert "Program 29 of 30 writes tile (4, 5)" in status.inner_text()
    assert "32 lanes beyond the edge, masked off" in status.inner_text()
    page.evaluate("model.set('masked', false)")
    assert "Out of bounds" in status.inner_text()
    assert "28 lanes write into the next row, and 4 past" in status.inner_text()


@pytest.mark.parametrize("settings", [*SETTINGS, {"program": 5, "masked": False}])
def test_it_draws_numbers_only_and_cuts_no_label(bench, settings):
    page = bench.mount(TileExplorer(**settings))
    card = page.locator(".mlopt-card").evaluate("e => e.outerHTML")
    assert not any(bad in card for bad in ("NaN", "undefined", "Infinity"))
    assert bench.has_all_labels()


def test_the_controls_work_by_keyboard(bench):
    page = bench.mount(TileExplorer())
    tile = page.locator("path.mlopt-tile-now").first
    before = tile.get_attribute("d")
    page.get_by_role("slider", name="Program").press("ArrowRight")
    assert bench.trait("program") == 9
    assert tile.get_attribute("d") != before
    page.get_by_role("slider", name="Rows of a tile").press("ArrowRight")
    page.get_by_label("Mask at the edge").press("Space")
    assert (bench.trait("block_rows"), bench.trait("masked")) == (16, False)
    page.get_by_role("button", name="Reset").press("Enter")
    assert (bench.trait("program"), bench.trait("block_rows")) == (8, 8)
    assert tile.get_attribute("d") == before
