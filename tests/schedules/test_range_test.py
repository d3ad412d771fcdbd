"""The range test against a loop in NumPy, and that it leaves everything alone."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from mlopt_edu.schedules import lr_range_test

CURVATURES = np.array([10.0, 1.0, 0.1])


class Bowl(nn.Module):
    """0.5 * sum(h * w**2): its gradient and its stable rates are known."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3, dtype=torch.float64))


def bowl_loss(model, batch):
    return batch * 0.5 * (torch.from_numpy(CURVATURES) * model.w**2).sum()


def slow_bowl(lrs, window, diverged, shares=1.0):
    """Return the losses that the docstring promises."""
    w, losses, best = np.ones(3), [], math.inf
    for lr in lrs:
        losses.append(0.5 * (CURVATURES * w**2).sum())
        mean = sum(losses[-window:]) / len(losses[-window:])
        if len(losses) >= window:
            best = min(best, mean)
        if mean > diverged * best:
            break
        w = w - lr * shares * CURVATURES * w
    return np.array(losses)


def bowl_test(**options):
    model = Bowl()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    return lr_range_test(
        model, optimizer, loss_of_batch=bowl_loss, batches=[1.0], **options
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lowest": 1e-4, "highest": 1.0, "steps": 37},
        {"window": 1, "diverged": 1.5},
        {"window": 9, "diverged": 100.0, "steps": 200},
    ],
)
def test_the_losses_on_a_bowl_are_those_of_a_loop(options):
    seen = bowl_test(**options)
    full = {
        "lowest": 1e-6,
        "highest": 10.0,
        "steps": 100,
        "window": 5,
        "diverged": 4.0,
    } | options
    ratio = (full["highest"] / full["lowest"]) ** (1 / (full["steps"] - 1))
    lrs = full["lowest"] * ratio ** np.arange(full["steps"])
    losses = slow_bowl(lrs, full["window"], full["diverged"])
    np.testing.assert_allclose(seen.losses, losses, rtol=1e-9)
    np.testing.assert_allclose(seen.lrs, lrs[: len(losses)], rtol=1e-9)

    half = full["window"] // 2
    near = [losses[max(0, i - half) : i + half + 1] for i in range(len(losses))]
    np.testing.assert_allclose(seen.smoothed, [sum(n) / len(n) for n in near])
    place = np.argmin(seen.smoothed)
    turned = place < full["steps"] - 1
    assert seen.suggestion == (pytest.approx(lrs[place] / 10) if turned else None)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_suggestion_trains_and_follows_the_curvature(scale, seed):
    """Each batch moves the bowl a little, so that no direction comes to rest."""

    def loss(model, centre):
        return (
            0.5 * scale * (torch.from_numpy(CURVATURES) * (model.w - centre) ** 2).sum()
        )

    rng = np.random.default_rng(seed)
    model = Bowl()
    seen = lr_range_test(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        loss_of_batch=loss,
        batches=list(torch.from_numpy(0.3 * rng.normal(size=(100, 3)))),
        lowest=1e-5 / scale,
        highest=100.0 / scale,
    )
    limit = 2 / (scale * CURVATURES.max())
    assert 0.01 * limit < seen.suggestion < limit
    assert limit < seen.lrs[-1] < 100.0 / scale


@pytest.mark.parametrize(
    ("lowest", "highest"), [(1e-9, 1e-6), (0.5, 50.0), (1e-4, 1e-1)]
)
def test_no_suggestion_where_the_range_holds_no_turn(lowest, highest):
    """Too low, too high, and one that ends before the loss grows."""
    seen = bowl_test(lowest=lowest, highest=highest)
    assert seen.suggestion is None


def test_a_sudden_end_is_a_turn():
    def loss_that_breaks(model, batch):
        loss = bowl_loss(model, 1.0)
        return loss * float("inf") if loss < 2 else loss

    model = Bowl()
    seen = lr_range_test(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        loss_of_batch=loss_that_breaks,
        batches=[None],
        window=1,
    )
    assert len(seen.losses) == len(seen.lrs) < 100
    assert np.isfinite(seen.losses).all()
    assert seen.suggestion == pytest.approx(seen.lrs[-1] / 10)


def test_a_loss_that_is_never_finite_gives_nothing():
    model = Bowl()
    seen = lr_range_test(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        loss_of_batch=lambda model, batch: model.w.sum() * float("nan"),
        batches=[None],
    )
    shapes = (seen.lrs.shape, seen.losses.shape, seen.smoothed.shape)
    assert (shapes, seen.suggestion) == (((0,),) * 3, None)


def classifier():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 8, generator=generator)
    labels = (inputs[:, :3].sum(1) > 0).long()
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 2)
    )
    batches = list(zip(inputs.split(32), labels.split(32), strict=True))
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2), batches


def classifier_loss(model, batch):
    return cross_entropy(model(batch[0]), batch[1])


def train(model, optimizer, batches):
    for batch in batches:
        optimizer.zero_grad()
        classifier_loss(model, batch).backward()
        optimizer.step()


@pytest.mark.parametrize("trained_before", [False, True])
def test_training_goes_on_as_if_there_had_been_no_test(trained_before):
    runs = []
    for tested in (False, True):
        model, optimizer, batches = classifier()
        torch.manual_seed(2)
        if trained_before:
            train(model, optimizer, batches)
        if tested:
            before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
            random = torch.get_rng_state()
            seen = lr_range_test(
                model, optimizer, loss_of_batch=classifier_loss, batches=batches
            )
            assert len(seen.losses) > 20
            assert torch.equal(random, torch.get_rng_state())
            after = (model.state_dict(), optimizer.state_dict())
            for old, new in zip(before, after, strict=True):
                torch.testing.assert_close(new, old, rtol=0, atol=0)
        train(model, optimizer, batches)
        runs.append(model.state_dict())
    torch.testing.assert_close(runs[1], runs[0], rtol=0, atol=0)


