"""Optimizers: each a pure update function that is the equation, and one thin class."""

from mlopt_edu.optim.gradient_descent import GradientDescent, gradient_descent_update
from mlopt_edu.optim.multi_tensor import Tensors
from mlopt_edu.optim.sgd import SGD, sgd_update
from mlopt_edu.optim.sharpness import max_stable_lr, sharpness

__all__ = [
    "SGD",
    "GradientDescent",
    "Tensors",
    "gradient_descent_update",
    "max_stable_lr",
    "sgd_update",
    "sharpness",
]
