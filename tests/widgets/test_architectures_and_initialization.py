import itertools

import numpy as np
import pytest
import torch
from traitlets import TraitError

from mlopt_edu.initialization import mean_square
from mlopt_edu.widgets import SignalFlow

FUNCTIONS = {
    "identity": lambda z: z,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
}

# --- the Python side ---------------------------------------------------------------


@pytest.mark.parametrize("name", SignalFlow.RANGES)
def test_ends_of_a_range_are_allowed_and_nothing_beyond(name):
    for end in SignalFlow.RANGES[name]:
        assert getattr(SignalFlow(**{name: end}), name) == end
    low, high = SignalFlow.RANGES[name]
    for beyond in (low - 1, high + 1):
        with pytest.raises(TraitError, match=rf"^{name} must be in \[.*\], got "):
            SignalFlow(**{name: beyond})


def test_unknown_names_are_refused():
    with pytest.raises(TraitError, match=r"activation.*expected any of.*not the str"):
        SignalFlow(activation="softmax")
    with pytest.raises(TraitError, match=r"scheme.*expected any of.*not the str"):
        SignalFlow(scheme="lecun")


# --- the mathematics in JavaScript -------------------------------------------------

SETTINGS = [
    {"depth": 20, "width": 64, "activation": "relu", "scheme": "he", "gain": 1.0},
    {"depth": 7, "width": 32, "activation": "sigmoid", "scheme": "xavier", "gain": 1.5},
    {"depth": 30, "width": 16, "activation": "tanh", "scheme": "one", "gain": 0.7},
    {"depth": 5, "width": 8, "activation": "gelu", "scheme": "torch", "gain": 2.0},
    {"depth": 2, "width": 64, "activation": "identity", "scheme": "small", "gain": 4.0},
    {"depth": 9, "width": 11, "activation": "relu", "scheme": "one", "gain": 0.3},
]


def test_the_flow_is_what_torch_computes_with_the_same_weights(bench):
    page = bench.mount(SignalFlow())
    for settings in SETTINGS:
        flow, std, drawn = page.evaluate(
            """settings => {
              const { inputs, last, weights } = module.draws(settings);
              const lists = [inputs, last, ...weights].map((values) => [...values]);
              return [module.measuredFlow(settings), module.weightStd(settings), lists];
            }""",
            {**settings, "seed": 3},
        )
        shape = -1, settings["width"]
        drawn = [torch.tensor(v, dtype=torch.float64).reshape(shape) for v in drawn]
        inputs, last, *weights = drawn
        outputs = [inputs.requires_grad_()]
        for weight in weights:
            z = outputs[-1] @ (std * weight)
            outputs.append(FUNCTIONS[settings["activation"]](z))
        gradients = torch.autograd.grad(outputs[-1], outputs, grad_outputs=last)
        expected = {
            "signal": [h.std(correction=0).item() for h in outputs],
            "between": [
                h.var(dim=0, correction=0).mean().sqrt().item() for h in outputs
            ],
            "gradient": [g.std(correction=0).item() for g in gradients],
        }
        for name, values in expected.items():
            near = pytest.approx(values, rel=2e-6, abs=0)
            assert flow[name] == near, (name, settings)


def test_the_weights_have_the_variance_they_are_called_by(bench):
    page = bench.mount(SignalFlow())
    linear = torch.nn.Linear(32, 32)
    expected = {"torch": linear.weight.std().item(), "small": 0.01, "one": 1.0}
    torch.nn.init.xavier_normal_(linear.weight)
    expected["xavier"] = linear.weight.std().item()
    torch.nn.init.kaiming_normal_(linear.weight)
    expected["he"] = linear.weight.std().item()
    assert set(expected) == set(SignalFlow.scheme.values)
    settings = {"width": 32, "gain": 2.0, "depth": 20, "seed": 0}
    for scheme, std in expected.items():
        settings["scheme"] = scheme
        seen = page.evaluate("settings => module.weightStd(settings)", settings)
        assert seen == pytest.approx(2 * std, rel=0.1), scheme
    drawn = page.evaluate("s => [...module.draws(s).weights[19]]", settings)
    assert np.std(drawn) == pytest.approx(1, rel=0.1)


CASES = list(itertools.product(FUNCTIONS, (0.4, 1.0, 3.0, 8.0)))


