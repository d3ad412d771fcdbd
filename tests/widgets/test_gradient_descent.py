import itertools

import numpy as np
import pytest
import torch
from traitlets import TraitError

from mlopt_edu.widgets import LossSurface

# --- the Python side ---------------------------------------------------------------


@pytest.mark.parametrize("name", LossSurface.RANGES)
def test_both_ends_of_a_range_are_allowed_and_nothing_beyond(name):
    for end in LossSurface.RANGES[name]:
        assert getattr(LossSurface(**{name: end}), name) == end
    low, high = LossSurface.RANGES[name]
    for beyond in (low - 1, high + 1):
        with pytest.raises(TraitError, match=rf"^{name} must be in \[.*\], got "):
            LossSurface(**{name: beyond})


def test_what_is_not_a_number_in_range_is_refused():
    with pytest.raises(TraitError, match=r"lr must be in \[0, 4\], got nan"):
        LossSurface(lr=float("nan"))
    with pytest.raises(TraitError, match="expected an int, not the float"):
        LossSurface(steps=2.5)
    widget = LossSurface(momentum=0.5)
    with pytest.raises(TraitError, match="momentum must be in"):
        widget.momentum = 1.0
    assert widget.momentum == 0.5


# --- the mathematics in JavaScript -------------------------------------------------


def rotation():
    angle = np.deg2rad(25)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def heavy_ball(lr, condition_number, momentum, start, steps):
    """Points by powers of the matrix that takes (point, last point) one step on."""
    turn = rotation()
    hessian = turn @ np.diag([1 / condition_number, 1.0]) @ turn.T
    eye, zero = np.eye(2), np.zeros((2, 2))
    step = np.block([[(1 + momentum) * eye - lr * hessian, -momentum * eye]])
    step = np.vstack([step, np.hstack([eye, zero])])
    both = np.concatenate([start, start])
    points = np.array(
        [(np.linalg.matrix_power(step, k) @ both)[:2] for k in range(steps + 1)]
    )
    return points, np.einsum("ki,ij,kj->k", points, hessian, points) / 2


GRID = list(
    itertools.product(
        (0.0, 0.013, 0.7, 1.99, 2.0, 2.31, 3.97),
        (1.0, 1.07, 13.3, 100.0),
        (0.0, 0.31, 0.9, 0.99),
    )
)
START = (1.73, -1.91)


def test_trajectory_is_the_power_of_the_heavy_ball_matrix(bench):
    page = bench.mount(LossSurface())
    settings = [
        {
            "lr": lr,
            "condition_number": kappa,
            "momentum": momentum,
            "start_x": START[0],
            "start_y": START[1],
            "steps": 37,
        }
        for lr, kappa, momentum in GRID
    ]
    paths = page.evaluate("all => all.map(module.trajectory)", settings)
    for (lr, kappa, momentum), path in zip(GRID, paths, strict=True):
        points, losses = heavy_ball(lr, kappa, momentum, np.array(START), 37)
        seen = np.stack([path["x"], path["y"]], axis=1)
        # Cancellation loses digits relative to the largest point so far, not to zero.
        size = np.maximum.accumulate(np.abs(points).max(axis=1))
        assert np.all(np.abs(seen - points).max(axis=1) <= 1e-11 * size)
        assert np.all(np.abs(path["loss"] - losses) <= 1e-10 * size**2)


