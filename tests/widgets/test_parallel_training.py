import pytest
from traitlets import TraitError

from mlopt_edu.parallel import Cluster, Link, Plan, best_plan, gpt, step_cost
from mlopt_edu.widgets import ClusterPlanner

SETTINGS = [
    {},
    {"devices": 0, "model": "1.7", "batch": 4},
    {"devices": 10, "model": "175", "batch": 11, "bandwidth": 2.0},
    {"devices": 14, "model": "530", "batch": 13, "bandwidth": 100.0},
    {"devices": 3, "model": "39", "batch": 6, "bandwidth": 0.1},
]
PLANS = [
    Plan(),
    Plan(data=4, zero=3, micro_batch=2, recompute=True),
    Plan(data=2, tensor=4, pipeline=3, zero=1),
    Plan(data=16, tensor=8, pipeline=12, zero=2, micro_batch=4),
]
PARTS = {
    "compute": "compute",
    "bubble": "bubble",
    "tensor": "tensor",
    "hand_over": "handOver",
    "data": "data",
    "state_bytes": "state",
    "activation_bytes": "activations",
    "seconds": "seconds",
    "memory": "memory",
}


def cluster(bandwidth):
    return Cluster(
        flops=165e12,
        memory=80e9,
        inside=Link(1e-5, 240e9),
        between=Link(1e-5, bandwidth * 1e9),
    )


def model(name):
    layers, hidden, heads = ClusterPlanner.MODELS[name]
    return gpt(layers=layers, hidden=hidden, heads=heads)


def in_browser(plan):
    names = {"micro_batch": "micro"}
    fields = ("data", "tensor", "pipeline", "zero", "micro_batch", "recompute")
    return {names.get(name, name): getattr(plan, name) for name in fields}


def same(cost, found):
    expected = {PARTS[name]: getattr(cost, name) for name in PARTS}
    return pytest.approx(expected, rel=1e-12) == found


# --- the Python side ---------------------------------------------------------------


@pytest.mark.parametrize("name", ClusterPlanner.RANGES)
def test_ends_of_a_range_are_allowed_and_nothing_beyond(name):
    low, high = ClusterPlanner.RANGES[name]
    for end in (low, high):
        assert getattr(ClusterPlanner(**{name: end}), name) == end
    for beyond in (low - 1, high + 1):
        with pytest.raises(TraitError, match=rf"^{name} must be in \[.*\], got "):
            ClusterPlanner(**{name: beyond})


@pytest.mark.parametrize("settings", [{"model": "2"}, {"split": "none"}])
def test_what_is_no_choice_is_refused(settings):
    with pytest.raises(TraitError, match=next(iter(settings))):
        ClusterPlanner(**settings)


# --- the mathematics in JavaScript -------------------------------------------------


def test_the_models_are_those_of_the_library(bench):
    page = bench.mount(ClusterPlanner())
    for name, shape in ClusterPlanner.MODELS.items():
        expected = model(name)
        found = page.evaluate("shape => module.gpt(shape)", shape)
        values = ("parameters", "layers", "forward_flops", "boundary_bytes")
        values += ("whole_bytes", "split_bytes")
        assert list(found.values()) == [
            pytest.approx(getattr(expected, value), rel=1e-12) for value in values
        ]


@pytest.mark.parametrize("plan", PLANS)
def test_a_step_costs_what_the_library_says(bench, plan):
    page = bench.mount(ClusterPlanner())
    found = page.evaluate(
        """([shape, plan]) => module.stepCost(
             module.gpt(shape), { latency: 1e-5, bandwidth: 2e10 }, plan, 256)""",
        [ClusterPlanner.MODELS["39"], in_browser(plan)],
    )
    assert same(step_cost(model("39"), cluster(20), plan, batch=256), found)


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_best_split_is_that_of_the_library(bench, settings):
    widget = ClusterPlanner(**settings)
    page = bench.mount(widget)
    state = {name: getattr(widget, name) for name in (*widget.RANGES, "model")}
    found = page.evaluate("s => module.planned(s)", state)
    expected = best_plan(
        model(widget.model),
        cluster(widget.bandwidth),
        devices=2**widget.devices,
        batch=2**widget.batch,
    )
    if expected is None:
        assert found["all"] is None
        return
    assert found["all"]["plan"] == in_browser(expected[0])
    assert same(expected[1], found["all"]["cost"])


def test_what_is_missing_is_named(bench):
    page = bench.mount(ClusterPlanner(devices=12, model="175", batch=11))
    rows = page.locator(".mlopt-stack").first
    assert rows.get_by_text("too few samples").count() == 1  # data alone
    page.evaluate("model.set('devices', 0)")
    assert rows.get_by_text("too little memory").count() == 4
    found = page.evaluate(
        """shape => ["all", "data", "tensor", "pipeline"].map((kind) =>
             module.leastReplicas(module.gpt(shape), 4096, kind))""",
        ClusterPlanner.MODELS["175"],
    )
    assert found == [16, 4096, 512, 128]


def test_each_kind_of_split_uses_what_it_may_and_none_beats_all(bench):
    page = bench.mount(ClusterPlanner())
    state = {"model": "7.5", "devices": 7, "batch": 9, "bandwidth": 5}
    best = page.evaluate("s => module.planned(s)", state)
    plans = {kind: found["plan"] for kind, found in best.items()}
    assert plans["data"]["tensor"] == plans["data"]["pipeline"] == 1
    assert plans["tensor"]["pipeline"] == plans["pipeline"]["tensor"] == 1
    fastest = min(found["cost"]["seconds"] for found in best.values())
    assert fastest == best["all"]["cost"]["seconds"]
    assert all(found["cost"]["memory"] <= 80e9 for found in best.values())


# --- what the learner sees ---------------------------------------------------------


def test_the_words_follow_the_settings(bench):
    page = bench.mount(ClusterPlanner(devices=0, model="1.7", batch=6))
    status = page.locator(".mlopt-status")
    assert "1 replicas × 1 tensor × 1 stages" in status.inner_text()
    assert "Hardly anything waits" in status.inner_text()
    page.evaluate("model.set('model', '530')")
    assert "Nothing fits" in status.inner_text()
    page.evaluate("model.set('devices', 12); model.set('batch', 11)")
    assert "Best:" in status.inner_text()
    page.evaluate("model.set('split', 'data')")
    assert "Nothing fits" in status.inner_text()
    assert "What fits: tensor, pipeline and data" in status.inner_text()


@pytest.mark.parametrize("settings", [*SETTINGS, {"devices": 0, "model": "530"}])
def test_it_draws_numbers_only_and_cuts_no_label(bench, settings):
    page = bench.mount(ClusterPlanner(**settings))
    card = page.locator(".mlopt-card").evaluate("e => e.outerHTML")
    assert not any(bad in card for bad in ("NaN", "undefined", "Infinity"))
    assert bench.has_all_labels()


def test_the_controls_work_by_keyboard(bench):
    page = bench.mount(ClusterPlanner())
    bar = page.locator("rect.mlopt-part-compute").first
    before = bar.get_attribute("width")
    for _ in range(3):
        page.get_by_role("slider", name="Devices").press("ArrowRight")
    page.get_by_role("slider", name="Bandwidth").press("ArrowLeft")
    assert bench.trait("devices") == 9
    assert bench.trait("bandwidth") < 20
    assert bar.get_attribute("width") != before
    page.get_by_label("What may be cut").select_option("data")
    assert bench.trait("split") == "data"
    page.get_by_role("button", name="Reset").press("Enter")
    assert (bench.trait("devices"), bench.trait("split")) == (6, "all")
    assert bar.get_attribute("width") == before
