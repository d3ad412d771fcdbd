"""Exercise 02: gradients of mini-batches, their noise, and momentum.

Tasks 1 to 4 use the loss |X w - y|^2 / (2 n) of exercise 01, with `X` of shape (n, d),
`y` of shape (n,) and `w` of shape (d,). A batch is an array of row numbers, and its
gradient is that of the same loss over those rows. Tasks 6 and 7 walk on a quadratic,
sum_i h_i w_i^2 / 2, whose gradient is h w.

Papers: McCandlish et al., "An Empirical Model of Large-Batch Training", 2018,
arXiv:1812.06162, sections 2.2 and A.1 (tasks 5 and 8); Goyal et al., "Accurate, Large
Minibatch SGD", 2017, arXiv:1706.02677 (task 8); Polyak, "Some methods of speeding up
the convergence of iteration methods", 1964 (task 6); Sutskever et al., "On the
importance of initialization and momentum in deep learning", 2013 (task 7).
Differs from the papers: lr multiplies the velocity instead of entering it, as in torch.

One task a file, imported in the order in which the exercise asks them.
"""

# ruff: noqa: I001 (the order is that of the tasks)
from ._epoch_batches import epoch_batches
from ._batch_gradient import batch_gradient
from ._descend_in_batches import descend_in_batches
from ._gradient_noise import gradient_noise
from ._noise_scale import noise_scale
from ._heavy_ball import heavy_ball
from ._nesterov import nesterov
from ._best_lr import best_lr
from ._choices import four_times_the_batch, momentum_switched_on, two_seeds_one_curve

__all__ = [
    "batch_gradient",
    "best_lr",
    "descend_in_batches",
    "epoch_batches",
    "four_times_the_batch",
    "gradient_noise",
    "heavy_ball",
    "momentum_switched_on",
    "nesterov",
    "noise_scale",
    "two_seeds_one_curve",
]
