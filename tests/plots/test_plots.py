"""What a figure shows, asserted on its artists; and who can read what `show` makes."""

import re
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from mlopt_edu.plots import (
    COLORS,
    INK,
    images,
    loss_curves,
    measured_against_predicted,
    new_figure,
    paths,
    show,
    spectra,
)

ROUTE = np.array([[2.0, 1.0], [1.0, -0.5], [0.5, 0.25]])


MAKE = {
    "loss_curves": lambda: loss_curves({"a": [1, 0.1], "b": [2, 1]}, ceiling=10),
    "spectra": lambda: spectra({"raw": [1, 100], "scaled": [1, 2]}),
    "measured": lambda: measured_against_predicted(
        [1, 2], [1, 2], [1, 2], xlabel="x", ylabel="y", bound=1.5, bound_label="b"
    ),
    "paths": lambda: paths(np.diag([1.0, 4.0]), {"plain": ROUTE}),
    "images": lambda: images({"bag": np.eye(4)[None]}),
    "new_figure": lambda: new_figure(2),
}
each_figure = pytest.mark.parametrize("name", list(MAKE))


def lines(figure):
    """Every line by its label, with x and y."""
    (axes,) = figure.axes
    return {
        line.get_label(): np.column_stack([line.get_xdata(), line.get_ydata()])
        for line in axes.lines
    }


def texts(axes):
    return [text.get_text() for text in axes.texts]


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_loss_curves_draw_each_loss_at_its_step():
    figure = loss_curves({"plain": [4, 2, 1], "fast": [4, 0.5]}, ylabel="error")
    (axes,) = figure.axes
    assert lines(figure)["plain"].tolist() == [[0, 4], [1, 2], [2, 1]]
    assert lines(figure)["fast"].tolist() == [[0, 4], [1, 0.5]]
    assert legend(figure) == ["plain", "fast"]
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "error")


def test_loss_curves_leave_out_what_a_logarithm_cannot_show():
    figure = loss_curves({"a": [1, 0, -1, np.nan, np.inf, 2]})
    assert lines(figure)["a"].tolist() == [[0, 1], [5, 2]]


def test_a_ceiling_cuts_what_diverges_and_nothing_else():
    figure = loss_curves({"up": [1, 10, 100, 1000], "down": [1, 0.1]}, ceiling=100)
    assert lines(figure)["up"].tolist() == [[0, 1], [1, 10], [2, 100]]
    assert lines(figure)["down"].tolist() == [[0, 1], [1, 0.1]]


def test_spectra_draw_one_row_a_hessian_with_its_condition_number():
    figure = spectra({"raw": [5000, 2, 10], "scaled": [1, 4, 0]})
    (axes,) = figure.axes
    raw, scaled = (line.get_xdata().tolist() for line in axes.lines)
    assert (sorted(raw), sorted(scaled)) == ([2, 10, 5000], [1, 4])  # 0 has no place
    assert [set(line.get_ydata()) for line in axes.lines] == [{0}, {-1}]
    assert axes.get_xscale() == "log"
    names = dict(
        zip(
            axes.get_yticks(),
            (t.get_text() for t in axes.get_yticklabels()),
            strict=True,
        )
    )
    assert names == {0: "raw", -1: "scaled"}
    assert [text.rsplit(" ", 1)[-1] for text in texts(axes)] == ["2,500", "4"]
    low, high = axes.get_xlim()
    assert low < 1
    assert high > 5000


