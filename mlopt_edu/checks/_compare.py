"""Say in one sentence how a value differs from the right one.

NumPy arrays, torch tensors, lists of numbers and plain numbers are compared by what
they hold, so that an answer may use any of them. The tolerance follows the precision
of the answer: float32 arithmetic is not a mistake.
"""

from fractions import Fraction
from typing import Any

import numpy as np

# Relative tolerance by size in bytes of a floating-point (or half a complex) number.
_ROUNDING = {2: 2e-2, 4: 2e-4}


def difference(expected: Any, got: Any, *, rtol: float) -> str:
    """Return "" if `got` is right, else a sentence that says what was seen.

    Args:
        expected: The right value: number, array, string, bool, or tuple of these.
        got: The value to judge, of any type.
        rtol: Relative tolerance for double precision, as a share of the largest
            expected magnitude. 0 asks for the very same numbers in any precision.

    Example:
        >>> difference(np.array([1.0, 2.0]), np.array([1.0, 2.5]), rtol=1e-7)
        'at index 1 it should be 2, but it is 2.5'
        >>> difference(2.0, None, rtol=1e-7)
        'it returned None; is the `return` missing?'
    """
    if got is None and expected is not None:
        return "it returned None; is the `return` missing?"
    if isinstance(expected, str):
        return _text_difference(expected, got)
    # A list that is no array is ragged: batches, say, of which the last is smaller.
    if isinstance(expected, tuple) or (
        isinstance(expected, list) and as_array(expected) is None
    ):
        return _tuple_difference(expected, got, rtol)
    return _number_difference(expected, got, rtol)


def as_array(value: Any) -> np.ndarray[Any, Any] | None:
    """Turn numbers in any usual container into an array; None if they are not."""
    try:
        if hasattr(value, "detach"):  # a torch tensor, without importing torch
            value = value.detach()
            value = value.float() if str(value.dtype) == "torch.bfloat16" else value
            value = value.cpu().numpy()
        elif isinstance(value, (list, tuple)) and not _is_plain(value):
            rows = [as_array(item) for item in value]
            if any(row is None for row in rows):
                return None
            value = np.array(rows)
        elif isinstance(value, Fraction):  # NumPy would keep it as an object
            value = float(value)
        array = np.asarray(value)
    except Exception:
        return None
    return array if array.dtype.kind in "biufc" else None


def _is_plain(values: list[Any] | tuple[Any, ...]) -> bool:
    """Whether NumPy can take the list as it is, which is faster for millions."""
    return all(type(value) in (float, int) for value in values)


def show(value: Any, limit: int = 320) -> str:
    """Print a value shortly: few entries an axis, 5 digits, `limit` characters."""
    array = as_array(value)
    if array is None:
        text = _repr(value)
    elif array.ndim == 0:
        text = f"{array.item():.6g}" if array.dtype.kind in "fc" else str(array.item())
    else:
        text = np.array2string(
            array, precision=5, threshold=24, edgeitems=2, suppress_small=False
        )
        if array.size > 24:
            text += f"  shape {array.shape}"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _text_difference(expected: str, got: Any) -> str:
    if not isinstance(got, str):
        return f'it should be text such as "a", but it is {_describe(got)}'
    same = got.strip().strip("().").casefold() == expected.casefold()
    return "" if same else f"{got.strip()[:40]!r} is not the right one"


def _tuple_difference(
    expected: tuple[Any, ...] | list[Any], got: Any, rtol: float
) -> str:
    rows = as_array(got) if hasattr(got, "detach") else got
    if isinstance(rows, np.ndarray) and rows.ndim:
        got = list(rows)  # one number an entry, or one row
    if not isinstance(got, (tuple, list)) or len(got) != len(expected):
        return f"it should return {len(expected)} values, but it is {_describe(got)}"
    faults = [
        f"value {place + 1} of {len(expected)}: {text}"
        for place, (right, seen) in enumerate(zip(expected, got, strict=True))
        if (text := difference(right, seen, rtol=rtol))
    ]
    # A wrong count says more than the array that follows from it.
    return min(faults, key=len, default="")


def _number_difference(expected: Any, got: Any, rtol: float) -> str:
    right, seen = as_array(expected), as_array(got)
    if right is None:
        return "" if expected == got else f"it is {_describe(got)}"
    if seen is None:
        return f"it should be {_kind(right)}, but it is {_describe(got)}"
    if right.dtype.kind != "b" and seen.dtype.kind == "b":
        return f"it should be {_kind(right)}, but it holds True and False"
    if right.dtype.kind != "c" and seen.dtype.kind == "c":
        if np.any(seen.imag != 0):
            return f"it should be {_kind(right)}, but it is complex"
        seen = seen.real
    if right.ndim == 0 and seen.shape:
        return f"it should be one number, but it is an array of shape {seen.shape}"
    if rtol and str(getattr(got, "dtype", "")) == "torch.bfloat16":
        rtol = max(rtol, _ROUNDING[2])
    if isinstance(got, (list, tuple)) and seen.size == right.size == 0:
        return ""  # a list without rows cannot say how long they are
    if seen.shape != right.shape:
        return f"it should have shape {right.shape}, but it has shape {seen.shape}"
    return _first_difference(right, seen, rtol)


def _first_difference(
    right: np.ndarray[Any, Any], seen: np.ndarray[Any, Any], rtol: float
) -> str:
    if seen.dtype == right.dtype and seen.tobytes() == right.tobytes():
        return ""  # the usual case, many times faster than what follows
    size = seen.dtype.itemsize // (2 if seen.dtype.kind == "c" else 1)
    if rtol and seen.dtype.kind in "fc":
        rtol = max(rtol, _ROUNDING.get(size, 0.0))
    with np.errstate(all="ignore"):  # even a cast of a signalling NaN would warn
        wide_right, wide_seen = _widen(right), _widen(seen)
        finite = np.abs(wide_right[np.isfinite(wide_right)])
        scale = float(finite.max()) if finite.size else 0.0
        near = np.isclose(
            wide_seen, wide_right, rtol=0, atol=rtol * scale, equal_nan=True
        )
    if near.all():
        return ""
    index = tuple(int(i) for i in np.argwhere(~near)[0])
    where = "" if not index else f"at index {index[0] if len(index) == 1 else index} "
    wanted, found = show(right[index]), show(seen[index])
    if wanted == found:
        found = f"{seen[index]:.12g}, near but not equal"
    text = f"{where}it should be {wanted}, but it is {found}"
    if right.dtype.kind == "f" and seen.dtype.kind in "iu":
        text += f" ({seen.dtype} cuts off fractions; use a floating-point array)"
    return text


def _widen(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _kind(array: np.ndarray[Any, Any]) -> str:
    return "a number" if array.ndim == 0 else f"an array of shape {array.shape}"


def _describe(value: Any) -> str:
    if callable(value):
        return "a function; return its result instead"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"an array of dtype {value.dtype} and shape {value.shape}"
    return f"{type(value).__name__} {_repr(value)[:60]}"


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # a learner's own class may be broken
        return f"<{type(value).__name__}>"
