"""The right programs of exercise 04, proved by torch's schedulers and by SciPy."""

import math
import warnings
from decimal import Decimal
from functools import partial

import numpy as np
import pytest
import scipy.interpolate
import scipy.signal
import scipy.stats
import torch
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from mlopt_edu import schedules
from mlopt_edu.checks import find_task
from mlopt_edu.checks.schedules._cosine_with_warmup import cosine_with_warmup_reference
from mlopt_edu.checks.schedules._decaying_descent import decaying_descent_reference
from mlopt_edu.checks.schedules._inverse_sqrt import inverse_sqrt_reference
from mlopt_edu.checks.schedules._one_cycle import one_cycle_reference
from mlopt_edu.checks.schedules._range_test_pick import range_test_pick_reference
from mlopt_edu.checks.schedules._scheduled_training import scheduled_training_reference
from mlopt_edu.checks.schedules._step_decay import step_decay_reference
from mlopt_edu.checks.schedules._warm_restarts import warm_restarts_reference
from tests.checks.references import cases


def torch_run(make_scheduler, steps):
    """The lr of every step of a run with base lr 1, as torch's class sets it."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with warnings.catch_warnings():
        # SequentialLR calls its own children in a way that torch deprecates.
        warnings.filterwarnings("ignore", "The epoch parameter", UserWarning)
        scheduler = make_scheduler(optimizer)
        lrs = []
        for _ in range(steps):
            lrs.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return np.array(lrs)


@cases("inverse_sqrt")
def test_inverse_sqrt_by_decimal_arithmetic(case):
    (step,) = case.inputs.values()
    expected = [float(1 / Decimal(int(one) + 1).sqrt()) for one in np.ravel(step)]
    np.testing.assert_allclose(
        np.ravel(inverse_sqrt_reference(step)), expected, rtol=1e-14
    )


def test_inverse_sqrt_is_one_at_the_first_step():
    assert inverse_sqrt_reference(np.arange(9))[[0, 3, 8]].tolist() == [1, 1 / 2, 1 / 3]


@pytest.mark.parametrize(("every", "factor"), [(1, 0.9), (7, 0.5), (30, 0.1)])
def test_step_decay_is_that_of_torch(every, factor):
    expected = torch_run(lambda o: lr_scheduler.StepLR(o, every, gamma=factor), 100)
    actual = [step_decay_reference(step, every, factor) for step in range(100)]
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@cases("step_decay")
def test_step_decay_counts_the_drops(case):
    step, every, factor = case.inputs.values()
    drops = np.searchsorted(np.arange(every, step + 1, every), step, side="right")
    assert step_decay_reference(step, every, factor) == pytest.approx(factor**drops)


@pytest.mark.parametrize(
    ("warmup_steps", "total_steps", "final_factor"),
    [(1, 30, 0.0), (10, 100, 0.2), (33, 40, 0.01), (5, 6, 0.5), (90, 1000, 0.3)],
)
def test_cosine_with_warmup_is_that_of_torch(warmup_steps, total_steps, final_factor):
    def sequence(optimizer):
        rise = lr_scheduler.LinearLR(
            optimizer, 1 / (warmup_steps + 1), 1.0, warmup_steps
        )
        fall = lr_scheduler.CosineAnnealingLR(
            optimizer, total_steps - warmup_steps, eta_min=final_factor
        )
        return lr_scheduler.SequentialLR(optimizer, [rise, fall], [warmup_steps])

    expected = torch_run(sequence, total_steps + 1)
    limits = warmup_steps, total_steps, final_factor
    actual = [cosine_with_warmup_reference(k, *limits) for k in range(total_steps + 1)]
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


@cases("cosine_with_warmup")
def test_cosine_with_warmup_has_its_corners_and_its_slope(case):
    step, warmup_steps, total_steps, final_factor = case.inputs.values()
    limits = warmup_steps, total_steps, final_factor
    factor = cosine_with_warmup_reference(step, *limits)
    assert cosine_with_warmup_reference(warmup_steps, *limits) == 1
    assert cosine_with_warmup_reference(total_steps, *limits) == final_factor
    if step < warmup_steps:
        steps_of_one = [1 / (warmup_steps + 1)] * (step + 1)
        assert factor == pytest.approx(sum(steps_of_one))
    elif step < total_steps:
        middle = (1 + final_factor) / 2
        share = (step - warmup_steps) / (total_steps - warmup_steps)
        assert factor - middle == pytest.approx(
            (1 - middle) * np.sin(np.pi * (0.5 - share)), abs=1e-12
        )
    else:
        assert factor == final_factor


@pytest.mark.parametrize("multiplier", [1, 2, 3])
@pytest.mark.parametrize("first_period", [1, 7, 10])
def test_warm_restarts_are_those_of_torch(first_period, multiplier):
    expected = torch_run(
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, first_period, multiplier),
        400,
    )
    actual = [warm_restarts_reference(k, first_period, multiplier) for k in range(400)]
    np.testing.assert_allclose(actual, expected, atol=1e-12)


@cases("warm_restarts")
def test_warm_restarts_find_their_period_in_a_list_of_ends(case):
    step, first_period, multiplier = case.inputs.values()
    lengths = [first_period * multiplier**k for k in range(500)]
    ends = np.cumsum(np.array(lengths, dtype=object))
    which = next(k for k, end in enumerate(ends) if end > step)
    left = step - (ends[which] - lengths[which])
    expected = np.cos(np.pi / 2 * left / lengths[which]) ** 2
    actual = warm_restarts_reference(step, first_period, multiplier)
    assert actual == pytest.approx(expected, rel=1e-9)


def test_the_logarithm_misses_a_restart_as_the_mistake_says():
    task = find_task("warm_restarts")
    (mistake,) = [m for m in task.mistakes if m.name == "logarithm_rounded_down"]
    (case,) = [c for c in task.cases(20) if c.label == "after five restarts"]
    assert warm_restarts_reference(*case.inputs.values()) == 1
    assert mistake.program(*case.inputs.values()) == pytest.approx(0, abs=1e-12)
    assert "4.9999" in mistake.explanation
    assert 4.9999 < math.log(243, 3) < 5


@pytest.mark.parametrize(
    ("half_cycle", "total_steps", "start_factor", "final_factor"),
    [(1, 3, 0.25, 0.1), (10, 23, 0.04, 1e-3), (45, 100, 0.1, 1e-4), (3, 60, 0.5, 0.2)],
)
def test_one_cycle_is_that_of_torch(
    half_cycle, total_steps, start_factor, final_factor
):
    # torch ends at its last step, we at the one after it: one step more for torch.
    expected = torch_run(
        lambda o: lr_scheduler.OneCycleLR(
            o,
            max_lr=1.0,
            total_steps=total_steps + 1,
            pct_start=(half_cycle + 1) / (total_steps + 1),
            anneal_strategy="linear",
            cycle_momentum=False,
            div_factor=1 / start_factor,
            final_div_factor=start_factor / final_factor,
            three_phase=True,
        ),
        total_steps + 1,
    )
    limits = half_cycle, total_steps, start_factor, final_factor
    actual = [one_cycle_reference(step, *limits) for step in range(total_steps + 1)]
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


@cases("one_cycle")
def test_one_cycle_goes_along_chords(case):
    step, half_cycle, total_steps, start_factor, final_factor = case.inputs.values()
    limits = half_cycle, total_steps, start_factor, final_factor
    actual = one_cycle_reference(step, *limits)
    if step > total_steps:
        assert actual == final_factor
        return
    corners = [0, half_cycle, 2 * half_cycle, total_steps]
    chords = scipy.interpolate.make_interp_spline(
        corners, [start_factor, 1, start_factor, final_factor], k=1
    )
    assert actual == pytest.approx(float(chords(step)), rel=1e-12)


@cases("range_test_pick")
def test_range_test_pick_smooths_as_a_filter_of_scipy_does(case):
    lrs, losses, beta = case.inputs.values()
    average = scipy.signal.lfilter([1 - beta], [1, -beta], losses)
    smoothed = average / (1 - beta ** np.arange(1, len(losses) + 1))
    slopes = {}
    for i in range(1, len(losses)):
        if not smoothed[i] / smoothed[:i].min() <= 4:
            break
        line = scipy.stats.linregress(
            np.log10(lrs[i - 1 : i + 1]), smoothed[i - 1 : i + 1]
        )
        slopes[line.slope] = lrs[i - 1]
    assert range_test_pick_reference(lrs, losses, beta) == slopes[min(slopes)]


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.98])
def test_range_test_pick_weighs_as_torch_does_a_mean(beta):
    # A noisy run, smoothed by hand beforehand, must give the same pick with beta 0.
    rng = np.random.default_rng(3)
    lrs = np.geomspace(1e-5, 1, 60)
    losses = 3 - 2 / (1 + (1e-3 / lrs) ** 2) + 0.1 * rng.normal(size=60)
    rows = torch.tensor(beta) ** torch.arange(60, dtype=torch.float64)
    means = [
        (torch.tensor(losses[: k + 1]).flip(0) @ rows[: k + 1] / rows[: k + 1].sum())
        for k in range(60)
    ]
    smooth = torch.stack(means).numpy()
    expected = range_test_pick_reference(lrs, smooth, 0.0)
    assert range_test_pick_reference(lrs, losses, beta) == expected


def test_range_test_pick_is_the_inflection_of_a_smooth_fall():
    # A logistic fall over log lr is steepest in its middle.
    lrs = np.geomspace(1e-6, 10, 141)
    losses = 1 + 2 / (1 + np.exp(4 * (np.log10(lrs) + 2.5)))
    pick = range_test_pick_reference(lrs, losses, 0.0)
    assert abs(np.log10(pick) + 2.5) <= 0.05


@cases("decaying_descent")
def test_decaying_descent_walks_where_torch_walks_and_never_crosses(case):
    H, w0, steps = case.inputs.values()
    steepest = np.linalg.norm(H, 2)
    w = torch.tensor(w0, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=1 / steepest)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) ** -0.5)
    path = [w.detach().clone()]
    for _ in range(steps):
        optimizer.zero_grad()
        (w @ torch.tensor(H) @ w / 2).backward()
        optimizer.step()
        scheduler.step()
        path.append(w.detach().clone())
    actual = decaying_descent_reference(H, w0, steps)
    np.testing.assert_allclose(actual, torch.stack(path), rtol=1e-9, atol=1e-12)
    axes = np.linalg.eigh(H)[1]
    errors = actual @ axes
    assert (errors * np.sign(errors[0]) >= -1e-12).all()
    if steps and errors[0, -1]:  # a little larger carries the steepest error across
        longer = w0 - 1.001 / steepest * H @ w0
        assert (longer @ axes[:, -1]) * errors[0, -1] < 0


@cases("decaying_descent")
def test_the_given_program_crosses_and_its_bound_mirrors(case):
    H, w0, steps = case.inputs.values()
    mistakes = {m.name: m.program for m in find_task("decaying_descent").mistakes}
    axis = np.linalg.eigh(H)[1][:, -1]
    if not steps:
        return
    before, after = mistakes["reflects"](H, w0, steps)[:2] @ axis
    assert after == pytest.approx(-before)
    before, after = mistakes["as_given"](H, w0, steps)[:2] @ axis
    assert after == pytest.approx((1 - np.sqrt(2)) * before)


@cases("scheduled_training")
def test_scheduled_training_is_that_of_torch_with_a_data_loader(case):
    X, y, w0, lr, epochs, batch_size, warmup_steps = case.inputs.values()
    data = TensorDataset(torch.tensor(X), torch.tensor(y))
    loader = DataLoader(data, batch_size=batch_size)
    total_steps = epochs * len(loader)
    w = torch.tensor(w0, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=lr)
    rest = total_steps - warmup_steps
    scheduler = lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            (step + 1) / (warmup_steps + 1)
            if step < warmup_steps
            else 0.55 + 0.45 * np.cos(np.pi * min(1, (step - warmup_steps) / rest))
        ),
    )
    lrs = []
    for _ in range(epochs):
        for features, targets in loader:
            optimizer.zero_grad()
            ((features @ w - targets) ** 2).mean().div(2).backward()
            lrs += scheduler.get_last_lr()
            optimizer.step()
            if len(lrs) < total_steps:
                scheduler.step()
    seen_w, seen_lrs = scheduled_training_reference(*case.inputs.values())
    np.testing.assert_allclose(seen_w, w.detach(), rtol=1e-9)
    np.testing.assert_allclose(seen_lrs, lrs, rtol=1e-12)


def test_the_exercise_and_the_library_mean_the_same():
    steps = np.arange(300)
    warm = partial(schedules.linear_warmup, warmup_steps=20)
    fall = partial(schedules.cosine, total_steps=180, final=0.1)
    for program, factors in (
        (inverse_sqrt_reference, schedules.inverse_sqrt(steps)),
        (
            lambda k: step_decay_reference(k, 30, 0.2),
            schedules.step_decay(steps, every=30, gamma=0.2),
        ),
        (
            lambda k: cosine_with_warmup_reference(k, 20, 200, 0.1),
            schedules.join(steps, schedules=(warm, fall), boundaries=(20,)),
        ),
        (
            lambda k: warm_restarts_reference(k, 10, 2),
            schedules.sgdr(steps, cycle_steps=10, growth=2),
        ),
    ):
        actual = [program(int(k)) for k in steps]
        np.testing.assert_allclose(actual, factors, rtol=1e-9, atol=1e-12)


def step_sizes(make_optimizer, make_scheduler, curvature):
    """How far each step goes, as a share of the gradient, on curvature / 2 * w^2."""
    w = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = make_optimizer([w], lr=0.01)
    scheduler = make_scheduler(optimizer)
    sizes = []
    for _ in range(40):
        optimizer.zero_grad()
        (curvature / 2 * w.square().sum()).backward()
        before = w.item()
        optimizer.step()
        scheduler.step()
        sizes.append((before - w.item()) / w.grad.item())
    return np.array(sizes)


SGD, RMSPROP = torch.optim.SGD, torch.optim.RMSprop


@pytest.mark.parametrize(
    ("option", "make_optimizer", "make_scheduler"),
    [
        ("a", SGD, lambda o: lr_scheduler.LambdaLR(o, lambda step: (step + 1) ** -0.5)),
        ("b", SGD, lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10)),
        ("c", RMSPROP, lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        ("d", SGD, lambda o: lr_scheduler.StepLR(o, 30, gamma=0.1)),
    ],
)
def test_which_is_adaptive_by_running_each_on_two_losses(
    option, make_optimizer, make_scheduler
):
    one, other = (step_sizes(make_optimizer, make_scheduler, k) for k in (1.0, 5.0))
    same = np.allclose(one, other, rtol=1e-6)
    assert same == (find_task("which_is_adaptive").reference() != option)


def test_mirror_step_by_taking_it():
    w = torch.tensor(3.0, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=1.0)
    lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) ** -0.5)
    w.square().backward()
    assert w.grad.item() == 6
    optimizer.step()
    assert w.item() == -3
    assert "At -3" in find_task("mirror_step").options["b"]
    assert 3 - 0.5 * 6 == 0


def test_once_an_epoch_by_stepping_it():
    lrs = torch_run(
        lambda o: lr_scheduler.LambdaLR(
            o, lambda step: cosine_with_warmup_reference(step, 500, 10_000, 0.0)
        ),
        100,
    )
    assert lrs[-1] == pytest.approx(1 / 5, rel=0.01)
    assert 100 * 100 == 10_000
    assert (500 / 100, 10_000 / 100) == (5, 100)


def test_where_to_stop_by_reading_the_factors():
    factors = np.array([warm_restarts_reference(epoch, 10, 2) for epoch in range(151)])
    restarts = np.flatnonzero(factors == 1)[1:]
    assert ", ".join(map(str, restarts)) == find_task("where_to_stop").options["b"]
    assert 0.4 < factors[20] < 0.6
