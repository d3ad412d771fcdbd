"""Exercise 04: schedules, a range test for the base lr, and two loops to mend.

A schedule is a function of the step, counted from 0, that returns a factor; the step
size is the base lr times that factor. Papers: warm restarts, Loshchilov and Hutter,
"SGDR: Stochastic Gradient Descent with Warm Restarts", 2016, arXiv:1608.03983; the
range test, Smith, "Cyclical Learning Rates for Training Neural Networks", 2015,
arXiv:1506.01186; one cycle, Smith and Topin, "Super-Convergence", 2017,
arXiv:1708.07120.

One task a file, imported in the order in which the exercise asks them.
"""

# ruff: noqa: I001 (the order is that of the tasks)
from ._inverse_sqrt import inverse_sqrt
from ._step_decay import step_decay
from ._cosine_with_warmup import cosine_with_warmup
from ._warm_restarts import warm_restarts
from ._one_cycle import one_cycle
from ._range_test_pick import range_test_pick
from ._decaying_descent import decaying_descent
from ._scheduled_training import scheduled_training
from ._choices import mirror_step, once_an_epoch, where_to_stop, which_is_adaptive

__all__ = [
    "cosine_with_warmup",
    "decaying_descent",
    "inverse_sqrt",
    "mirror_step",
    "once_an_epoch",
    "one_cycle",
    "range_test_pick",
    "scheduled_training",
    "step_decay",
    "warm_restarts",
    "where_to_stop",
    "which_is_adaptive",
]
