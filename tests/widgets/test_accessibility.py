"""axe-core on every widget, in every state that looks different, light and dark."""

from types import SimpleNamespace

import pytest

from mlopt_edu.widgets import (
    ClusterPlanner,
    LossSurface,
    NoisyDescent,
    NumberFormats,
    OptimizerPlayground,
    Prediction,
    PruningExplorer,
    QuantizationExplorer,
    Quiz,
    ScheduleExplorer,
    ShrinkageExplorer,
    SignalFlow,
    SoftTargets,
    TileExplorer,
)

JUPYTERLAB_DARK = """() => {
  document.body.dataset.jpThemeLight = "false";
  document.body.style.cssText = "--jp-ui-font-color1: #fff; --jp-layout-color1: #111;" +
    "--jp-border-color1: #616161; background: #111; color: #fff;";
}"""


def prediction(committed):
    widget = Prediction("What of `lr`?", ["more", "less"], reveal="It `grows`.")
    if committed:
        widget.choice, widget.committed = "less", True
    return widget


def quiz(passed):
    widget = Quiz(
        "Which `bound`?",
        {"a": "`1/L`", "b": "2/L"},
        lambda key: SimpleNamespace(passed=passed, message="Because `2/L`."),
    )
    if passed is not None:
        widget._handle_custom_msg({"check": "a"}, [])
    return widget


CASES = (
    lambda: LossSurface(),
    lambda: LossSurface(lr=2.3),
    lambda: LossSurface(lr=2.0),
    lambda: LossSurface(unlocked=False),
    lambda: NoisyDescent(),
    lambda: NoisyDescent(lr=2.3),
    lambda: NumberFormats(),
    lambda: NumberFormats(scale_exponent=40),
    lambda: OptimizerPlayground(playing=False, step=30),
    lambda: OptimizerPlayground("net", tuned=False, lr=10, playing=False, step=30),
    lambda: PruningExplorer(),
    lambda: PruningExplorer(pattern="units", amount=1.0),
    lambda: QuantizationExplorer(),
    lambda: QuantizationExplorer(range=0.1, outliers=40, granularity="channel"),
    lambda: ScheduleExplorer(),
    lambda: ScheduleExplorer(schedule="cosine", lr=4.0),
    lambda: ShrinkageExplorer(),
    lambda: ShrinkageExplorer(penalty="l2", strength=1.0),
    lambda: SignalFlow(),
    lambda: SignalFlow(scheme="he"),
    lambda: SoftTargets(),
    lambda: SoftTargets(temperature=20, squared=False),
    lambda: ClusterPlanner(),
    lambda: ClusterPlanner(devices=0, model="530"),
    lambda: TileExplorer(),
    lambda: TileExplorer(group=5, masked=False, program=29),
    lambda: prediction(committed=False),
    lambda: prediction(committed=True),
    lambda: quiz(None),
    lambda: quiz(True),
    lambda: quiz(False),
)


def elements(rules):
    return [(rule["id"], node["html"]) for rule in rules for node in rule["nodes"]]


@pytest.mark.parametrize("theme", ["light", "dark", "JupyterLab Dark"])
def test_axe_finds_nothing(bench, axe, theme):
    page = bench.page
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    if theme == "JupyterLab Dark":
        page.evaluate(JUPYTERLAB_DARK)
    for case in CASES:  # one page: axe also sees that the widgets do not collide
        bench.mount(case(), live=False)
    for details in page.locator("details:visible").all():
        details.evaluate("e => { e.open = true; }")
    report = axe.run(page).response
    assert elements(report["violations"]) == []
    # Contours that reach beyond their clip make axe unsure of every text near them.
    page.add_style_tag(content="svg { display: none }")
    report = axe.run(page, options={"runOnly": ["color-contrast"]}).response
    assert elements(report["violations"]) == []
    unsure = [node for rule in report["incomplete"] for node in rule["nodes"]]
    reasons = {check["data"]["messageKey"] for node in unsure for check in node["any"]}
    assert reasons <= {"shortTextContent"}
    assert len(report["passes"][0]["nodes"]) > 80


def test_axe_would_find_a_fault(bench, axe):
    page = bench.mount(LossSurface())
    page.evaluate("document.querySelector('label').remove()")
    found = axe.run(page).response["violations"]
    assert "label" in [violation["id"] for violation in found]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_in_the_pictures_has_contrast(bench, theme):
    """axe leaves SVG text out: measure it against the paper."""
    page = bench.page
    page.emulate_media(color_scheme=theme)
    bench.mount(LossSurface())
    colours = page.evaluate(
        """() => [...document.querySelectorAll("svg text")].map((t) =>
          [getComputedStyle(t).fill,
           getComputedStyle(document.querySelector(".mlopt-card")).backgroundColor])"""
    )
    assert colours
    for ink, paper in colours:
        assert contrast(ink, paper) >= 4.5


def contrast(one, other):
    def luminance(colour):
        parts = [int(p) / 255 for p in colour[4:-1].split(",")]
        linear = [
            p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
