"""One equation for a single step and for an array of them."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, overload

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
P = ParamSpec("P")


class Schedule(Protocol[P]):
    """A factor for a step, or an array of factors for an array of steps."""

    @overload
    def __call__(self, step: float, *args: P.args, **kwargs: P.kwargs) -> float: ...
    @overload
    def __call__(
        self, step: NDArray[Any], *args: P.args, **kwargs: P.kwargs
    ) -> Floats: ...


def elementwise(equation: Callable[Concatenate[Floats, P], Floats]) -> Schedule[P]:
    """Give `equation` float64 arrays, and return a plain float for a single step.

    A NumPy number in a parameter group could not be loaded by `torch.load` with its
    safe defaults.

    Raises:
        ValueError: From the function returned, if a step is negative or not a number.
    """

    @wraps(equation)
    def schedule(step: Any, *args: P.args, **kwargs: P.kwargs) -> Any:
        steps = np.asarray(step, dtype=np.float64)
        if not (steps >= 0).all():
            raise ValueError(f"step must be at least 0, got {steps.min()}")
        factors = equation(steps, *args, **kwargs)
        return factors if steps.ndim else float(factors)

    return schedule
