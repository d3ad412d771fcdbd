"""`prune_` and its methods on models: who is masked, how long, and what is refused."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils import prune as torch_prune

from mlopt_edu.models import CharGPT, SmallCNN, mlp
from mlopt_edu.pruning import (
    NM,
    Magnitude,
    Movement,
    Random,
    Snip,
    Taylor,
    Wanda,
    cubic_sparsity,
    is_prunable,
    keep_largest,
    keep_largest_global,
    keep_largest_per_row,
    make_permanent_,
    masks_of,
    n_m_mask,
    prune_,
    rewind_,
    sensitivity,
    snip_scores,
    sparsity,
    taylor_scores,
    wanda_scores,
)

X = torch.randn(16, 12, generator=torch.Generator().manual_seed(7))
Y = torch.randint(4, (16,), generator=torch.Generator().manual_seed(8))


def net(seed=0):
    return mlp([12, 8, 4], generator=torch.Generator().manual_seed(seed))


def loss(model):
    return functional.cross_entropy(model(X), Y)


def losses(model):
    return functional.cross_entropy(model(X), Y, reduction="none")


METHODS = {
    "magnitude": lambda amount: Magnitude(amount=amount),
    "magnitude per layer": lambda amount: Magnitude(amount=amount, per_layer=True),
    "random": lambda amount: Random(
        amount=amount, generator=torch.Generator().manual_seed(3)
    ),
    "snip": lambda amount: Snip(amount=amount, loss=loss),
    "taylor": lambda amount: Taylor(amount=amount, loss=losses, per_layer=True),
    "wanda": lambda amount: Wanda(amount=amount, inputs=[X, (X,)]),
    "movement": lambda amount: Movement(amount=amount),
    "2:4": lambda amount: NM(),
    "1:4 by wanda": lambda amount: NM(n=1, inputs=[X]),
}
every_method = pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
with_masks = pytest.mark.parametrize(
    "make",
    [make for name, make in METHODS.items() if name != "movement"],
    ids=[name for name in METHODS if name != "movement"],
)


def weights_of(model):
    return [model[0].weight.detach().clone(), model[2].weight.detach().clone()]


def kept(model):
    return [masks_of(model)["0.weight"], masks_of(model)["2.weight"]]


def step_(model, optimizer):
    optimizer.zero_grad()
    loss(model).backward()
    optimizer.step()


# What each method takes ------------------------------------------------------------


def test_magnitude_takes_the_smallest_of_all_or_of_each_layer():
    model, alone = net(), net()
    weights = weights_of(model)
    prune_(model, Magnitude(amount=0.6))
    expected = keep_largest_global([w.abs() for w in weights], 0.6)
    assert all(map(torch.equal, expected, kept(model)))
    prune_(alone, Magnitude(amount=0.6, per_layer=True))
    assert all(
        map(torch.equal, [keep_largest(w.abs(), 0.6) for w in weights], kept(alone))
    )
    for layer, weight, mask in zip(
        (model[0], model[2]), weights, expected, strict=True
    ):
        assert torch.equal(torch.where(mask, weight, 0), layer.weight)


def test_torch_prunes_to_the_same_model():
    ours, theirs = net(), net()
    prune_(ours, Magnitude(amount=0.7))
    torch_prune.global_unstructured(
        [(theirs[0], "weight"), (theirs[2], "weight")],
        pruning_method=torch_prune.L1Unstructured,
        amount=0.7,
    )
    assert torch.equal(theirs(X), ours(X))


def test_snip_and_taylor_take_their_scores():
    reference = net()
    each = losses(reference)
    weights = [reference[0].weight, reference[2].weight]
    grads = [torch.autograd.grad(one, weights, retain_graph=True) for one in each]
    mean = torch.autograd.grad(each.mean(), weights)
    snip = [snip_scores(w.detach(), g) for w, g in zip(weights, mean, strict=True)]
    taylor = [
        taylor_scores(w.detach(), torch.stack(g))
        for w, g in zip(weights, zip(*grads, strict=True), strict=True)
    ]
    by_snip, by_taylor = net(), net()
    prune_(by_snip, Snip(amount=0.5, loss=loss))
    prune_(by_taylor, Taylor(amount=0.5, loss=losses))
    assert all(map(torch.equal, keep_largest_global(snip, 0.5), kept(by_snip)))
    assert all(map(torch.equal, keep_largest_global(taylor, 0.5), kept(by_taylor)))


def test_wanda_takes_the_lowest_of_each_row_by_its_inputs():
    model = net()
    hidden = torch.relu(functional.linear(X, model[0].weight, model[0].bias)).detach()
    weights = weights_of(model)
    prune_(model, Wanda(amount=0.25, inputs=[X[:5], (X[5:],)]))
    expected = [
        keep_largest_per_row(wanda_scores(w, x.norm(dim=0)), 0.25)
        for w, x in zip(weights, (X, hidden), strict=True)
    ]
    assert all(map(torch.equal, expected, kept(model)))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"dilation": 2, "padding": "same", "padding_mode": "circular"},
        {"groups": 2, "padding": (2, 0)},
    ],
)
def test_wanda_sees_what_a_convolution_slides_over(options):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, **options, dtype=torch.double)
    x = torch.randn(5, 4, 9, 8, dtype=torch.double)
    # Linear in each weight: what a weight alone gives has norm |w| * input norm.
    norms = torch.empty_like(layer.weight)
    for place in torch.cartesian_prod(*map(torch.arange, layer.weight.shape)):
        single = torch.zeros_like(layer.weight)
        single[tuple(place)] = 1
        norms[tuple(place)] = layer._conv_forward(x, single, None).norm()
    expected = keep_largest_per_row(wanda_scores(layer.weight.detach(), norms), 0.5)
    model = nn.Sequential(layer)
    prune_(model, Wanda(amount=0.5, inputs=[x[:2], x[2:]]))
    assert torch.equal(expected, masks_of(model)["0.weight"])


def test_two_of_four_along_the_inputs():
    model, conv = net(), nn.Sequential(nn.ConvTranspose2d(4, 3, 2))
    weights = weights_of(model)
    prune_(model, NM())
    assert all(map(torch.equal, [n_m_mask(w.abs()) for w in weights], kept(model)))
    expected = n_m_mask(conv[0].weight.detach().abs(), dim=0)
    prune_(conv, NM())
    assert torch.equal(expected, masks_of(conv)["0.weight"])


def test_random_follows_its_generator():
    def masks(seed):
        model = net()
        generator = torch.Generator().manual_seed(seed)
        prune_(model, Random(amount=0.5, generator=generator))
        return torch.cat([mask.flatten() for mask in kept(model)])

    assert torch.equal(masks(1), masks(1))
    assert not torch.equal(masks(1), masks(2))
    assert int(masks(1).sum()) == 64


# The life of a mask ----------------------------------------------------------------


@every_method
def test_biases_are_left_alone_and_the_rest_is_zero(make):
    model = net()
    biases = [model[0].bias.clone(), model[2].bias.clone()]
    prune_(model, make(0.5))
    assert all(map(torch.equal, biases, [model[0].bias, model[2].bias]))
    for layer, mask in zip((model[0], model[2]), kept(model), strict=True):
        assert torch.equal(mask, layer.weight != 0)


@with_masks
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda params: torch.optim.SGD(params, 0.5, momentum=0.9, weight_decay=0.1),
        lambda params: torch.optim.AdamW(params, 0.1, weight_decay=0.5),
    ],
    ids=["SGD with momentum and decay", "AdamW"],
)
def test_zeros_stay_zero_through_training_with_an_optimizer_made_before(
    make, optimizer
):
    model = net()
    optimizer = optimizer(model.parameters())
    for _ in range(3):
        step_(model, optimizer)
    prune_(model, make(0.5))
    masks, before = kept(model), loss(model).item()
    for _ in range(10):
        step_(model, optimizer)
    for layer, mask in zip((model[0], model[2]), masks, strict=True):
        assert (layer.weight[~mask] == 0).all()
        assert (layer.weight[mask] != 0).all()
    assert loss(model).item() < before
    make_permanent_(model)
    assert model.state_dict().keys() == net().state_dict().keys()
    for layer, mask in zip((model[0], model[2]), masks, strict=True):
        assert torch.equal(mask, layer.weight != 0)


def test_a_mask_multiplied_in_once_is_undone_by_the_next_step():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    mask = keep_largest(model[0].weight.detach().abs(), 0.5)
    model[0].weight.data.mul_(mask)
    step_(model, optimizer)
    assert (model[0].weight[~mask] != 0).any()


@with_masks
def test_again_only_prunes_further(make):
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    last = [torch.ones_like(weight, dtype=torch.bool) for weight in weights_of(model)]
    for amount in (0.3, 0.6, 0.2, 0.9):
        prune_(model, make(amount))
        step_(model, optimizer)
        masks = kept(model)
        assert not any((new & ~old).any() for new, old in zip(masks, last, strict=True))
        last = masks


def test_amounts_count_from_the_beginning():
    model = net()
    for amount in (0.5, 0.75, 0.25, 100):
        prune_(model, Magnitude(amount=amount))
        expected = {0.5: 0.5, 0.75: 0.75, 0.25: 0.75, 100: 100 / 128}[amount]
        assert sparsity(model).total == expected


def test_gradually_along_the_cubic_schedule():
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for step in range(21):
        amount = cubic_sparsity(step, final=0.9, steps=20)
        prune_(model, Magnitude(amount=amount))
        assert sparsity(model).total == round(amount * 128) / 128
        step_(model, optimizer)
    assert sparsity(model).total == 115 / 128


def test_zeros_made_permanent_go_first_when_pruned_again():
    model = net()
    prune_(model, Magnitude(amount=0.5))
    make_permanent_(model)
    zeros = [layer.weight == 0 for layer in (model[0], model[2])]
    prune_(model, Magnitude(amount=0.75))
    for mask, zero in zip(kept(model), zeros, strict=True):
        assert not (mask & zero).any()


@every_method
def test_the_model_stays_an_ordinary_module(make, tmp_path):
    model = net()
    prune_(model, make(0.5))
    expected = model(X)
    assert torch.equal(expected, copy.deepcopy(model)(X))
    torch.save(model.state_dict(), tmp_path / "state.pt")
    other = net(seed=1)
    prune_(other, make(0.25))
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(expected, other(X))
    assert all(map(torch.equal, kept(model), kept(other)))
    for dtype in (torch.double, torch.bfloat16):
        moved = copy.deepcopy(model).to(dtype)
        assert moved(X.to(dtype)).dtype == dtype
        assert all(map(torch.equal, kept(model), kept(moved)))
    assert torch.equal(expected, model.eval()(X))


@every_method
def test_permanent_keeps_the_function_and_is_plain(make):
    model = net()
    parameters = {id(parameter) for parameter in model.parameters()}
    prune_(model, make(0.5))
    expected, zeros = model(X), sparsity(model)
    make_permanent_(model)
    assert torch.equal(expected, model(X))
    assert zeros == sparsity(model)
    assert model.state_dict().keys() == net().state_dict().keys()
    assert {id(parameter) for parameter in model.parameters()} == parameters
    assert not masks_of(model)
    make_permanent_(model)  # nothing left to do


def test_a_deep_copy_made_permanent_leaves_the_original_masked():
    model = nn.Sequential(nn.Linear(12, 4), nn.GRU(4, 3))
    prune_(model, Magnitude(amount=0.5))
    expected, zeros = model(X)[0], sparsity(model)
    other = copy.deepcopy(model)
    make_permanent_(other)
    assert len(masks_of(model)) == 3
    for each in (model, other):
        assert torch.equal(expected, each(X)[0])
        assert zeros == sparsity(each)


def test_inf_and_nan_behind_a_mask_are_zeros():
    layer = nn.Linear(2, 2)
    layer.weight.data.copy_(torch.tensor([[1.0, 2.0], [-0.1, 3.0]]))
    prune_(layer, Magnitude(amount=1))
    with torch.no_grad():
        layer.parametrizations.weight.original[1, 0] = torch.nan
    assert torch.equal(torch.tensor([[1.0, 2.0], [0.0, 3.0]]), layer.weight)
    assert not torch.signbit(layer.weight).any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types(dtype):
    model = net().to(dtype)
    prune_(model, Magnitude(amount=0.5))
    assert (model[0].weight.dtype, sparsity(model).total) == (dtype, 0.5)


# Which layers ----------------------------------------------------------------------


class Zoo(nn.Module):
    """One layer of each kind that has parameters."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 8)
        self.conv = nn.Conv1d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm1d(8)
        self.lstm = nn.LSTM(8, 8, num_layers=2, bidirectional=True, batch_first=True)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.layer_norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 3)

    def forward(self, ids):
        x = self.norm(self.conv(self.embedding(ids).mT)).mT
        x = self.lstm(x)[0]
        return self.head(self.layer_norm(x + self.attention(x, x, x)[0]))


