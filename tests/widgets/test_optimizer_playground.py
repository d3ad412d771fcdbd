"""OptimizerPlayground in the browser: what is drawn, and when."""

import numpy as np
import pytest

from mlopt_edu.widgets import OptimizerPlayground
from mlopt_edu.widgets.adaptive_rates import OPTIMIZERS, SURFACES
from tests.widgets.test_gradient_descent import OVERLAPS

# --- paths -------------------------------------------------------------------------

TICKS_AND_ENDS = """() => {
  const svg = document.querySelector("svg");
  const ticks = (anchor, axis) =>
    [...svg.querySelectorAll(`g:not([style*=none]) > text[text-anchor=${anchor}]`)]
      .map((t) => [+t.getAttribute(axis), +t.textContent.replace("−", "-")]);
  const lines = [...svg.querySelectorAll(".mlopt-line")].slice(0, 5);
  const ends = lines.map((line) =>
    line.getAttribute("d").split(/[ML]/).at(-1).split(" ").map(Number));
  return [ticks("middle", "x"), ticks("end", "y"), ends];
}"""


@pytest.mark.parametrize("surface", ["turned_ravine", "beale"])
def test_the_drawn_paths_end_where_the_runs_are(bench, surface):
    page = bench.mount(OptimizerPlayground(surface, playing=False, step=25))
    across, up, ends = page.evaluate(TICKS_AND_ENDS)
    x = np.polynomial.Polynomial.fit(*np.array(across).T, 1)
    y = np.polynomial.Polynomial.fit(*(np.array(up) - [5, 0]).T, 1)
    expected = page.evaluate(
        """surface => Object.entries(module.SURFACES[surface].lrs).slice(0, 5)
             .map(([name, lr]) => [...module.advance(module.startRun(surface, name,
               {...module.TUNED_AT, lr}), 25).points[25]])""",
        surface,
    )
    np.testing.assert_allclose([[x(a), y(b)] for a, b in ends], expected, atol=2e-3)


# --- time --------------------------------------------------------------------------


# Observers of visibility are told in order: after this one the widget's has been.
SEEN_OR_NOT = """new Promise((done) => new IntersectionObserver(done).observe(
  document.querySelector(".mlopt-panels")))"""


def shown(page):
    control = page.locator(".mlopt-control", has_text="Steps done")
    return int(control.locator(".mlopt-value").text_content().split()[0])


def mount_with_still_clock(bench, **settings):
    bench.page.clock.install(time=0)
    bench.page.clock.pause_at(1000)
    return bench.mount(OptimizerPlayground(**settings))


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def test_it_plays_pauses_steps_and_restarts(own_bench):
    page = mount_with_still_clock(own_bench, speed=64)
    page.evaluate(
        """() => {
          window.spoken = 0;
          const changed = ({ type, target, attributeName, oldValue }) =>
            type !== "attributes" || target.getAttribute(attributeName) !== oldValue;
          const count = (records) => (spoken += records.filter(changed).length);
          const status = document.querySelector(".mlopt-status");
          new MutationObserver(count).observe(status,
            { childList: true, characterData: true, subtree: true });
          new MutationObserver(count).observe(el, { attributeOldValue: true,
            attributeFilter: ["aria-label", "aria-valuetext"], subtree: true });
        }"""
    )
    page.clock.run_for(1000)
    assert 55 <= shown(page) <= 66
    assert page.evaluate("spoken") == 0
    assert own_bench.trait("step") == 0  # the model hears of pauses only
    button(page, "Pause").press("Enter")
    at = shown(page)
    assert page.evaluate("spoken") > 0
    assert (own_bench.trait("step"), own_bench.trait("playing")) == (at, False)
    assert f"After {at} steps" in page.locator(".mlopt-status").inner_text()
    page.clock.run_for(1000)
    assert shown(page) == at
    button(page, "Step").press("Enter")
    assert shown(page) == at + 1
    button(page, "Play").press("Enter")
    page.clock.run_for(500)
    assert shown(page) > at + 20
    button(page, "Restart").press("Enter")
    assert shown(page) == 0
    page.evaluate("model.set('speed', 256)")
    page.clock.run_for(1800)
    assert (shown(page), own_bench.trait("playing")) == (400, False)  # the end pauses
    button(page, "Play").press("Enter")  # and from there it begins anew
    page.clock.run_for(500)
    assert 100 <= shown(page) <= 128


