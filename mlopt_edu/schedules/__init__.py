"""Learning-rate schedules: functions of the step that return a factor of the base lr.

The step counts the updates already made, so the first update uses the factor at step 0.
The factor at `total_steps` is the last one of a schedule and stays for all later steps.
A schedule with its numbers filled in is what `torch.optim.lr_scheduler.LambdaLR` takes:

    >>> from functools import partial
    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    >>> warm = partial(linear_warmup, warmup_steps=4)
    >>> fall = partial(cosine, total_steps=16)
    >>> schedule = partial(join, schedules=(warm, fall), boundaries=(4,))
    >>> scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    >>> round(optimizer.param_groups[0]["lr"], 3)
    0.02

Such a `partial` prints as it was written, pickles, copies, and plots with an array of
steps: `schedule(np.arange(20))`.
"""

from mlopt_edu.schedules.composition import join, product
from mlopt_edu.schedules.cycles import linear_warmup, one_cycle, sgdr, wsd
from mlopt_edu.schedules.decays import (
    constant,
    cosine,
    exponential,
    inverse_sqrt,
    polynomial,
    step_decay,
)
from mlopt_edu.schedules.range_test import LRRange, lr_range_test

__all__ = [
    "LRRange",
    "constant",
    "cosine",
    "exponential",
    "inverse_sqrt",
    "join",
    "linear_warmup",
    "lr_range_test",
    "one_cycle",
    "polynomial",
    "product",
    "sgdr",
    "step_decay",
    "wsd",
]
