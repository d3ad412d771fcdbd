"""Codebooks against scikit-learn and exhaustive search; shared weights against sums."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch import nn
from torch.nn.utils import parametrize

from mlopt_edu.quantization import (
    Codebook,
    kmeans_codebook,
    optimal_codebook,
    quantize_,
    share_weights_,
)


def error(weight, codebook, indices):
    return (weight - codebook[indices.long()]).square().sum().item()


@pytest.mark.parametrize("bits", [1, 2, 3, 5])  # at 5 clusters run empty
def test_against_scikit_learn_from_the_same_start(bits):
    torch.manual_seed(bits)
    weight = torch.randn(40, 50, dtype=torch.double)
    start = np.linspace(weight.min().item(), weight.max().item(), 2**bits)
    theirs = KMeans(
        2**bits, init=start[:, None], n_init=1, max_iter=1000, tol=0, algorithm="lloyd"
    ).fit(weight.reshape(-1, 1).numpy())
    codebook, indices = kmeans_codebook(weight, bits=bits)
    found = error(weight, codebook, indices)
    assert found < 1.1 * theirs.inertia_
    if bits < 5:
        assert found == pytest.approx(theirs.inertia_, rel=1e-6)
        expected = np.sort(theirs.cluster_centers_.ravel())
        np.testing.assert_allclose(codebook.numpy(), expected, rtol=1e-6, atol=1e-9)


def least_by_search(values, clusters):
    values = np.sort(values)
    cuts = itertools.combinations(range(1, len(values)), clusters - 1)
    return min(
        sum(((part - part.mean()) ** 2).sum() for part in np.split(values, list(cut)))
        for cut in cuts
    )


@pytest.mark.parametrize("bits", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_the_optimal_codebook_is_that_of_exhaustive_search(bits, seed):
    values = np.random.default_rng(seed).standard_normal(11)
    weight = torch.from_numpy(values)
    found = error(weight, *optimal_codebook(weight, bits=bits))
    assert found == pytest.approx(least_by_search(values, 2**bits))


@pytest.mark.parametrize(("bits", "factor"), [(1, 1.01), (2, 1.05), (3, 1.2), (4, 1.4)])
def test_lloyd_is_close_to_the_optimum_and_never_below(bits, factor):
    torch.manual_seed(bits)
    weight = torch.randn(600, dtype=torch.double)
    best = error(weight, *optimal_codebook(weight, bits=bits))
    found = error(weight, *kmeans_codebook(weight, bits=bits))
    assert best <= found * (1 + 1e-12)
    assert found < factor * best


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=30),
    st.integers(1, 4),
    st.booleans(),
)
def test_each_weight_takes_its_nearest_value(values, bits, keep_zeros):
    weight = torch.tensor(values)
    codebook, indices = kmeans_codebook(weight, bits=bits, keep_zeros=keep_zeros)
    assert codebook.shape == (2**bits,)
    assert indices.dtype == torch.uint8
    shared = codebook[indices.long()]
    choices = codebook[1:] if keep_zeros else codebook
    distance = (weight[:, None].double() - choices.double()).abs().amin(1)
    is_free = (weight != 0) | torch.tensor(not keep_zeros)
    torch.testing.assert_close(
        (weight.double() - shared.double()).abs()[is_free],
        distance[is_free],
        rtol=0,
        atol=1e-6,
    )
    if keep_zeros:
        assert codebook[0] == 0
        assert (shared[weight == 0] == 0).all()
        assert ((indices == 0) == (weight == 0)).all()


def test_few_different_values_are_kept_exactly():
    weight = torch.tensor([0.1, 0.7, 0.1, -3.3, 0.7, 0.7])
    for bits, keep_zeros in [(2, False), (8, False), (2, True)]:
        codebook, indices = kmeans_codebook(weight, bits=bits, keep_zeros=keep_zeros)
        assert torch.equal(codebook[indices.long()], weight)
    for shape in [(2, 3), (0,)]:
        codebook, indices = kmeans_codebook(torch.zeros(shape), bits=2)
        assert torch.equal(codebook[indices.long()], torch.zeros(shape))


def test_an_empty_cluster_is_filled_again():
    # From even starts at -1, 0 and 1 to 100, the middle ones get nothing.
    weight = torch.cat([torch.linspace(-1, 1, 50), torch.tensor([100.0])]).double()
    codebook, indices = kmeans_codebook(weight, bits=3)
    assert len(indices.unique()) == 8
    assert error(weight, codebook, indices) < 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_type_of_the_weight_is_kept(dtype):
    torch.manual_seed(0)
    codebook, indices = kmeans_codebook(torch.randn(3, 4, 5).to(dtype), bits=3)
    assert codebook.dtype == dtype
    assert indices.shape == (3, 4, 5)


def test_what_is_refused():
    weight = torch.zeros(4)
    for bits in (0, 9):
        with pytest.raises(ValueError, match=r"^bits must lie between 1 and 8, got"):
            kmeans_codebook(weight, bits=bits)
    with pytest.raises(ValueError, match=r"^weight must be finite"):
        kmeans_codebook(torch.tensor([torch.nan]), bits=1)
    with pytest.raises(ValueError, match=r"^rounds must be at least 1, got 0$"):
        kmeans_codebook(weight, bits=1, rounds=0)
    with pytest.raises(ValueError, match=r"^weight must have at most 2048 different"):
        optimal_codebook(torch.arange(2049.0), bits=1)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def test_the_gradient_of_a_value_is_the_sum_over_its_weights():
    model = net()
    share_weights_(model, bits=2)
    plain = net()
    for layer, copied in ((model[0], plain[0]), (model[2], plain[2])):
        copied.weight.data = layer.weight.detach().clone()
    x = torch.randn(5, 6)
    model(x).square().sum().backward()
    plain(x).square().sum().backward()
    for layer, copied in ((model[0], plain[0]), (model[2], plain[2])):
        codebook = layer.parametrizations.weight.original
        indices = layer.parametrizations.weight[0].indices
        assert codebook.shape == (4,)
        expected = [
            copied.weight.grad[indices == value].sum().item() for value in range(4)
        ]
        np.testing.assert_allclose(codebook.grad.tolist(), expected, rtol=1e-4)


def test_any_loop_trains_the_shared_values_and_zeros_stay_zero():
    model = net()
    model[0].weight.data[model[0].weight.abs() < 0.15] = 0
    was_zero = model[0].weight == 0
    assert 0 < was_zero.sum() < 48
    share_weights_(model, bits=3, keep_zeros=True)
    x, y = torch.randn(64, 6), torch.randn(64, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    assert torch.equal(was_zero, model[0].weight == 0)
    assert len(model[0].weight.unique()) <= 8

    # State round trip, deepcopy, and an exact packed form.
    other = net()
    share_weights_(other, bits=3, keep_zeros=True)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x), other(x))
    packed = copy.deepcopy(model)
    quantize_(packed, Codebook(bits=3, keep_zeros=True))
    assert torch.equal(model[0].weight, packed[0].weight)
    parametrize.remove_parametrizations(other[0], "weight")
    assert torch.equal(model[0].weight, other[0].weight)


def test_sharing_changes_the_weights_to_their_means_only():
    model, before = net(), net()
    share_weights_(model, bits=4)
    for layer, old in ((model[0], before[0]), (model[2], before[2])):
        codebook, indices = kmeans_codebook(old.weight, bits=4)
        torch.testing.assert_close(layer.weight, codebook[indices.long()])
        assert torch.equal(layer.bias, old.bias)


def test_sharing_in_a_deep_copy_leaves_the_masked_original():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5))
    parametrize.register_parametrization(model[0], "weight", nn.ReLU())
    before = model[0].weight.clone()
    other = copy.deepcopy(model)
    share_weights_(other, bits=8)
    assert torch.equal(before, model[0].weight)
    assert torch.equal(before, other[0].weight)


def test_sharing_refuses_without_a_change():
    model = net()
    with pytest.raises(ValueError, match=r"^filter_fn must choose at least 1 layer"):
        share_weights_(model, filter_fn=lambda name, module: False)
    with pytest.raises(ValueError, match=r"^layer '1' must have a weight to share"):
        share_weights_(model, filter_fn=lambda name, module: name in ("0", "1"))
    assert not parametrize.is_parametrized(model[0])