def test_trajectory_is_what_torch_sgd_does(bench):
    page = bench.mount(LossSurface(lr=0.37, condition_number=9.0, momentum=0.8))
    turn = torch.from_numpy(rotation())
    hessian = turn @ torch.diag(torch.tensor([1 / 9.0, 1.0]).double()) @ turn.T
    point = torch.tensor([-2.4, 0.9], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([point], lr=0.37, momentum=0.8)
    expected = []
    for _ in range(51):
        loss = point @ hessian @ point / 2
        expected.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    path = page.evaluate("module.trajectory(model.state)")
    np.testing.assert_allclose(path["loss"], expected, rtol=1e-6)


def test_spectral_radius_is_the_largest_eigenvalue(bench):
    page = bench.mount(LossSurface())
    cases = [
        ({"lr": lr, "momentum": momentum}, curvature)
        for lr, _, momentum in GRID
        for curvature in (1.0, 0.3, 0.01)
    ]
    radii = page.evaluate("all => all.map((c) => module.spectralRadius(...c))", cases)
    for (settings, curvature), radius in zip(cases, radii, strict=True):
        lr, momentum = settings["lr"], settings["momentum"]
        matrix = [[1 + momentum - lr * curvature, -momentum], [1, 0]]
        expected = np.abs(np.linalg.eigvals(matrix)).max()
        assert radius == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("momentum", [0.0, 0.25, 0.9])
def test_the_words_change_exactly_at_the_bound(bench, momentum):
    page = bench.mount(LossSurface(momentum=momentum))
    bound = page.evaluate("module.stepSizeBound(model.state)")
    assert bound == pytest.approx(2 * (1 + momentum))
    kinds = page.evaluate(
        "all => all.map(lr => module.describe({...model.state, lr}).kind)",
        [bound - 0.01, bound, bound + 0.01],
    )
    assert kinds == ["converges", "edge", "diverges"]


def test_overflow_ends_the_path_and_is_said(bench):
    page = bench.mount(LossSurface())
    words, length, finite = page.evaluate(
        """() => {
          const settings = {...model.state, lr: 1e9, steps: 200};
          const path = module.trajectory(settings);
          return [module.describe(settings, path).text, path.loss.length,
                  [...path.x, ...path.y, ...path.loss].every(Number.isFinite)];
        }"""
    )
    assert finite
    assert length < 25
    assert f"overflows after {length - 1} steps" in words


# --- the picture and the controls --------------------------------------------------


def slider(page, label):
    return page.get_by_label(label, exact=True)


def drawn(page):
    return page.eval_on_selector_all(
        "svg .mlopt-path", "all => all.map(path => path.getAttribute('d'))"
    )


def path_points(page):
    """The path as drawn in the left panel, back in (x, y)."""
    return page.evaluate(
        """() => {
          const svg = document.querySelector("svg");
          const scale = (anchor, end) => {
            const labels = [...svg.querySelectorAll(`text[text-anchor=${anchor}]`)];
            const [low, high] = [labels[0], labels.at(-1)].map((label) => [
              +label.textContent.replace("−", "-"),
              +label.previousSibling.getAttribute(end)]);
            const unit = (high[0] - low[0]) / (high[1] - low[1]);
            return (p) => low[0] + unit * (p - low[1]);
          };
          const [toX, toY] = [scale("middle", "x1"), scale("end", "y1")];
          const d = svg.querySelector(".mlopt-path").getAttribute("d");
          return d.slice(1).split("L").map((pair) => pair.split(" ").map(Number))
            .map(([x, y]) => [toX(x), toY(y)]);
        }"""
    )


def test_every_slider_moves_its_trait_by_keyboard_and_redraws_at_once(bench):
    page = bench.mount(LossSurface(lr=0.5, momentum=0.5, steps=20))
    labels = {
        "Step size lr": "lr",
        "Condition number κ": "condition_number",
        "Momentum β": "momentum",
        "Steps": "steps",
        "Start x": "start_x",
        "Start y": "start_y",
    }
    # A handler added after the widget's sees what the event left drawn: same task.
    page.evaluate(
        """() => el.addEventListener("input", () => {
          window.after = document.querySelector("svg .mlopt-path").getAttribute("d");
        })"""
    )
    for label, name in labels.items():
        before, pictures = bench.trait(name), drawn(page)
        slider(page, label).press("ArrowRight")
        assert bench.trait(name) > before
        assert page.evaluate("window.after") == drawn(page)[0]
        assert drawn(page)[0] != pictures[0]
        assert drawn(page)[1] != pictures[1]
        assert slider(page, label).get_attribute("aria-valuetext")


def test_slider_ends_are_the_ranges_that_python_accepts(bench):
    page = bench.mount(LossSurface())
    labels = ("Step size lr", "Condition number κ", "Momentum β")
    labels += ("Start x", "Start y", "Steps")
    for label, name in zip(labels, LossSurface.RANGES, strict=True):
        for key, end in zip(("Home", "End"), LossSurface.RANGES[name], strict=True):
            slider(page, label).press(key)
            assert bench.trait(name) == pytest.approx(end)


def test_the_drawn_path_is_the_computed_one(bench):
    widget = LossSurface(lr=1.3, condition_number=7.0, momentum=0.2, steps=12)
    page = bench.mount(widget)
    points, _ = heavy_ball(1.3, 7.0, 0.2, np.array([-2.4, 0.9]), 12)
    np.testing.assert_allclose(path_points(page), points, atol=1e-9)


def test_the_contours_are_those_of_the_loss(bench):
    """Within an ellipse (p/rx)^2 + (q/ry)^2 is the loss, up to one constant."""
    page = bench.mount(LossSurface(lr=1.7, condition_number=23.0, steps=15))
    levels = page.evaluate(
        """() => {
          const ellipse = document.querySelector("ellipse");
          const [rx, ry] = ["rx", "ry"].map((name) => +ellipse.getAttribute(name));
          const back = ellipse.getCTM().inverse();
          const path = document.querySelector(".mlopt-path");
          const d = path.getAttribute("d");
          return d.slice(1).split("L").map((pair) => {
            const at = new DOMPoint(...pair.split(" ").map(Number));
            const p = at.matrixTransform(path.getCTM()).matrixTransform(back);
            return (p.x / rx) ** 2 + (p.y / ry) ** 2;
          });
        }"""
    )
    _, losses = heavy_ball(1.7, 23.0, 0.0, np.array([-2.4, 0.9]), 15)
    np.testing.assert_allclose(np.divide(levels, levels[0]), losses / losses[0], 1e-3)
    heights = page.evaluate(
        """() => {
          const labels = [...document.querySelectorAll("svg text[text-anchor=end]")];
          return ["−2", "2"].map((tick) => labels.find((t) => t.textContent === tick)
            .getBoundingClientRect().y);
        }"""
    )
    assert heights[0] > heights[1]  # y grows upwards


def test_a_wild_divergence_stays_in_the_panel(bench):
    page = bench.mount(LossSurface(lr=4.0, condition_number=1.0, steps=200))
    assert page.locator(".mlopt-status").inner_text().startswith("✗ Diverges.")
    assert "NaN" not in page.content()
    assert "Infinity" not in page.content()
    for name in ("mlopt-path", "mlopt-dots"):
        clips = page.eval_on_selector_all(
            f"svg > g > .{name}",
            "all => all.map(p => p.closest('svg > g').getAttribute('clip-path') || "
            "p.closest('.mlopt-legend') && 'legend')",
        )
        assert all(clips)
    assert np.abs(path_points(page)).max() < 1e4


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 1.0, "condition_number": 1.0},  # at the minimum after one step
        {"lr": 0.0},
        {"start_x": 0.0, "start_y": 0.0},
        {"steps": 1},
        {"lr": 2.0, "condition_number": 1.0},
        {"lr": 0.01, "condition_number": 100.0},
    ],
)
def test_corner_settings_draw_numbers_only(bench, settings):
    page = bench.mount(LossSurface(**settings))
    for bad in ("NaN", "Infinity", "undefined"):
        assert bad not in page.locator(".mlopt-card").evaluate("e => e.outerHTML")
    assert "0.9998" in page.content() or settings.get("lr") != 0.01


