"""Exercise 03: methods that choose a rate for each weight, replayed on given gradients.

An answer gets the weights `param` of shape (d,) and `grads` of shape (steps, d): row t
is the gradient that arrives in step t + 1, wherever the weights are by then. It returns
every point that it visits, the start included: shape (steps + 1, d). With the
gradients given, a run shows the method alone, and any two runs can be compared.

One task a file, imported in the order in which the exercise asks them.
"""

# ruff: noqa: I001 (the order is that of the tasks)
from ._adagrad import adagrad
from ._rmsprop import rmsprop
from ._adam import adam
from ._train_with_adam import train_with_adam
from ._adamw import adamw
from ._lion import lion
from ._orthogonalize import orthogonalize
from ._choices import l2_under_adam, rare_word, uncorrected_start, what_eps_does

__all__ = [
    "adagrad",
    "adam",
    "adamw",
    "l2_under_adam",
    "lion",
    "orthogonalize",
    "rare_word",
    "rmsprop",
    "train_with_adam",
    "uncorrected_start",
    "what_eps_does",
]