IDS = torch.randint(5, (3, 6), generator=torch.Generator().manual_seed(0))


def test_matrices_of_all_kinds_are_masked_and_nothing_else():
    torch.manual_seed(0)
    model = Zoo()
    prune_(model, Magnitude(amount=0.5, per_layer=True))
    lstm = [
        f"lstm.weight_{kind}_l{layer}{side}"
        for layer in (0, 1)
        for side in ("", "_reverse")
        for kind in ("ih", "hh")
    ]
    names = [
        "conv.weight",
        *lstm,
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "head.weight",
    ]
    assert sorted(masks_of(model)) == sorted(names)
    assert all(mask.float().mean() == 0.5 for mask in masks_of(model).values())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", [METHODS["magnitude"], METHODS["movement"]])
def test_every_kind_computes_with_its_masked_weights(make, training):
    torch.manual_seed(0)
    model = Zoo().train(training)
    by_hand = copy.deepcopy(model)
    prune_(model, make(0.5))
    for name, mask in masks_of(model).items():
        by_hand.get_parameter(name).data.mul_(mask)
    for one in (model, copy.deepcopy(model), model.double().float()):
        torch.testing.assert_close(one(IDS), by_hand(IDS), rtol=1e-5, atol=1e-6)
    model(IDS).square().sum().backward()
    model.zero_grad()
    copied = copy.deepcopy(model)
    by_hand(IDS).square().sum().backward()
    for one in (model, copied):
        one.zero_grad()
        one(IDS).square().sum().backward()
        gradient = one.lstm.parametrizations.weight_hh_l1.original.grad
        mask = masks_of(one)["lstm.weight_hh_l1"]
        torch.testing.assert_close(
            by_hand.lstm.weight_hh_l1.grad * mask, gradient, rtol=1e-4, atol=1e-5
        )
    make_permanent_(model)
    torch.testing.assert_close(model(IDS), by_hand(IDS), rtol=1e-5, atol=1e-6)
    assert model.state_dict().keys() == by_hand.state_dict().keys()
    torch.testing.assert_close(
        copy.deepcopy(model)(IDS), by_hand(IDS), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("model", [SmallCNN(), CharGPT(5, width=8)])
def test_our_own_models(model):
    prune_(model, Magnitude(amount=0.5))
    assert sparsity(model).total == pytest.approx(0.5, abs=1e-3)


def test_the_filter_chooses_by_name_and_kind():
    model = net()
    prune_(model, Magnitude(amount=0.5), filter_fn=lambda name, _: name == "2")
    assert list(masks_of(model)) == ["2.weight"]
    assert sparsity(model, filter_fn=lambda name, _: name == "2").total == 0.5
    assert sparsity(model).total == 16 / 128


def tied():
    model = nn.ModuleDict({"embedding": nn.Embedding(6, 4), "head": nn.Linear(4, 6)})
    model["head"].weight = model["embedding"].weight
    return model


def test_a_shared_weight_has_one_mask_wherever_it_is_used():
    model = tied()
    prune_(model, Magnitude(amount=0.5), filter_fn=lambda name, _: bool(name))
    assert torch.equal(model["embedding"].weight, model["head"].weight)
    assert sparsity(model, filter_fn=lambda *_: True).total == 0.5
    assert len(sparsity(model, filter_fn=lambda *_: True).weights) == 1
    prune_(model, Magnitude(amount=0.75), filter_fn=lambda name, _: bool(name))
    make_permanent_(model)
    assert model["embedding"].weight is model["head"].weight
    assert int((model["head"].weight == 0).sum()) == 18


def test_a_shared_layer_is_pruned_once():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    prune_(model, Magnitude(amount=0.5))
    assert list(masks_of(model)) == ["0.weight"]


# What is refused, and leaves no trace ----------------------------------------------


def lazy():
    return nn.Sequential(nn.Linear(12, 8), nn.LazyLinear(4))


def normalized():
    return nn.Sequential(
        nn.Linear(12, 8), nn.utils.parametrizations.weight_norm(nn.Linear(8, 4))
    )


def masked_by(method):
    model = net()
    prune_(model, method)
    return model


REFUSED = {
    "lazy": (lazy, Magnitude(amount=0.5), r"^1.weight must have a shape, got a lazy"),
    "parametrized": (
        normalized,
        Magnitude(amount=0.5),
        r"^1.weight must be a plain parameter, got a parametrized one; prune before",
    ),
    "half of a tie": (
        tied,
        Magnitude(amount=0.5),
        r"^head.weight must be pruned wherever it is used, got embedding.weight not",
    ),
    "nothing": (
        lambda: nn.Sequential(nn.ReLU(), nn.LayerNorm(3)),
        Magnitude(amount=0.5),
        r"^filter_fn must choose a layer with weights, got none",
    ),
    "count": (net, Magnitude(amount=129), r"^amount must be at most the 128 weights"),
    "2:4": (
        lambda: mlp([8, 6, 4]),
        NM(),
        r"^2.weight must have a multiple of m = 4 inputs, got 6; let filter_fn",
    ),
    "fixed after trained": (
        lambda: masked_by(Movement(amount=0.5)),
        Magnitude(amount=0.5),
        r"^0.weight must have no trained mask, got one; call make_permanent_ first",
    ),
    "trained after fixed": (
        lambda: masked_by(Magnitude(amount=0.5)),
        Movement(amount=0.5),
        r"^0.weight must have no fixed mask, got one; call make_permanent_ first",
    ),
    "loss of a matrix": (
        net,
        Snip(amount=0.5, loss=lambda model: model(X)),
        r"^loss must return a scalar, got \(16, 4\)",
    ),
    "several losses": (
        net,
        Snip(amount=0.5, loss=losses),
        r"^loss must return a scalar, got \(16,\)",
    ),
    "loss without a layer": (
        net,
        Snip(amount=0.5, loss=lambda model: model[0](X).sum()),
        r"^loss must depend on 2.weight, got no gradient",
    ),
    "no batches": (
        net,
        Wanda(amount=0.5, inputs=[]),
        r"^inputs must be batches that run through 0.weight, but none did",
    ),
    "recurrent": (
        lambda: nn.Sequential(nn.Linear(12, 12), nn.GRU(12, 3)),
        Wanda(amount=0.5, inputs=[X]),
        r"^1.weight_ih_l0 must belong to a linear or convolution layer .* got GRU",
    ),
    "overflow": (
        net,
        Snip(amount=0.5, loss=lambda model: (model(X) * torch.inf).sum()),
        r"^scores must hold no NaN",
    ),
}


@pytest.mark.parametrize(("make", "method", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_pruned_is_refused_and_left_as_it_was(make, method, message):
    torch.manual_seed(0)
    model = make()
    kinds = [type(module) for module in model.modules()]
    state = {
        name: id(tensor) for name, tensor in model.state_dict(keep_vars=True).items()
    }
    with pytest.raises(ValueError, match=message):
        prune_(model, method)
    assert kinds == [type(module) for module in model.modules()]
    assert state == {
        name: id(tensor) for name, tensor in model.state_dict(keep_vars=True).items()
    }


@pytest.mark.parametrize(
    "make", [Magnitude, Random, Movement, lambda amount: Snip(amount=amount, loss=loss)]
)
def test_amounts_are_checked_at_once(make):
    with pytest.raises(ValueError, match=r"^amount must be a share in .* got -0.2$"):
        make(amount=-0.2)


def test_what_is_no_method_is_refused():
    with pytest.raises(TypeError, match=r"^method must be .* got float$"):
        prune_(net(), 0.5)
    with pytest.raises(TypeError, match=r"^method must be .* got Magnitude$"):
        prune_(net(), Magnitude)
    with pytest.raises(ValueError, match=r"^n and m must satisfy"):
        NM(n=5)
    with pytest.raises(TypeError, match=r"^loss must return a tensor, got float"):
        prune_(net(), Snip(amount=0.5, loss=lambda model: loss(model).item()))


def test_a_mask_beside_something_else_is_not_made_permanent():
    class Double(nn.Module):
        def forward(self, weight):
            return 2 * weight

    model = net()
    prune_(model, Magnitude(amount=0.5))
    parametrize.register_parametrization(model[2], "weight", Double())
    with pytest.raises(ValueError, match=r"^2.weight must have no parametrization but"):
        make_permanent_(model)
    assert list(masks_of(model)) == ["0.weight", "2.weight"]
    prune_(model, Magnitude(amount=0.75))
    assert sparsity(model).total == 0.75


@pytest.mark.parametrize("name", ["snip", "taylor", "wanda"])
def test_measuring_leaves_no_trace(name):
    def measured():
        return nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))

    torch.manual_seed(0)
    model = measured()
    model[0].weight.requires_grad_(False)
    model[2].weight.grad = torch.ones_like(model[2].weight)
    model[2].eval()
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        prune_(model, METHODS[name](0.5))
    assert [layer.training for layer in model] == [True, True, False]
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert not model[0].parametrizations.weight.original.requires_grad
    assert model[2].parametrizations.weight.original.requires_grad
    grad = model[2].parametrizations.weight.original.grad
    assert torch.equal(torch.ones_like(grad), grad)
    make_permanent_(model)
    for name, tensor in model.state_dict().items():
        same = before[name] == tensor
        assert (same | (tensor == 0)).all()


# Movement --------------------------------------------------------------------------


def test_movement_adds_up_its_scores_and_moves_what_is_kept():
    model = net()
    prune_(model, Movement(amount=0.5))
    parts = model[0].parametrizations.weight
    weight = parts.original
    by_hand_weight, scores = weight.detach().clone(), torch.zeros_like(weight)
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    for _ in range(8):
        mask = keep_largest(scores, 0.5)
        assert torch.equal(mask, masks_of(model)["0.weight"])
        used = torch.where(mask, by_hand_weight, 0).requires_grad_()
        out = model[2](torch.relu(functional.linear(X, used, model[0].bias)))
        (grad,) = torch.autograd.grad(functional.cross_entropy(out, Y), used)
        step_(model, optimizer)
        scores = scores - 0.3 * grad * by_hand_weight
        by_hand_weight = by_hand_weight - 0.3 * grad * mask
        torch.testing.assert_close(scores, parts[0].scores.detach())
        torch.testing.assert_close(by_hand_weight, weight.detach())


def test_movement_follows_its_amount_and_lets_weights_come_back():
    model = net()
    prune_(model, Movement(amount=0.0))
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    seen = []
    for step in range(30):
        prune_(model, Movement(amount=cubic_sparsity(step, final=0.75, steps=20)))
        step_(model, optimizer)
        seen.append(masks_of(model)["0.weight"])
    assert int(seen[-1].sum()) == 24
    assert any((b & ~a).any() for a, b in pairwise(seen[20:]))
    prune_(model, Movement(amount=0.25))
    assert int(masks_of(model)["0.weight"].sum()) == 72


def test_movement_keeps_what_magnitude_would_not():
    """Start where the useful weights are small and the useless ones large."""
    torch.manual_seed(0)
    x = torch.randn(256, 2)
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.data.copy_(torch.tensor([[0.1, 1.0]]))
    y = 3 * x[:, :1]
    prune_(layer, Movement(amount=0.0))
    optimizer = torch.optim.SGD(layer.parameters(), 0.005)
    for _ in range(10):
        optimizer.zero_grad()
        functional.mse_loss(layer(x), y).backward()
        optimizer.step()
    assert layer.weight[0, 0].abs() < layer.weight[0, 1].abs()
    prune_(layer, Movement(amount=0.5))
    assert masks_of(layer)["weight"].tolist() == [[True, False]]


# Rewinding, reports, sensitivity ---------------------------------------------------


def test_a_lottery_ticket_gets_its_first_weights_back():
    model = nn.Sequential(
        nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)
    )
    early = copy.deepcopy(model.state_dict())
    for share in (0.2, 0.36):
        optimizer = torch.optim.SGD(model.parameters(), 0.5)
        for _ in range(5):
            step_(model, optimizer)
        prune_(model, Magnitude(amount=share))
        masks = masks_of(model)
        rewind_(model, early)
        assert all(map(torch.equal, masks.values(), masks_of(model).values()))
        for name in ("0", "3"):
            expected = torch.where(masks[f"{name}.weight"], early[f"{name}.weight"], 0)
            assert torch.equal(expected, model.get_submodule(name).weight)
        assert torch.equal(early["1.running_mean"], model[1].running_mean)
        assert torch.equal(early["0.bias"], model[0].bias)