def test_reset_returns_to_the_authors_start(bench):
    page = bench.mount(LossSurface(lr=1.25, momentum=0.3))
    before = drawn(page)
    slider(page, "Step size lr").press("End")
    slider(page, "Momentum β").press("End")
    assert drawn(page) != before
    page.get_by_role("button", name="Reset").click()
    assert (bench.trait("lr"), bench.trait("momentum")) == (1.25, 0.3)
    assert drawn(page) == before


def test_the_ring_can_be_dragged(bench):
    page = bench.mount(LossSurface())
    ring = page.locator("svg > g > circle.mlopt-start").first.bounding_box()
    x, y = ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 100, y + 60)
    page.mouse.up()
    assert bench.trait("start_x") > -2.4 + 1
    assert bench.trait("start_y") < 0.9 - 0.5
    page.mouse.move(x, y)  # released: moves no more
    assert bench.trait("start_x") > -2.4 + 1


def test_locked_controls_say_why_and_unlock_from_the_model(bench):
    page = bench.mount(LossSurface(unlocked=False))
    assert page.get_by_text("Commit to your prediction above first").is_visible()
    assert page.locator("input:enabled, button:enabled").count() == 0
    page.evaluate("model.set('unlocked', true)")
    assert page.get_by_text("Commit to your prediction").count() == 0
    assert page.locator("input:enabled").count() == 6


