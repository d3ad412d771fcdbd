"""Read a file of weights that nobody vouches for: safetensors, and nothing else.

The format is 8 bytes with the length of a header, the header as JSON, and the numbers
(https://huggingface.co/docs/safetensors). It cannot carry code. Everything that a
header can claim is checked before a tensor is made: its size, its tensors' number,
names, types and shapes, and that they cover the numbers exactly, without overlap.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SUFFIX = ".safetensors"
MAX_HEADER = 256 * 2**10  # bytes
MAX_TENSORS = 2000
MAX_DIMENSIONS = 8
_SIZES = {
    "BOOL": 1,
    **{"U8": 1, "I8": 1, "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8},
    **{"F8_E4M3": 1, "F8_E5M2": 1, "F16": 2, "BF16": 2, "F32": 4, "F64": 8},
}


class WeightsError(ValueError):
    """A file of weights that cannot be used; the message is the reason."""


@dataclass(frozen=True)
class Weights:
    """What a file holds.

    Attributes:
        tensors: By name.
        metadata: Texts by name, as the file gives them.
        size: Of the whole file, in bytes.
    """

    tensors: Mapping[str, "torch.Tensor"]
    metadata: Mapping[str, str]
    size: int


def parse_weights(data: bytes, *, max_bytes: int) -> Weights:
    """Return the tensors of a safetensors file.

    Args:
        data: The whole file.
        max_bytes: How large it may be.

    Raises:
        WeightsError: If it is too large or not a sound file.
        ModuleNotFoundError: If safetensors is not installed.
    """
    if len(data) > max_bytes:
        raise WeightsError(
            f"the file must have at most {max_bytes:,} bytes, got {len(data):,}"
        )
    metadata = _checked_header(data)
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"the file is not a safetensors file: {reason}") from None
    return Weights(tensors, metadata, len(data))


def _checked_header(data: bytes) -> Mapping[str, str]:
    """Check everything a header claims; return its metadata."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise WeightsError("the file is not a safetensors file: its header is cut off")
    if length > MAX_HEADER:
        raise WeightsError(f"the header must have at most {MAX_HEADER:,} bytes")
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, WeightsError) else "it is not JSON"
        raise WeightsError(
            f"the header is not a safetensors header: {reason}"
        ) from None
    if not isinstance(header, dict):
        raise WeightsError("the header must be an object with a tensor for each name")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise WeightsError("the metadata must be texts by name")
    if len(header) > MAX_TENSORS:
        raise WeightsError(f"the file must hold at most {MAX_TENSORS:,} tensors")
    spans = sorted(_span(name, entry) for name, entry in header.items())
    place = 0
    for start, end, name in spans:
        if start != place:
            what = "overlaps another" if start < place else "leaves a hole before it"
            raise WeightsError(f"the tensor {name[:60]!r} {what}")
        place = end
    if place != len(data) - 8 - length:
        raise WeightsError("the tensors must fill the file exactly")
    return metadata


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise WeightsError("a name occurs twice")
    return found


def _span(name: str, entry: Any) -> tuple[int, int, str]:
    """Return where a tensor begins and ends, and its name."""
    shown = repr(name[:60])
    if not isinstance(entry, dict) or entry.keys() != {
        "dtype",
        "shape",
        "data_offsets",
    }:
        raise WeightsError(
            f"the tensor {shown} must have dtype, shape and data_offsets"
        )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _SIZES:
        raise WeightsError(f"the tensor {shown} has a dtype that is not known here")
    if not _sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise WeightsError(f"the shape of {shown} must be a short list of sizes")
    if not _sizes(offsets) or len(offsets) != 2:
        raise WeightsError(f"the data_offsets of {shown} must be two places")
    start, end = offsets
    if end - start != math.prod(shape) * _SIZES[dtype]:
        raise WeightsError(f"the data of {shown} must have the size of its shape")
    return start, end, name


def _sizes(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 2**48 for value in values
    )
