"""A schedule inside LambdaLR: groups, saving, continuing, pickling."""

import copy
import io
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

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

WARM_COSINE = partial(
    join,
    schedules=(
        partial(linear_warmup, warmup_steps=5),
        partial(cosine, total_steps=20, final=0.05),
    ),
    boundaries=(5,),
)
ALL = [
    partial(constant, value=0.5),
    inverse_sqrt,
    partial(step_decay, every=3),
    partial(exponential, gamma=0.9),
    partial(polynomial, total_steps=9),
    partial(cosine, total_steps=9),
    partial(linear_warmup, warmup_steps=4),
    partial(sgdr, cycle_steps=4, growth=2),
    partial(one_cycle, total_steps=20, warmup_steps=6),
    partial(wsd, total_steps=20, warmup_steps=4, decay_steps=8),
    WARM_COSINE,
    partial(product, schedules=(inverse_sqrt, partial(step_decay, every=3))),
]


def training(seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(3, generator=generator, requires_grad=True) for _ in "ab"]
    groups = [{"params": [weights[0]]}, {"params": [weights[1]], "lr": 0.02}]
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    return weights, optimizer, LambdaLR(optimizer, WARM_COSINE)


def train(weights, optimizer, scheduler, steps):
    lrs = []
    for _ in range(steps):
        optimizer.zero_grad()
        sum((w**4).sum() for w in weights).backward()
        lrs.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return lrs


def test_each_group_keeps_its_base_lr():
    lrs = train(*training(), steps=30)
    factors = WARM_COSINE(np.arange(30))
    np.testing.assert_allclose(lrs, np.outer(factors, [0.1, 0.02]), rtol=1e-12)


def test_the_lr_stays_a_plain_float():
    run = training()
    train(*run, steps=3)
    assert [type(group["lr"]) for group in run[1].param_groups] == [float, float]


def test_saved_and_loaded_with_safe_defaults_it_continues_bit_for_bit():
    whole = training()
    expected_lrs = train(*whole, steps=25)

    first = training()
    lrs = train(*first, steps=11)
    file = io.BytesIO()
    torch.save(
        {
            "weights": first[0],
            "optimizer": first[1].state_dict(),
            "scheduler": first[2].state_dict(),
        },
        file,
    )
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second = training(seed=1)
    for new, old in zip(second[0], saved["weights"], strict=True):
        new.data.copy_(old.data)
    second[1].load_state_dict(saved["optimizer"])
    second[2].load_state_dict(saved["scheduler"])
    lrs += train(*second, steps=14)

    assert lrs == expected_lrs
    for expected, actual in zip(whole[0], second[0], strict=True):
        assert torch.equal(expected, actual)


@pytest.mark.parametrize("schedule", ALL)
def test_a_schedule_pickles_and_copies(schedule):
    steps = np.arange(40)
    for twin in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule)):
        np.testing.assert_array_equal(twin(steps), schedule(steps))


def test_the_scheduler_itself_pickles():
    run = training()
    train(*run, steps=4)
    twin = pickle.loads(pickle.dumps(run[2]))
    assert twin.get_last_lr() == run[2].get_last_lr()


def test_a_schedule_prints_as_it_was_written():
    assert "cosine" in repr(WARM_COSINE)
    assert "total_steps=20, final=0.05" in repr(WARM_COSINE)


def test_the_shared_schedules_docs_are_their_own():
    assert cosine.__doc__.startswith("Return half a cosine wave")
    assert (cosine.__name__, cosine.__module__) == (
        "cosine",
        "mlopt_edu.schedules.decays",
    )
