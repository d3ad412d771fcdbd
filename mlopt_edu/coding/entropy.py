r"""Entropy: the fewest bits a symbol that any code can reach on average.

    H = -sum_s p_s * log2(p_s),    p_s = count_s / sum of counts

holds for symbols drawn independently with these probabilities. A code that knows more,
as that zeros come in runs, may need less.

Paper: Shannon, "A Mathematical Theory of Communication", 1948, theorem 9. Differs from
the paper: nothing.
"""

import numpy as np
from numpy.typing import ArrayLike


def entropy(counts: ArrayLike) -> float:
    """Return the entropy of symbols, in bits a symbol.

    Args:
        counts: How often each symbol occurs, at least 0; shape (symbols,). Only their
            ratios matter.

    Returns:
        Bits, from 0 for a single symbol to log2 of the number of symbols; 0 for none.

    Raises:
        ValueError: If a count is negative or not finite.

    Example:
        >>> entropy([2, 1, 1])
        1.5
    """
    weights = np.asarray(counts, dtype=np.float64).ravel()
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("counts must be finite and at least 0, got one that is not")
    weights = weights[weights > 0]
    if len(weights) < 2:
        return 0.0
    shares = weights / weights.sum()
    return float(-(shares * np.log2(shares)).sum())