def test_a_shuffling_loader_draws_what_it_would_have_drawn():
    model, optimizer, batches = classifier()
    data = torch.utils.data.TensorDataset(*map(torch.cat, zip(*batches, strict=True)))
    orders = []
    for tested in (False, True):
        loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)
        torch.manual_seed(3)
        if tested:
            lr_range_test(
                model, optimizer, loss_of_batch=classifier_loss, batches=loader
            )
        orders.append(torch.cat([inputs for inputs, _ in loader]))
    assert torch.equal(*orders)


def test_a_test_in_evaluation_mode_uses_no_dropout():
    model, optimizer, batches = classifier()
    model.eval()
    seen = lr_range_test(
        model, optimizer, loss_of_batch=classifier_loss, batches=batches[:1]
    )
    assert seen.losses[0] == classifier_loss(model, batches[0]).item()
    assert not model.training


def test_a_scheduled_optimizer_is_tested_and_left_as_any_other():
    """The scheduler has put its own `step` on the optimizer."""
    seen = []
    for scheduled in (False, True):
        model, optimizer, batches = classifier()
        if scheduled:
            scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        classifier_loss(model, batches[0]).backward()
        before = copy.deepcopy(model.state_dict())
        torch.manual_seed(4)
        seen.append(
            lr_range_test(
                model, optimizer, loss_of_batch=classifier_loss, batches=batches
            )
        )
        torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    np.testing.assert_array_equal(seen[0].losses, seen[1].losses)
    optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [0.005]


def test_a_lucky_first_batch_does_not_end_the_test():
    model = Bowl()
    seen = lr_range_test(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        loss_of_batch=bowl_loss,
        batches=[0.001] + [1.0] * 99,
        highest=1e-3,
    )
    assert len(seen.losses) == 100


def test_groups_keep_their_ratios():
    model = Bowl()
    halves = [nn.Parameter(torch.ones(1, dtype=torch.float64)) for _ in CURVATURES]
    model.w = None
    model.parts = nn.ParameterList(halves)
    shares = np.array([1.0, 0.2, 0.5])
    optimizer = torch.optim.SGD(
        [
            {"params": [part], "lr": 0.3 * share}
            for part, share in zip(halves, shares, strict=True)
        ]
    )

    def loss(model, batch):
        w = torch.cat(list(model.parts))
        return 0.5 * (torch.from_numpy(CURVATURES) * w**2).sum()

    seen = lr_range_test(model, optimizer, loss_of_batch=loss, batches=[None])
    expected = slow_bowl(np.geomspace(1e-6, 10, 100), 5, 4.0, shares)
    np.testing.assert_allclose(seen.losses, expected, rtol=1e-9)
    assert [group["lr"] for group in optimizer.param_groups] == (0.3 * shares).tolist()


def test_an_optimizer_that_needs_a_closure():
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    inputs = torch.randn(16, 2)
    batch = (inputs, inputs @ torch.tensor([[1.0], [-2.0]]))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=1.0, max_iter=3)
    seen = lr_range_test(
        model,
        optimizer,
        loss_of_batch=lambda model, b: mse_loss(model(b[0]), b[1]),
        batches=[batch],
        steps=10,
        highest=0.5,
        lowest=1e-3,
    )
    assert len(seen.losses) == 10
    assert seen.losses[-1] < 0.5 * seen.losses[0]


def test_batches_are_gone_through_again_in_their_order():
    model, used = Bowl(), []

    def noting(model, batch):
        used.append(batch)
        return bowl_loss(model, 1.0)

    lr_range_test(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        loss_of_batch=noting,
        batches=["a", "b", "c"],
        steps=7,
        highest=1e-3,
    )
    assert "".join(used) == "abcabca"


def test_a_long_iterator_is_enough():
    model = Bowl()
    seen = lr_range_test(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        loss_of_batch=bowl_loss,
        batches=iter([1.0] * 5),
        steps=5,
        highest=1e-3,
    )
    assert len(seen.losses) == 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lowest": 0.0}, ["lowest", "0 < lowest < highest"]),
        ({"lowest": 1.0, "highest": 1.0}, ["lowest and highest", "1.0 and 1.0"]),
        ({"highest": math.inf}, ["highest", "inf"]),
        ({"steps": 1}, ["steps", "at least 2", "1"]),
        ({"window": 0}, ["window", "odd", "0"]),
        ({"window": 4}, ["window", "odd", "4"]),
        ({"diverged": 1.0}, ["diverged", "above 1"]),
        ({"batches": []}, ["batches", "none"]),
        ({"batches": iter([1.0, 1.0])}, ["batches", "a list or a DataLoader"]),
        ({"lr": 0.0}, ["optimizer", "above 0"]),
    ],
)
def test_bad_input_is_one_sentence(options, words):
    options = {"batches": [1.0], "lr": 0.1} | options
    model = Bowl()
    optimizer = torch.optim.SGD(model.parameters(), lr=options.pop("lr"))
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the words are in the table
        lr_range_test(model, optimizer, loss_of_batch=bowl_loss, **options)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)
