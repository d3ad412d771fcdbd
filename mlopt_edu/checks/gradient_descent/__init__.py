"""Exercise 01: gradient descent on least squares, its bound, its rate, its end.

Everywhere the loss is |X w - y|^2 / (2 n), with `X` of shape (n, d), `y` of shape
(n,) and `w` of shape (d,). Its Hessian is X^T X / n; write lambda for its eigenvalues.
Gradient descent multiplies the error along each eigenvector by 1 - lr lambda a step
(Nesterov, "Lectures on Convex Optimization", 2018, section 1.2.3).

One task a file, imported in the order in which the exercise asks them.
"""

# ruff: noqa: I001 (the order is that of the tasks)
from ._gradient import gradient
from ._descend import descend
from ._largest_lr import largest_lr
from ._contraction import contraction
from ._steps_needed import steps_needed
from ._stubborn_start import stubborn_start
from ._descend_until import descend_until
from ._choices import nearly_the_bound, reading_a_curve, scale_one_feature, what_now

__all__ = [
    "contraction",
    "descend",
    "descend_until",
    "gradient",
    "largest_lr",
    "nearly_the_bound",
    "reading_a_curve",
    "scale_one_feature",
    "steps_needed",
    "stubborn_start",
    "what_now",
]
