import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from traitlets import TraitError

from mlopt_edu.pruning import (
    keep_largest,
    keep_largest_global,
    magnitude_scores,
    n_m_mask,
)
from mlopt_edu.pruning.sparse import bitmask_bytes, csr_bytes
from mlopt_edu.widgets import PruningExplorer
from mlopt_edu.widgets.pruning import PATTERNS

SHAPES = ((12, 2), (12, 12), (1, 12))

# --- the Python side ---------------------------------------------------------------


@pytest.mark.parametrize("name", PruningExplorer.RANGES)
def test_ends_of_a_range_are_allowed_and_nothing_beyond(name):
    for end in PruningExplorer.RANGES[name]:
        assert getattr(PruningExplorer(**{name: end}), name) == end
    low, high = PruningExplorer.RANGES[name]
    for beyond in (low - 1, high + 1):
        with pytest.raises(TraitError, match=rf"^{name} must be in \[.*\], got "):
            PruningExplorer(**{name: beyond})


def test_another_pattern_is_refused():
    with pytest.raises(TraitError, match="pattern"):
        PruningExplorer(pattern="rows")


# --- the mathematics in JavaScript -------------------------------------------------


def tensors(net):
    return tuple(
        [torch.tensor(layer[name], dtype=torch.float64) for layer in net]
        for name in ("weight", "bias")
    )


def pruned(page, **settings):
    return page.evaluate(
        """settings => {
          const { dense, mask, net } = module.pruneNet({ ...model.state, ...settings });
          return { dense, mask, net, bytes: module.bytesOf(net, mask) };
        }""",
        settings,
    )


def torch_logits(weights, biases, x):
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = torch.tanh(x) if k else x
        x = x @ weight.T + bias
    return x[:, 0]