def test_rewinding_to_a_state_of_the_masked_model_keeps_todays_masks():
    model = net()
    prune_(model, Magnitude(amount=0.25))
    early = copy.deepcopy(model.state_dict())
    step_(model, torch.optim.SGD(model.parameters(), 0.5))
    prune_(model, Magnitude(amount=0.5))
    masks = masks_of(model)
    rewind_(model, early)
    assert all(map(torch.equal, masks.values(), masks_of(model).values()))
    original = "parametrizations.weight.original"
    assert torch.equal(
        early[f"0.{original}"], model[0].parametrizations.weight.original
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("2.bias"), r"^state must hold every .* lacks 2.bias"),
        (lambda state: state.update(extra=X), r"^state must fit .* has no extra"),
        (
            lambda state: state.update({"2.weight": X}),
            r"2.weight must have shape \(4, 8\), got \(16, 12\)",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_refused_whole(change, message):
    model = net()
    prune_(model, Magnitude(amount=0.5))
    before = copy.deepcopy(model.state_dict())
    state = net(seed=1).state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        rewind_(model, state)
    assert all(map(torch.equal, before.values(), model.state_dict().values()))


def test_the_report_counts_zeros():
    model = net()
    prune_(model, Magnitude(amount=0.75, per_layer=True))
    report = sparsity(model)
    assert [(w.name, w.shape, w.zeros, w.size, w.share) for w in report.weights] == [
        ("0.weight", (8, 12), 72, 96, 0.75),
        ("2.weight", (4, 8), 24, 32, 0.75),
    ]
    assert str(report).splitlines()[-1].split() == ["total", "32", "75.0%"]
    assert sparsity(nn.ReLU()).total == 0.0


def test_the_scan_prunes_each_layer_alone_on_copies():
    model = net()
    before = copy.deepcopy(model.state_dict())
    seen = []

    def evaluate(pruned):
        seen.append({w.name: w.share for w in sparsity(pruned).weights})
        return float(len(seen))

    curves = sensitivity(model, evaluate, amounts=(0.25, 0.5))
    assert curves == {"0": (1.0, 2.0), "2": (3.0, 4.0)}
    assert seen == [
        {"0.weight": 0.25, "2.weight": 0.0},
        {"0.weight": 0.5, "2.weight": 0.0},
        {"0.weight": 0.0, "2.weight": 0.25},
        {"0.weight": 0.0, "2.weight": 0.5},
    ]
    assert all(map(torch.equal, before.values(), model.state_dict().values()))


def test_the_scan_takes_other_methods_filters_and_shared_weights():
    curves = sensitivity(
        net(),
        lambda pruned: loss(pruned).item(),
        amounts=[0.5],
        method=METHODS["snip"],
        filter_fn=lambda name, module: is_prunable(name, module) and name != "0",
    )
    assert list(curves) == ["2"]
    both = sensitivity(
        tied(),
        lambda pruned: float((pruned["head"].weight == 0).sum()),
        amounts=[0.5],
        filter_fn=lambda name, _: bool(name),
    )
    assert both == {"embedding": (12.0,), "head": (12.0,)}
