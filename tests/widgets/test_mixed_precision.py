import numpy as np
import pytest
import torch
from traitlets import TraitError

from mlopt_edu.widgets import NumberFormats

DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "e5m2": torch.float8_e5m2,
    "e4m3": torch.float8_e4m3fn,
}


def samples(dtype):
    """Numbers all over the range, ties between neighbours, and both edges."""
    info = torch.finfo(dtype)
    generator = torch.Generator().manual_seed(0)
    low, high = np.log2(info.smallest_normal) - 12, np.log2(info.max) + 0.1
    spread = torch.rand(400, generator=generator, dtype=torch.float64)
    some = 2 ** (low + (high - low) * spread)
    near = some[:200].to(dtype).double()
    ties = near * (1 + info.eps / 2)
    smallest = info.smallest_normal * info.eps
    edges = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5], dtype=torch.float64)
    x = torch.cat([some, ties, edges * smallest, torch.tensor([info.max]).double()])
    x = x[x <= torch.finfo(torch.float32).max]
    x = torch.cat([x, -x])
    # torch rounds float64 to 16 bits by way of float32: give both the same numbers.
    return x if dtype == torch.float32 else x.float().double()


# --- the Python side ---------------------------------------------------------------


@pytest.mark.parametrize("name", NumberFormats.RANGES)
def test_ends_of_a_range_are_allowed_and_nothing_beyond(name):
    low, high = NumberFormats.RANGES[name]
    for end in (low, high):
        assert getattr(NumberFormats(**{name: end}), name) == end
    for beyond in (low - 1, high + 1):
        with pytest.raises(TraitError, match=rf"^{name} must be in \[.*\], got "):
            NumberFormats(**{name: beyond})


def test_an_unknown_format_is_refused():
    with pytest.raises(TraitError):
        NumberFormats("fp12")


# --- the mathematics in JavaScript, against torch ----------------------------------


def test_every_format_has_the_limits_that_torch_states(bench):
    page = bench.mount(NumberFormats())
    for name, dtype in DTYPES.items():
        info = torch.finfo(dtype)
        facts = page.evaluate("name => module.formatFacts(name)", name)
        assert facts["largest"] == info.max
        assert 2.0 ** facts["lowest"] == info.smallest_normal
        assert facts["smallest"] == info.smallest_normal * info.eps
        assert page.evaluate("name => module.relativeError(0, name)", name) == (
            info.eps / 2
        )


def test_rounding_is_torchs_rounding(bench):
    page = bench.mount(NumberFormats())
    for name, dtype in DTYPES.items():
        x = samples(dtype)
        ours = page.evaluate(
            """([values, name]) => values.map((x) => {
              const rounded = module.roundTo(x, name);
              return Number.isFinite(rounded) ? rounded : null;
            })""",
            [x.tolist(), name],
        )
        torchs = x.to(dtype).double()
        if name == "e4m3":  # no infinity: torch stops at 448 what is beyond 464
            torchs = torchs.where(x.abs() <= 464, torch.nan)
        expected = [y if np.isfinite(y) else None for y in torchs.tolist()]
        seen = [y if y is None else float(y) for y in ours]
        assert seen == expected, name


def test_shares_are_those_of_torch_and_of_the_normal_law(bench):
    page = bench.mount(NumberFormats())
    settings = {"centre": -22, "width": 4.0}
    for name, scale in (("fp16", 1), ("fp16", 2**20), ("bf16", 1), ("e4m3", 2**16)):
        values, seen = page.evaluate(
            """([settings, scale, name]) => {
              const values = module.gradients(settings);
              return [values, module.shares(values, scale, name)];
            }""",
            [settings, scale, name],
        )
        scaled = torch.tensor(values) * scale
        rounded = scaled.to(DTYPES[name]).float()
        assert seen["lost"] == (rounded == 0).float().mean().item()
        assert seen["over"] == 1 - rounded.isfinite().float().mean().item()
        smallest = torch.finfo(DTYPES[name])
        limit = np.log2(smallest.smallest_normal * smallest.eps / 2)
        z = (limit - np.log2(scale) - settings["centre"]) / settings["width"]
        expected = torch.special.ndtr(torch.tensor(z)).item()
        assert seen["lost"] == pytest.approx(expected, abs=0.02)


def test_the_stair_holds_every_gradient(bench):
    page = bench.mount(NumberFormats())
    stair = page.evaluate("module.octaves([0.25, 1, 1.5, 2, 3.9, 4], -3, 4)")
    assert stair[0] == [-3, 0]
    assert stair[-1] == [4, 0]
    heights = {x: y for x, y in stair[1:-1:2]}  # by the left corner of each octave
    assert {x: round(y, 6) for x, y in heights.items() if y} == {
        -2: 16.666667,
        0: 33.333333,
        1: 33.333333,
        2: 16.666667,
    }


# --- what the learner sees ---------------------------------------------------------


def test_the_words_follow_the_settings(bench):
    page = bench.mount(NumberFormats(centre=-26, width=2.0))
    status = page.locator(".mlopt-status")
    assert "Gradients lost" in status.inner_text()
    page.evaluate("model.set('scale_exponent', 16)")
    assert "They fit" in status.inner_text()
    page.evaluate("model.set('scale_exponent', 40)")
    assert "Overflow" in status.inner_text()
    page.evaluate("model.set('format', 'bf16')")
    assert "They fit" in status.inner_text()
    key = page.locator(".mlopt-key").first.inner_text()
    assert "bf16: 0 % lost, 0 % over" in key


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"format": "fp32", "centre": -60, "width": 10.0, "scale_exponent": 40},
        {"format": "e4m3", "centre": 10, "width": 0.5},
    ],
)
def test_it_draws_numbers_only_and_cuts_no_label(bench, settings):
    page = bench.mount(NumberFormats(**settings))
    card = page.locator(".mlopt-card").evaluate("e => e.outerHTML")
    assert not any(bad in card for bad in ("NaN", "undefined", "Infinity"))
    assert bench.has_all_labels()


def test_keyboard_and_reset(bench):
    page = bench.mount(NumberFormats(scale_exponent=10))
    page.get_by_role("slider", name="Loss scale").press("ArrowRight")
    assert bench.trait("scale_exponent") == 11
    page.get_by_role("slider", name="Median gradient").press("ArrowLeft")
    assert bench.trait("centre") == -23
    page.get_by_role("button", name="Reset").press("Enter")
    assert (bench.trait("scale_exponent"), bench.trait("centre")) == (10, -22)
