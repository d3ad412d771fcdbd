"""Whole runs of torch's schedulers, at unusual settings, against ours."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from mlopt_edu.schedules import (
    constant,
    cosine,
    exponential,
    inverse_sqrt,
    join,
    linear_warmup,
    one_cycle,
    polynomial,
    product,
    sgdr,
    step_decay,
    wsd,
)

BASE_LR = 0.37


def run(make_scheduler, steps):
    """Return the lr of each update and the one after the last, over the base lr."""
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=BASE_LR)
    scheduler = make_scheduler(optimizer)
    seen = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        seen.append(optimizer.param_groups[0]["lr"])
    return np.array(seen) / BASE_LR


def agree(schedule, make_scheduler, steps):
    """Demand torch's numbers from the array form and through LambdaLR."""
    expected = run(make_scheduler, steps)
    np.testing.assert_allclose(
        schedule(np.arange(steps + 1)), expected, rtol=1e-9, atol=1e-12
    )
    through = run(partial(lr_scheduler.LambdaLR, lr_lambda=schedule), steps)
    np.testing.assert_allclose(through, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("every", "gamma"), [(1, 0.5), (7, 0.3), (30, 1.0), (3, 0.97)])
def test_step_decay_is_step_lr(every, gamma):
    make = partial(lr_scheduler.StepLR, step_size=every, gamma=gamma)
    agree(partial(step_decay, every=every, gamma=gamma), make, 95)


@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.999, 1.0])
def test_exponential_is_exponential_lr(gamma):
    make = partial(lr_scheduler.ExponentialLR, gamma=gamma)
    agree(partial(exponential, gamma=gamma), make, 60)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.3])
@pytest.mark.parametrize("total_steps", [1, 2, 37])
def test_polynomial_is_polynomial_lr(total_steps, power):
    make = partial(lr_scheduler.PolynomialLR, total_iters=total_steps, power=power)
    agree(partial(polynomial, total_steps=total_steps, power=power), make, 50)


@pytest.mark.parametrize("final", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("total_steps", [1, 2, 17, 100])
def test_cosine_is_cosine_annealing_lr(total_steps, final):
    # Beyond T_max torch's rises again, where ours stays.
    make = partial(
        lr_scheduler.CosineAnnealingLR, T_max=total_steps, eta_min=final * BASE_LR
    )
    agree(partial(cosine, total_steps=total_steps, final=final), make, total_steps)


@pytest.mark.parametrize("final", [0.0, 0.05])
@pytest.mark.parametrize(("cycle_steps", "growth"), [(1, 1), (5, 1), (3, 2), (10, 3)])
def test_sgdr_is_cosine_annealing_warm_restarts(cycle_steps, growth, final):
    make = partial(
        lr_scheduler.CosineAnnealingWarmRestarts,
        T_0=cycle_steps,
        T_mult=growth,
        eta_min=final * BASE_LR,
    )
    schedule = partial(sgdr, cycle_steps=cycle_steps, growth=growth, final=final)
    agree(schedule, make, 500)


@pytest.mark.parametrize(
    ("total", "share", "divide", "final_divide"),
    [(100, 0.3, 25.0, 1e4), (41, 0.5, 3.0, 10.0), (60, 0.05, 100.0, 1.0)],
)
def test_one_cycle_is_one_cycle_lr(total, share, divide, final_divide):
    # torch counts the last update as the end, so its cycle has one step fewer.
    schedule = partial(
        one_cycle,
        total_steps=total - 1,
        warmup_steps=share * total - 1,
        start=1 / divide,
        final=1 / divide / final_divide,
    )
    make = partial(
        lr_scheduler.OneCycleLR,
        max_lr=BASE_LR,
        total_steps=total,
        pct_start=share,
        div_factor=divide,
        final_div_factor=final_divide,
        cycle_momentum=False,
    )
    expected = run(make, total - 1)
    actual = schedule(np.arange(total))
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("start", [1 / 3, 0.01, 1.0])
@pytest.mark.parametrize("warmup_steps", [1, 2, 23])
def test_linear_warmup_is_linear_lr(warmup_steps, start):
    make = partial(lr_scheduler.LinearLR, start_factor=start, total_iters=warmup_steps)
    schedule = partial(linear_warmup, warmup_steps=warmup_steps, start=start)
    agree(schedule, make, 40)


def test_join_is_sequential_lr():
    def make(optimizer):
        parts = [
            lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=5),
            lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.5),
            lr_scheduler.CosineAnnealingLR(optimizer, T_max=20),
        ]
        return lr_scheduler.SequentialLR(optimizer, parts, milestones=[7, 18])

    parts = (
        partial(linear_warmup, warmup_steps=5, start=0.1),
        partial(step_decay, every=4, gamma=0.5),
        partial(cosine, total_steps=20),
    )
    agree(partial(join, schedules=parts, boundaries=(7, 18)), make, 38)


def test_product_is_chained_scheduler():
    def make(optimizer):
        parts = [
            lr_scheduler.LinearLR(optimizer, start_factor=0.25, total_iters=9),
            lr_scheduler.ExponentialLR(optimizer, gamma=0.93),
            lr_scheduler.StepLR(optimizer, step_size=11, gamma=0.4),
        ]
        return lr_scheduler.ChainedScheduler(parts)

    parts = (
        partial(linear_warmup, warmup_steps=9, start=0.25),
        partial(exponential, gamma=0.93),
        partial(step_decay, every=11, gamma=0.4),
    )
    agree(partial(product, schedules=parts), make, 50)


@pytest.mark.parametrize(
    ("warmup_steps", "decay_steps", "final"), [(5, 20, 0.1), (1, 40, 0.0), (9, 1, 0.5)]
)
def test_wsd_is_three_of_torchs_in_sequence(warmup_steps, decay_steps, final):
    def make(optimizer):
        first = 1 / (warmup_steps + 1)
        parts = [
            lr_scheduler.LinearLR(
                optimizer, start_factor=first, total_iters=warmup_steps
            ),
            lr_scheduler.ConstantLR(optimizer, factor=1.0),
            lr_scheduler.LinearLR(
                optimizer,
                start_factor=1.0,
                end_factor=final,
                total_iters=decay_steps,
            ),
        ]
        milestones = [warmup_steps, 60 - decay_steps]
        return lr_scheduler.SequentialLR(optimizer, parts, milestones=milestones)

    schedule = partial(
        wsd,
        total_steps=60,
        warmup_steps=warmup_steps,
        decay_steps=decay_steps,
        final=final,
    )
    agree(schedule, make, 75)


def test_inverse_sqrt_after_warm_up_is_the_transformers_schedule():
    """Vaswani et al., arXiv:1706.03762, eq. 3, scaled to 1 at its peak."""
    warmup = 40
    steps = np.arange(1, 400)
    paper = np.sqrt(warmup) * np.minimum(steps**-0.5, steps * warmup**-1.5)
    parts = (
        partial(linear_warmup, warmup_steps=warmup, start=0.0),
        partial(inverse_sqrt, timescale=warmup),
    )
    ours = join(steps, schedules=parts, boundaries=(warmup,))
    np.testing.assert_allclose(ours, paper, rtol=1e-12)


def test_constant_is_constant_lr():
    make = partial(lr_scheduler.ConstantLR, factor=0.3, total_iters=100)
    agree(partial(constant, value=0.3), make, 50)
