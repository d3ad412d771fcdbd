import pytest
import torch
from traitlets import TraitError

from mlopt_edu.quantization import (
    PerChannel,
    PerTensor,
    fake_quantize,
    quantize,
    scale_and_zero_point,
)
from mlopt_edu.widgets import QuantizationExplorer

# --- the Python side ---------------------------------------------------------------


@pytest.mark.parametrize("name", QuantizationExplorer.RANGES)
def test_ends_of_a_range_are_allowed_and_nothing_beyond(name):
    for end in QuantizationExplorer.RANGES[name]:
        assert getattr(QuantizationExplorer(**{name: end}), name) == end
    low, high = QuantizationExplorer.RANGES[name]
    for beyond in (low - 1, high + 1):
        with pytest.raises(TraitError, match=rf"^{name} must be in \[.*\], got "):
            QuantizationExplorer(**{name: beyond})


@pytest.mark.parametrize("name", ["numbers", "scheme", "granularity"])
def test_another_name_is_refused(name):
    with pytest.raises(TraitError, match=name):
        QuantizationExplorer(**{name: "others"})


# --- the mathematics in JavaScript -------------------------------------------------


def measured(page, **settings):
    return page.evaluate(
        """given => {
          const settings = { ...model.state, ...given };
          const channels = module.channelsOf(settings);
          const grids = module.gridsOf(channels, settings.range, settings);
          const codes = channels.map((row, k) =>
            row.map((x) => module.codeOf(x, grids[k])));
          return { channels, grids, codes, found: module.measure(channels, grids) };
        }""",
        settings,
    )


def errors_of_the_library(x, *, bits, share, symmetric, granularity):
    """Return integers, rounding error and clipping error, as shares of the channels."""
    blocks = granularity.blocks(x)
    low = blocks.amin(1, keepdim=True).clamp(max=0)
    high = blocks.amax(1, keepdim=True).clamp(min=0)
    scale, zero = scale_and_zero_point(
        low * share, high * share, bits=bits, symmetric=symmetric
    )
    integers = quantize(blocks, scale, zero, bits=bits, symmetric=symmetric)
    values = fake_quantize(blocks, scale, zero, bits=bits, symmetric=symmetric)
    errors = granularity.join((blocks - values).square(), x.shape)
    is_clipped = granularity.join((blocks - values).abs() > scale / 2 + 1e-12, x.shape)
    power = x.square().sum(1)
    return granularity.join(integers, x.shape), *(
        ((errors * part).sum(1) / power).mean().item()
        for part in (~is_clipped, is_clipped)
    )


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
@pytest.mark.parametrize("numbers", QuantizationExplorer.NUMBERS)
def test_the_integers_and_the_errors_are_those_of_the_library(bench, numbers, bits):
    page = bench.mount(QuantizationExplorer())
    for scheme in QuantizationExplorer.SCHEMES:
        for name, granularity in {
            "tensor": PerTensor(),
            "channel": PerChannel(),
        }.items():
            for share, outliers in ((1.0, 0), (0.62, 12), (0.02, 40)):
                result = measured(
                    page,
                    numbers=numbers,
                    bits=bits,
                    scheme=scheme,
                    granularity=name,
                    range=share,
                    outliers=outliers,
                )
                x = torch.tensor(result["channels"], dtype=torch.float64)
                integers, rounding, clipping = errors_of_the_library(
                    x,
                    bits=bits,
                    share=share,
                    symmetric=scheme == "symmetric",
                    granularity=granularity,
                )
                assert result["codes"] == integers.tolist()
                found = result["found"]
                assert found["rounding"] == pytest.approx(rounding, rel=1e-9)
                assert found["clipping"] == pytest.approx(clipping, rel=1e-9)
                assert found["used"] == [len(row.unique()) for row in integers]


def test_halves_go_to_the_even_integer(bench):
    page = bench.mount(QuantizationExplorer())
    x = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4999, -0.2]
    found = page.evaluate("x => x.map((v) => module.nearest(v) + 0)", x)
    assert found == torch.tensor(x, dtype=torch.float64).round().tolist()


