"""Values as JSON that cannot carry code: how judge and answer process talk.

Numbers, text and None are themselves, a list is a list. Everything else is an object
with a tag: {"t": "array", "dtype": "<f8", "shape": [2], "data": base64}. `decode`
trusts nothing: it checks every tag, size and type, and builds plain values only.

This file imports NumPy and the standard library, so that the answer process can load
it without loading the course.
"""

import base64
import binascii
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_BYTES = 8 * 2**20  # of array data in one value
MAX_NODES = 100_000  # lists, numbers, arrays, … in one value
MAX_DEPTH = 20
MAX_TEXT = 100_000  # characters
MAX_BITS = 4096  # of a Python integer

DTYPES = frozenset(
    np.dtype(name).str
    for name in (
        *("bool", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    )
)


@dataclass(frozen=True)
class Unsupported:
    """Stands for a value that the format does not carry; `kind` names its type."""

    kind: str


class WireError(ValueError):
    """A message that is not in the format."""


def encode(value: Any) -> Any:
    """Return what `json.dumps` takes; a foreign type becomes `Unsupported`.

    Raises:
        WireError: If the value is too large, too deep, or contains itself.

    Example:
        >>> encode((1, float("inf")))
        {'t': 'tuple', 'v': [1, {'t': 'float', 'v': 'inf'}]}
    """
    return _Encoder().encode(value, 0)


def decode(message: Any) -> Any:
    """Return the value of a message that nobody vouches for.

    Raises:
        WireError: If it is not in the format or too large.

    Example:
        >>> decode({"t": "tuple", "v": [1, {"t": "float", "v": "inf"}]})
        (1, inf)
    """
    return _Decoder().decode(message, 0)


class _Budget:
    """Counts what a value holds, in either direction."""

    def __init__(self) -> None:
        self.nodes = 0
        self.bytes = 0

    def node(self, depth: int) -> None:
        self.nodes += 1
        if depth > MAX_DEPTH:
            raise WireError(f"it is nested more than {MAX_DEPTH} levels deep")
        if self.nodes > MAX_NODES:
            raise WireError(f"it holds more than {MAX_NODES:,} values")

    def data(self, size: int) -> None:
        self.bytes += size
        if self.bytes > MAX_BYTES:
            raise WireError(f"it holds more than {MAX_BYTES // 2**20} MB of numbers")


class _Encoder(_Budget):
    def encode(self, value: Any, depth: int) -> Any:
        self.node(depth)
        # Exact types: a subclass may define what its methods do.
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            if value.bit_length() > MAX_BITS:
                raise WireError(f"it holds an integer of more than {MAX_BITS} bits")
            return value if abs(value) < 2**53 else {"t": "int", "v": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"t": "float", "v": repr(value)}
        if kind is complex:
            return {"t": "complex", "v": [repr(value.real), repr(value.imag)]}
        if kind is str:
            if len(value) > MAX_TEXT:
                raise WireError(f"it holds a text of more than {MAX_TEXT:,} characters")
            return value
        if kind is list:
            return [self.encode(part, depth + 1) for part in value]
        if kind is tuple:
            return {"t": "tuple", "v": [self.encode(p, depth + 1) for p in value]}
        if kind is dict and all(type(key) is str for key in value):
            items = [[key, self.encode(v, depth + 1)] for key, v in value.items()]
            return {"t": "dict", "v": items}
        if kind is Unsupported:
            return {"t": "unsupported", "kind": value.kind[:80]}
        if kind is np.ndarray and value.dtype.str in DTYPES:
            return self.array("array", value)
        if isinstance(value, np.generic) and kind in _SCALARS:
            return self.array("scalar", np.asarray(value))
        torch = sys.modules.get("torch")
        if torch is not None and kind in (torch.Tensor, torch.nn.Parameter):
            return self.tensor(torch, value)
        return {"t": "unsupported", "kind": str(kind.__name__)[:80]}

    def array(self, tag: str, value: np.ndarray[Any, Any]) -> dict[str, Any]:
        self.data(value.nbytes)
        return {
            "t": tag,
            "dtype": value.dtype.str,
            "shape": list(value.shape),
            "data": base64.b64encode(value.tobytes()).decode(),
        }

    def tensor(self, torch: Any, value: Any) -> dict[str, Any]:
        if value.layout is not torch.strided or value.is_quantized:
            return {"t": "unsupported", "kind": f"{value.layout} tensor"[:80]}
        value = value.detach().cpu().resolve_conj().resolve_neg()
        if value.dtype is torch.bfloat16:
            bits = value.contiguous().view(torch.int16).numpy()
            return {**self.array("tensor", bits), "bfloat16": True}
        array = value.numpy()
        if array.dtype.str not in DTYPES:
            return {"t": "unsupported", "kind": f"{value.dtype} tensor"[:80]}
        return self.array("tensor", array)


_SCALARS = frozenset(np.dtype(dtype).type for dtype in DTYPES)


class _Decoder(_Budget):
    def decode(self, message: Any, depth: int) -> Any:
        self.node(depth)
        if message is None or isinstance(message, bool):
            return message
        if isinstance(message, int):
            if abs(message) >= 2**53:
                raise WireError("a large integer must be tagged")
            return message
        if isinstance(message, float):
            if not math.isfinite(message):
                raise WireError("a float that is not finite must be tagged")
            return message
        if isinstance(message, str):
            return _text(message)
        if isinstance(message, list):
            return [self.decode(part, depth + 1) for part in message]
        if not isinstance(message, dict):
            raise WireError(f"a message cannot hold a {type(message).__name__}")
        return self.tagged(message, depth)

    def tagged(self, message: dict[str, Any], depth: int) -> Any:
        tag, content = message.get("t"), message.get("v")
        if tag == "tuple" and isinstance(content, list):
            return tuple(self.decode(part, depth + 1) for part in content)
        if tag == "dict" and isinstance(content, list):
            return dict(self.item(pair, depth) for pair in content)
        if tag == "int" and isinstance(content, str) and len(content) <= MAX_BITS:
            return self.integer(content)
        if tag == "float" and content in ("nan", "inf", "-inf"):
            return float(content)
        if tag == "complex" and isinstance(content, list) and len(content) == 2:
            return complex(*map(_real, content))
        if tag == "array":
            return self.array(message)
        if tag == "scalar":
            return self.array(message, scalar=True)[()]
        if tag == "tensor":
            return self.tensor(message)
        if tag == "unsupported" and isinstance(message.get("kind"), str):
            kind = message["kind"][:80]
            return Unsupported("".join(c if c.isprintable() else "?" for c in kind))
        raise WireError(f"there is no tag {str(tag)[:40]!r} with this content")

    def item(self, pair: Any, depth: int) -> tuple[str, Any]:
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise WireError("an entry of a dict must be a text and a value")
        return _text(pair[0]), self.decode(pair[1], depth + 1)

    def integer(self, content: str) -> int:
        try:
            value = int(content, 16)
        except ValueError:
            raise WireError("a tagged integer must be hexadecimal") from None
        if value.bit_length() > MAX_BITS:
            raise WireError(f"it holds an integer of more than {MAX_BITS} bits")
        return value

    def array(
        self, message: dict[str, Any], *, scalar: bool = False
    ) -> np.ndarray[Any, Any]:
        name, shape, data = (message.get(key) for key in ("dtype", "shape", "data"))
        if not isinstance(name, str) or name not in DTYPES:
            raise WireError(f"the dtype {str(name)[:40]!r} is not allowed")
        if (
            not isinstance(shape, list)
            or len(shape) > 16
            or (scalar and shape)
            or not all(type(n) is int and 0 <= n <= MAX_BYTES for n in shape)
        ):
            raise WireError("the shape of an array must be a short list of sizes")
        dtype = np.dtype(name)
        size = math.prod(shape) * dtype.itemsize
        self.data(size)
        # Base64 makes 4 characters of 3 bytes: compare before decoding a bomb.
        if not isinstance(data, str) or len(data) != 4 * math.ceil(size / 3):
            raise WireError("the data of an array must have the size of its shape")
        try:
            raw = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise WireError("the data of an array must be base64") from None
        if len(raw) != size:
            raise WireError("the data of an array must have the size of its shape")
        if dtype.kind == "b" and raw.translate(None, b"\x00\x01"):
            raise WireError("a boolean must be 0 or 1")
        try:
            return np.ndarray(tuple(shape), dtype, bytearray(raw))
        except ValueError:  # an empty array of an absurd shape
            raise WireError("the shape of an array must be possible") from None

    def tensor(self, message: dict[str, Any]) -> Any:
        array = self.array(message)
        try:
            import torch
        except ImportError:
            raise WireError("a tensor came, but torch is not installed") from None
        tensor = torch.from_numpy(array)
        if message.get("bfloat16") is True and array.dtype == np.int16:
            return tensor.view(torch.bfloat16)
        return tensor


def _text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise WireError(f"it holds a text of more than {MAX_TEXT:,} characters")
    # Half a surrogate pair is a legal str that no file can hold.
    return text.encode("utf-8", "replace").decode()


def _real(text: Any) -> float:
    try:
        return float(text) if isinstance(text, str) and len(text) < 40 else math.nan
    except ValueError:
        raise WireError("a complex number must hold two numbers") from None