def test_measurements_are_points_and_the_prediction_is_a_line():
    figure = measured_against_predicted(
        [1, 2, 3],
        [1.1, 1.9, 3.2],
        [1, 2, 3],
        xlabel="lr",
        ylabel="factor",
        bound=1.0,
        bound_label="diverges above",
    )
    (axes,) = figure.axes
    predicted, measured, bound = axes.lines
    assert predicted.get_xydata().tolist() == [[1, 1], [2, 2], [3, 3]]
    assert measured.get_xydata().tolist() == [[1, 1.1], [2, 1.9], [3, 3.2]]
    assert (predicted.get_linestyle(), measured.get_linestyle()) == ("-", "None")
    assert measured.get_marker() == "o"
    assert list(bound.get_ydata()) == [1.0, 1.0]
    assert texts(axes) == ["diverges above"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lr", "factor")


def test_paths_draw_routes_over_the_contours_of_the_quadratic():
    hessian = np.array([[2.0, 0.5], [0.5, 1.0]])
    figure = paths(hessian, {"plain": ROUTE, "other": -ROUTE}, names=("a", "b"))
    (axes,) = figure.axes
    drawn = lines(figure)
    np.testing.assert_array_equal(drawn["plain"], ROUTE)
    np.testing.assert_array_equal(drawn["other"], -ROUTE)
    np.testing.assert_array_equal(drawn["minimum"], [[0, 0]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("a", "b")
    assert (axes.get_xlim(), axes.get_ylim()) == ((-3, 3), (-3, 3))
    assert axes.get_aspect() == 1
    (contours,) = axes.collections
    for level, path in zip(contours.levels, contours.get_paths(), strict=True):
        points = path.vertices
        heights = 0.5 * np.einsum("ni,ij,nj->n", points, hessian, points)
        # Straight pieces between grid points 0.05 apart: at most H_ii h^2 / 8 too low.
        np.testing.assert_allclose(heights, level, rtol=0, atol=2 * 0.05**2 / 8 + 1e-9)


def test_images_stand_in_rows_with_their_names():
    rng = np.random.default_rng(0)
    bags, coats = rng.integers(0, 256, size=(2, 3, 4, 4))
    figure = images({"bag": bags, "coat": coats[:2]})
    drawn = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    np.testing.assert_array_equal(drawn, [*bags, *coats[:2]])
    assert [axes.get_ylabel() for axes in figure.axes][::3] == ["bag", "coat"]


def test_routes_and_curves_differ_without_colour():
    curves = loss_curves({name: [1, 2] for name in "abcd"}).axes[0].lines
    assert len({line.get_linestyle() for line in curves}) == 4
    routes = paths(np.eye(2), dict.fromkeys("abcd", ROUTE)).axes[0].lines[:-1]
    assert len({line.get_marker() for line in routes}) == 4


def test_more_curves_than_colours_start_again():
    figure = loss_curves({str(i): [1, 2] for i in range(8)})
    drawn = [to_hex(line.get_color()).upper() for line in figure.axes[0].lines]
    assert drawn == [*COLORS, *COLORS[:2]]


@each_figure
def test_a_figure_is_returned_and_kept_by_nobody(name):
    before = dict(mpl.rcParams)
    assert type(MAKE[name]()) is Figure
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_new_figure_has_its_columns_in_one_row(columns):
    figure = new_figure(columns, width=6, height=2)
    assert figure.axes[0].get_gridspec().get_geometry() == (1, columns)
    assert figure.get_size_inches().tolist() == [6, 2]


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: new_figure(0), ["columns", "0"]),
        (lambda: new_figure(5), ["columns", "4", "5"]),
        (lambda: images({"bag": np.zeros((13, 2, 2))}), ["12", "13"]),
        (lambda: show(new_figure(), alt=" ", caption="c"), ["alt", "' '"]),
        (lambda: show(new_figure(), alt="a", caption=""), ["caption", "''"]),
    ],
)
def test_bad_input_is_one_sentence(call, names):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the words are in the table
        call()
    assert [name for name in names if name not in str(caught.value)] == []


class Elements(HTMLParser):
    """The elements of a page as (tag, attributes), its text, and the ids on it."""

    def __init__(self, html):
        super().__init__()
        self.all, self.text = [], []
        self.feed(html)
        self.ids = [
            attributes["id"] for _, attributes in self.all if "id" in attributes
        ]

    def handle_starttag(self, tag, attrs):
        self.all.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def first(self, wanted):
        return next(attributes for tag, attributes in self.all if tag == wanted)


ATTACK = "<script>a > b & \"c\" 'd'</script>"


@each_figure
def test_show_gives_words_to_who_cannot_see_it(name):
    shown = show(MAKE[name](), alt="Two curves.", caption="One is faster.")
    page = Elements(shown._repr_html_())
    svg = page.first("svg")
    assert (svg["role"], svg["aria-label"]) == ("img", "Two curves.")
    assert [tag for tag, _ in page.all[:3]] == ["figure", "svg", "title"]
    assert page.text[0].strip() == "Two curves."
    assert page.text[-1] == "One is faster."
    assert repr(shown) == "Figure: Two curves."


def test_alt_and_caption_stay_text():
    page = Elements(show(new_figure(), alt=ATTACK, caption=ATTACK)._repr_html_())
    assert "script" not in {tag for tag, _ in page.all}
    assert page.first("svg")["aria-label"] == ATTACK
    assert "".join(page.text).count(ATTACK) == 2


@each_figure
def test_all_ink_takes_the_colour_of_the_page(name):
    svg = show(MAKE[name](), alt="a", caption="c").svg
    assert INK not in svg
    assert not re.search(r"#000000|#000\b|\bblack\b|#ffffff|\bwhite\b", svg)
    if name != "images":  # no axes, no ticks
        assert "currentColor" in svg


def test_ink_of_the_page_reaches_what_a_lesson_adds():
    figure = new_figure()
    (axes,) = figure.axes
    axes.plot([1, 2], [1, 2], color=COLORS[0])
    axes.set(title="t", xlabel="x", xticks=[1, 2])
    svg = show(figure, alt="a", caption="c").svg
    assert not re.search(r"#000000|\bblack\b", svg)


@each_figure
def test_what_is_shown_loads_nothing_and_names_no_tool(name):
    svg = show(MAKE[name](), alt="a", caption="c").svg
    assert svg.startswith("<svg")
    assert "<metadata" not in svg
    links = re.findall(r'(?:href|src)="([^"]*)"', svg)
    assert all(link.startswith(("#", "data:image/png")) for link in links)


def referred(svg):
    """The ids that an image points to: what it draws depends on them."""
    return {*re.findall(r'href="#([^"]*)"', svg), *re.findall(r"url\(#([^)]*)\)", svg)}


@each_figure
def test_two_figures_on_a_page_do_not_draw_from_each_other(name):
    one, two = (show(MAKE[name](), alt="a", caption="c").svg for _ in "ab")
    assert referred(one) <= set(Elements(one).ids)
    assert not set(Elements(one).ids) & set(Elements(two).ids)
    assert len(Elements(one).ids) == len(set(Elements(one).ids))