def test_the_gradient_is_that_of_torch(bench):
    page = bench.mount(PruningExplorer())
    points, net, found = page.evaluate(
        """() => {
          const net = module.startNet(3);
          return [module.POINTS, net, module.lossOf(net)];
        }"""
    )
    weights, biases = tensors(net)
    leaves = [t.requires_grad_() for t in (*weights, *biases)]
    x = torch.tensor([[p["x"], p["y"]] for p in points], dtype=torch.float64)
    target = torch.tensor([p["moon"] for p in points], dtype=torch.float64)
    loss = binary_cross_entropy_with_logits(torch_logits(weights, biases, x), target)
    grads = torch.autograd.grad(loss, leaves)
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-9)
    expected = [*tensors(found["gradient"])[0], *tensors(found["gradient"])[1]]
    for ours, theirs in zip(expected, grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("amount", [0.0, 0.3, 0.5, 0.86, 1.0])
def test_the_masks_are_those_of_the_library(bench, amount):
    page = bench.mount(PruningExplorer())
    results = {p: pruned(page, pattern=p, amount=amount) for p in PATTERNS}
    scores = [
        magnitude_scores(weight) for weight in tensors(results["any"]["dense"])[0]
    ]

    def mask(pattern):
        layers = results[pattern]["mask"]
        return [torch.tensor(layer["weight"]) for layer in layers]

    expected = {
        "global": keep_largest_global(scores, amount),
        "layers": [keep_largest(score, amount) for score in scores],
        # Two inputs are no four neighbours: the first layer stays.
        "n:4": [torch.ones(12, 2, dtype=torch.bool)]
        + [n_m_mask(s, n=4 - int(np.floor(4 * amount + 0.5))) for s in scores[1:]],
    }
    for pattern, masks in expected.items():
        for ours, theirs in zip(mask(pattern), masks, strict=True):
            assert torch.equal(ours, theirs)
    gone = 180 - sum(int(m.sum()) for m in mask("any"))
    assert gone == round(amount * 180)


def test_units_go_with_all_their_weights_and_one_stays(bench):
    page = bench.mount(PruningExplorer())
    first, second, last = (
        torch.tensor(layer["weight"])
        for layer in pruned(page, pattern="units", amount=0.5)["mask"]
    )
    into, out = first.any(dim=1), last[0]
    assert into.sum() == out.sum() == 6
    assert torch.equal(first, into[:, None].expand(12, 2))
    assert torch.equal(second, out[:, None] & into)
    dense, _ = tensors(pruned(page, pattern="units", amount=0.5)["dense"])
    norms = dense[0].square().sum(dim=1) + dense[1].square().sum(dim=0)
    assert set(norms.topk(6).indices.tolist()) == set(into.nonzero()[:, 0].tolist())
    everything = pruned(page, pattern="units", amount=1.0)["mask"]
    assert [sum(layer["bias"]) for layer in everything] == [1, 1, 1]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_fine_tuning_keeps_the_mask_and_lowers_the_loss(bench, pattern):
    page = bench.mount(PruningExplorer())
    before = pruned(page, pattern=pattern, amount=0.7)
    after = pruned(page, pattern=pattern, amount=0.7, fine_tuning=True)
    assert after["mask"] == before["mask"]
    for layer, mask in zip(after["net"], after["mask"], strict=True):
        weight, keep = torch.tensor(layer["weight"]), torch.tensor(mask["weight"])
        assert torch.equal(weight != 0, keep)
    losses = [
        page.evaluate("net => module.lossOf(net).loss", one["net"])
        for one in (before, after)
    ]
    assert losses[1] < losses[0]


def test_the_bytes_are_those_of_the_library(bench):
    page = bench.mount(PruningExplorer())
    for settings in ({"amount": 0.8}, {"amount": 0.5, "pattern": "units"}):
        result = pruned(page, **settings)
        counts = [int(np.sum(layer["weight"])) for layer in result["mask"]]
        both = list(zip(counts, SHAPES, strict=True))
        assert result["bytes"]["left"] == sum(counts)
        assert result["bytes"]["csr"] == sum(csr_bytes(n, shape) for n, shape in both)
        assert result["bytes"]["bitmask"] == sum(bitmask_bytes(*one) for one in both)
        assert result["bytes"]["dense"] == 720
    assert result["bytes"]["cut"] == 4 * (6 * 2 + 6 * 6 + 6)


def test_the_nets_learn_and_a_seed_is_a_net(bench):
    page = bench.mount(PruningExplorer())
    shares = page.evaluate(
        "[0, 1, 2, 3].map(seed => module.accuracyOf(module.trainedNet(seed)))"
    )
    assert min(shares) >= 0.95
    ends = page.evaluate("[5, 5, 6].map(seed => module.startNet(seed)[2].weight[0][0])")
    assert ends[0] == ends[1] != ends[2]


# --- what the learner sees ---------------------------------------------------------


def test_the_words_follow_the_settings(bench):
    page = bench.mount(PruningExplorer(amount=0.3))
    status = page.locator(".mlopt-status")
    assert "As good as before" in status.inner_text()
    assert "126 of 180 weights" in status.inner_text()
    page.evaluate("model.set('amount', 1)")
    assert "Broken" in status.inner_text()
    page.evaluate("model.set('pattern', 'units')")
    assert "with no format at all" in status.inner_text()


@pytest.mark.parametrize(
    "settings",
    [{}, {"amount": 1.0}, {"amount": 0.0}, {"pattern": "units", "fine_tuning": True}],
)
def test_it_draws_numbers_only_and_cuts_no_label(bench, settings):
    page = bench.mount(PruningExplorer(**settings))
    card = page.locator(".mlopt-card").evaluate("e => e.outerHTML")
    assert not any(bad in card for bad in ("NaN", "undefined", "Infinity"))
    assert bench.has_all_labels()


def test_the_controls_work_by_keyboard(bench):
    page = bench.mount(PruningExplorer(amount=0.5))
    crosses = page.locator("path.mlopt-weight-pruned").first
    before = crosses.get_attribute("d")
    page.get_by_label("Amount that goes").press("ArrowRight")
    assert bench.trait("amount") == 0.52
    assert len(crosses.get_attribute("d")) > len(before)
    page.get_by_label("Fine-tuning").press("Space")
    page.get_by_role("button", name="Other weights").press("Enter")
    assert (bench.trait("fine_tuning"), bench.trait("seed")) == (True, 1)
    page.get_by_role("button", name="Reset").press("Enter")
    assert (bench.trait("amount"), bench.trait("seed")) == (0.5, 0)
    assert crosses.get_attribute("d") == before