def test_the_prediction_agrees_with_the_library(bench):
    page = bench.mount(SignalFlow())
    for activation, gain in CASES:
        settings = {"activation": activation, "gain": gain, "depth": 4}
        settings["scheme"] = "xavier"
        flow, means = page.evaluate(
            """([settings, phi]) => {
              const flow = module.predictedFlow({ ...settings, width: 9 });
              const mean = (std) => module.expectation(module.ACTIVATIONS[phi][0], std);
              return [flow, [0, 1, 2, 4].map(mean)];
            }""",
            [settings, activation],
        )
        function, square, factor = FUNCTIONS[activation], 1.0, 1.0
        for layer in range(4):
            std = gain * square**0.5  # Xavier: width * Var(w) = gain^2
            square = mean_square(function, std=std)
            mean = gaussian_mean(function, std)
            expected = (square - mean**2) ** 0.5
            assert flow["signal"][layer + 1] == pytest.approx(expected, rel=1e-5)
            factor *= gain**2 * mean_square(function, std=std, derivative=True)
        assert flow["gradient"][0] == pytest.approx(factor**0.5, rel=1e-4)
        expected = [gaussian_mean(function, std) for std in (0, 1, 2, 4)]
        assert means == pytest.approx(expected, rel=1e-5, abs=1e-9)


def gaussian_mean(function, std):
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    density = torch.exp(-(z**2) / 2)
    return (function(std * z) @ density / density.sum()).item()


def test_wide_nets_follow_the_prediction(bench):
    page = bench.mount(SignalFlow(depth=10, width=64, activation="tanh"))
    runs, expected = page.evaluate(
        """() => {
          const seeds = Array.from({ length: 20 }, (_, seed) => seed);
          const run = (seed) => module.measuredFlow({ ...model.state, seed });
          return [seeds.map(run), module.predictedFlow(model.state)];
        }"""
    )
    for name in ("signal", "gradient"):
        measured = np.log([run[name] for run in runs]).mean(axis=0)
        assert measured == pytest.approx(np.log(expected[name]), abs=0.1)


# --- what the learner sees ---------------------------------------------------------


def test_the_words_follow_the_settings(bench):
    page = bench.mount(SignalFlow())  # ReLU after Xavier, 20 layers
    status = page.locator(".mlopt-status")
    assert "Vanishes" in status.inner_text()
    assert "(predicted 0.71)" in status.inner_text()
    page.evaluate("model.set('scheme', 'he')")
    assert "Survives" in status.inner_text()
    page.evaluate("model.set('gain', 1.5)")
    assert "Explodes" in status.inner_text()
    page.evaluate("model.set('gain', 1); model.set('activation', 'sigmoid')")
    assert "the same ones for every example" in status.inner_text()
    page.evaluate("Object.assign(model.state, {width: 8, scheme: 'one', depth: 30})")
    dead = "activation: 'relu', gain: 0.25"
    assert page.evaluate(
        f"""() => Array.from({{ length: 99 }}, (_, seed) => {{
              const settings = {{ ...model.state, {dead}, seed }};
              const seen = module.measuredFlow(settings);
              const expected = module.predictedFlow(settings);
              return module.describeFlow(settings, seen, expected).verdict;
            }}).includes("Dead")"""
    )


EXTREMES = (
    {},
    {"depth": 30, "scheme": "one", "gain": 4.0},
    {"depth": 30, "scheme": "small", "gain": 0.25, "activation": "sigmoid"},
    {"depth": 2, "width": 8, "activation": "identity"},
    {"depth": 30, "width": 8, "scheme": "one", "activation": "gelu", "seed": 999},
)


def test_it_draws_numbers_only_and_cuts_no_label(bench):
    page = bench.mount(SignalFlow())
    for settings in EXTREMES:
        page.evaluate(
            "settings => { for (const n in settings) model.set(n, settings[n]); }",
            settings,
        )
        card = page.locator(".mlopt-card").evaluate("e => e.outerHTML")
        assert not any(bad in card for bad in ("NaN", "undefined", "Infinity"))
        assert bench.has_all_labels()


def test_new_weights_and_reset_by_keyboard(bench):
    page = bench.mount(SignalFlow(depth=12))
    before = page.locator(".mlopt-line-0").first.get_attribute("d")
    page.get_by_role("button", name="New weights").press("Enter")
    assert bench.trait("seed") == 1
    assert page.locator(".mlopt-line-0").first.get_attribute("d") != before
    page.get_by_label("Depth").press("ArrowRight")
    assert bench.trait("depth") == 13
    page.get_by_label("Activation").select_option("tanh")
    assert bench.trait("activation") == "tanh"
    page.get_by_role("button", name="Reset").press("Enter")
    state = [bench.trait(name) for name in ("seed", "depth", "activation")]
    assert state == [0, 12, "relu"]