def test_the_kernel_hears_of_a_pause_and_is_not_needed(bench):
    page = bench.mount(LossSurface())
    saved = page.evaluate(
        """() => {
          const input = document.querySelector("input");
          for (let i = 1; i <= 100; i++) {
            input.value = i / 50;
            input.dispatchEvent(new Event("input"));
          }
          const during = model.saved;
          input.dispatchEvent(new Event("change"));
          return [during, model.saved];
        }"""
    )
    assert saved == [0, 1]


def test_without_a_kernel_it_draws_and_raises_nothing(bench):
    page = bench.mount(LossSurface(), live=False)
    before = drawn(page)
    slider(page, "Step size lr").press("PageUp")
    page.get_by_role("button", name="Reset").click()
    slider(page, "Momentum β").press("End")
    assert drawn(page) != before


def test_two_views_share_no_id_and_a_removed_view_is_silent(bench):
    page = bench.mount(LossSurface())
    page.evaluate(
        """() => { const second = document.createElement("div"); el.after(second);
        window.cleanup2 = module.default.render({ model, el: second }); }"""
    )
    ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert len(ids) == len(set(ids)) == 16
    page.evaluate("model.set('lr', 1.5)")
    lr = page.get_by_label("Step size lr")
    assert [lr.nth(view).input_value() for view in (0, 1)] == ["1.5", "1.5"]
    page.evaluate("() => { cleanup(); cleanup2(); model.set('lr', 0.7); }")
    assert [lr.nth(view).input_value() for view in (0, 1)] == ["1.5", "1.5"]


def test_arrow_keys_do_not_reach_the_notebook(bench):
    page = bench.mount(LossSurface())
    page.evaluate(
        "() => document.addEventListener('keydown', () => { window.out = 1; })"
    )
    slider(page, "Step size lr").press("ArrowRight")
    assert page.evaluate("window.out") is None


OVERLAPS = """() => {
          const texts = [...document.querySelectorAll("svg text, .mlopt-control > *, "
            + ".mlopt-edge span, .mlopt-status, .mlopt-foot > *")]
            .filter((e) => e.getBoundingClientRect().width);
          const found = [];
          texts.forEach((a, i) => {
            const r = a.getBoundingClientRect();
            const card = a.closest("svg, .mlopt-card").getBoundingClientRect();
            if (r.left < card.left || r.right > card.right) found.push(a.textContent);
            for (const b of texts.slice(i + 1)) {
              const s = b.getBoundingClientRect();
              if (a.contains(b)) continue;
              const x = Math.min(r.right, s.right) - Math.max(r.left, s.left);
              const y = Math.min(r.bottom, s.bottom) - Math.max(r.top, s.top);
              if (x > 1 && y > 2) found.push(`${a.textContent} | ${b.textContent}`);
            }
          });
          return found;
        }"""


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 4.0, "steps": 200},
        {"lr": 4.0, "steps": 200, "momentum": 0.99},
        {"lr": 0.01, "steps": 7, "momentum": 0.01, "condition_number": 100.0},
    ],
)
def test_nothing_overlaps_or_is_cut(bench, settings):
    page = bench.mount(LossSurface(**settings))
    for width in (500, 620, 700, 740, 900, 1120):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OVERLAPS) == []
        assert page.locator(".mlopt-edge span").bounding_box()["height"] < 20  # a line


def test_the_overlap_test_can_fail(bench):
    page = bench.mount(LossSurface())
    page.add_style_tag(content=".mlopt-value { margin-left: -90px }")
    assert "Condition number κ | 10.0" in page.evaluate(OVERLAPS)
