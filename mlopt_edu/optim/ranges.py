"""Ranges that hyper-parameters of several optimizers share, refused by name."""

import math
from typing import Any


def require_non_negative(options: dict[str, Any], *names: str) -> None:
    """Check that the named options are finite and at least 0.

    Raises:
        ValueError: If one is not.
    """
    for name in names:
        if not 0 <= options[name] < math.inf:
            raise ValueError(
                f"{name} must be finite and at least 0, got {options[name]}"
            )


def require_share(options: dict[str, Any], *names: str) -> None:
    """Check that the named options lie in [0, 1).

    Raises:
        ValueError: If one does not.
    """
    for name in names:
        if not 0 <= options[name] < 1:
            raise ValueError(f"{name} must lie in [0, 1), got {options[name]}")


def require_betas(options: dict[str, Any]) -> None:
    """Check that `betas` are two numbers in [0, 1).

    Raises:
        ValueError: If they are not.
    """
    betas = tuple(options["betas"])
    if len(betas) != 2:
        raise ValueError(f"betas must be two numbers, got {betas}")
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas must each lie in [0, 1), got {betas}")