def test_the_numbers_are_what_the_note_says(bench):
    page = bench.mount(QuantizationExplorer())
    x = torch.tensor(measured(page)["channels"], dtype=torch.float64)
    assert x.shape == (4, 256)
    torch.testing.assert_close(
        x.std(1), torch.tensor([1, 0.5, 0.25, 0.1]).double(), rtol=0.1, atol=0
    )
    outer = torch.tensor(measured(page, outliers=20)["channels"], dtype=torch.float64)
    assert sorted(outer[0, :2].tolist()) == [-20, 20]
    assert torch.equal(outer[0, 2:], x[0, 2:])
    assert torch.equal(outer[1:], x[1:])


def test_the_best_range_is_the_best_of_all_that_are_tried(bench):
    page = bench.mount(QuantizationExplorer(outliers=10))
    swept = page.evaluate(
        "() => module.sweep(module.channelsOf(model.state), model.state)"
    )
    shares = [point["share"] for point in swept["points"]]
    assert shares == pytest.approx([step / 50 for step in range(1, 51)])
    assert swept["best"]["total"] == min(point["total"] for point in swept["points"])
    assert swept["best"]["share"] < 1
    here = measured(page, range=swept["best"]["share"])["found"]
    assert here["total"] == pytest.approx(swept["best"]["total"])


# --- what the learner sees ---------------------------------------------------------


def test_it_teaches_what_the_lesson_asks(bench):
    page = bench.mount(QuantizationExplorer())
    settings = {
        "tensor": {},
        "channel": {"granularity": "channel"},
        "one more bit": {"granularity": "channel", "bits": 5},
        "outliers": {"outliers": 20},
        "outliers by channel": {"outliers": 20, "granularity": "channel"},
        "positive": {"numbers": "activations", "granularity": "channel"},
        "positive, affine": {
            "numbers": "activations",
            "granularity": "channel",
            "scheme": "affine",
        },
    }
    totals = {
        name: measured(page, **one)["found"]["total"] ** 0.5
        for name, one in settings.items()
    }
    assert totals["channel"] < totals["tensor"] / 2
    assert totals["one more bit"] == pytest.approx(totals["channel"] / 2, rel=0.15)
    assert totals["outliers"] > totals["tensor"]
    assert totals["outliers by channel"] < totals["outliers"] / 1.5
    ratio = totals["positive"] / totals["positive, affine"]
    assert 1.6 < ratio < 2.2


def test_the_words_follow_the_settings(bench):
    page = bench.mount(QuantizationExplorer(bits=4))
    status = page.locator(".mlopt-status")
    assert "The least error, 31 %, is at 24 % of the range" in status.inner_text()
    page.evaluate("model.set('range', 0.24)")
    assert "As good as it gets" in status.inner_text()
    page.evaluate("model.set('outliers', 40); model.set('range', 1)")
    assert "is lost" in status.inner_text()


@pytest.mark.parametrize(
    "settings",
    [{}, {"outliers": 40, "range": 0.02}, {"numbers": "activations", "bits": 8}],
)
def test_it_draws_numbers_only_and_cuts_no_label(bench, settings):
    page = bench.mount(QuantizationExplorer(**settings))
    card = page.locator(".mlopt-card").evaluate("e => e.outerHTML")
    assert not any(bad in card for bad in ("NaN", "undefined", "Infinity"))
    assert bench.has_all_labels()


def test_the_controls_work_by_keyboard(bench):
    page = bench.mount(QuantizationExplorer(range=0.5))
    marks = page.locator(".mlopt-figure g path.mlopt-number-marks").first
    before = marks.get_attribute("d")
    page.get_by_label("Bits").press("ArrowRight")
    assert bench.trait("bits") == 5
    assert marks.get_attribute("d").count("M") == 31
    page.get_by_label("Range that the grid covers").press("ArrowLeft")
    page.get_by_label("Scales").select_option("channel")
    assert (bench.trait("range"), bench.trait("granularity")) == (0.48, "channel")
    page.get_by_role("button", name="Reset").press("Enter")
    assert (bench.trait("bits"), bench.trait("range")) == (4, 0.5)
    assert marks.get_attribute("d") == before