def test_a_removed_hidden_or_locked_view_rests(own_bench):
    page = mount_with_still_clock(own_bench, unlocked=False)
    page.clock.run_for(1000)
    assert shown(page) == 0
    page.evaluate("model.set('unlocked', true)")
    page.clock.run_for(1000)
    assert shown(page) > 20
    page.evaluate("el.style.display = 'none'")
    page.evaluate(SEEN_OR_NOT)
    at = shown(page)
    page.clock.run_for(1000)
    assert shown(page) == at
    page.evaluate("el.style.display = ''")
    page.evaluate(SEEN_OR_NOT)
    page.clock.run_for(1000)
    assert shown(page) > at + 20
    page.evaluate("cleanup()")
    at = shown(page)
    page.evaluate("model.set('surface', 'net'); model.set('playing', false)")
    page.evaluate("model.set('playing', true)")
    page.clock.run_for(1000)
    assert shown(page) == at


def test_reduced_motion_jumps_to_the_end_and_runs_nothing(own_bench):
    own_bench.page.emulate_media(reduced_motion="reduce")
    page = mount_with_still_clock(own_bench)
    page.clock.run_for(100)
    assert (shown(page), own_bench.trait("playing")) == (400, False)
    button(page, "Restart").click()
    page.clock.run_for(1000)
    assert shown(page) == 0
    button(page, "Step").click()
    assert shown(page) == 1
    button(page, "Play").click()
    page.clock.run_for(100)
    assert shown(page) == 400


# --- the picture and the controls --------------------------------------------------


def drawn(page):
    return page.eval_on_selector_all(
        ".mlopt-panels .mlopt-figure > svg .mlopt-line",
        "all => all.map((path) => path.getAttribute('d'))",
    )


def test_switches_sliders_and_reset_by_keyboard(bench):
    page = bench.mount(OptimizerPlayground(playing=False, step=40))
    paths = drawn(page)
    assert [bool(d) for d in paths] == 2 * [True, True, True, True, True, False, False]
    page.get_by_role("checkbox", name="Lion").press("Space")
    page.get_by_role("checkbox", name="SGD").press("Space")
    assert bench.trait("optimizers") == [
        "momentum", "adagrad", "rmsprop", "adam", "lion",
    ]  # fmt: skip
    assert page.get_by_label("One lr for all").is_disabled()
    before = bench.trait("beta1")
    page.get_by_label("Momentum, β₁").press("ArrowLeft")
    assert bench.trait("beta1") < before
    page.get_by_label("Best lr for each").press("Space")
    page.get_by_label("One lr for all").press("End")
    assert bench.trait("lr") == 10
    ids = page.eval_on_selector_all("[id]", "all => all.map((e) => e.id)")
    assert len(ids) == len(set(ids))
    assert "lost at" in page.locator(".mlopt-run", has_text="Momentum").inner_text()
    assert "✗ Momentum diverged" in page.locator(".mlopt-status").inner_text()
    for label, name in (
        ("Average of squares, β₂", "beta2"),
        ("ε", "eps"),
        ("Speed", "speed"),
        ("Steps done", "step"),
    ):
        for key, end in zip(
            ("Home", "End"), OptimizerPlayground.RANGES[name], strict=True
        ):
            page.get_by_label(label).press(key)
            assert bench.trait(name) == pytest.approx(end, rel=1e-9)
    page.get_by_label("Surface").select_option("net")
    assert "where each net is undecided" in page.locator("svg").first.get_attribute(
        "aria-label"
    )
    button(page, "Reset").press("Enter")
    assert bench.trait("optimizers") == [
        "sgd",
        "momentum",
        "adagrad",
        "rmsprop",
        "adam",
    ]
    assert (bench.trait("surface"), bench.trait("step")) == ("ravine", 40)
    assert drawn(page) == paths


def test_extremes_draw_numbers_only_and_nothing_overlaps(bench):
    widget = OptimizerPlayground("ravine", OPTIMIZERS, tuned=False, playing=False)
    page = bench.mount(widget)
    for surface in SURFACES:
        for settings in (
            {"lr": 10, "beta1": 0.99, "beta2": 0, "eps": 1e-10, "step": 400},
            {"lr": 1e-4, "beta1": 0, "beta2": 0.9999, "eps": 1, "step": 1},
            {"lr": 0.3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "step": 400},
        ):
            page.evaluate(
                "all => { for (const name in all) model.set(name, all[name]); }",
                {"surface": surface, **settings},
            )
            card = page.locator(".mlopt-card").evaluate("e => e.outerHTML")
            for bad in ("NaN", "undefined", "Infinity", "null"):
                assert bad not in card, (surface, settings)
        page.evaluate("model.set('tuned', true)")
        for width in (500, 760, 1040):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            overlaps = OVERLAPS.replace(".mlopt-edge span", ".mlopt-run > *")
            assert page.evaluate(overlaps) == [], (surface, width)
        page.evaluate("model.set('tuned', false)")
