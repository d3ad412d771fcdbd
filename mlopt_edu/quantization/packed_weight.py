r"""A weight of a few bits: packed codes, and what turns them into real numbers.

    weight = (value(code) - zero_point) * scale

    value      code - 2^(bits-1), or the code's entry in a table of levels
    scale      one for each block of a row, or 1
    zero_point one for each block of a row, or 0

All formats of less than 8 bits are this: integers (scales), NF4 (levels and scales),
ternary (2-bit integers and scales), binary (the levels -1 and 1, and scales), codebooks
(levels). The buffers hold nothing else, so they are the layer's size in memory and on
disk; the real weight is made anew on each call.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mlopt_edu.quantization.granularity import PerGroup
from mlopt_edu.quantization.nf4 import dequantize_scales, quantize_scales
from mlopt_edu.quantization.packing import pack, unpack


@dataclass(frozen=True, kw_only=True)
class WeightFormat:
    """Everything about a packed weight but its numbers.

    Attributes:
        shape: Shape of the real weight; the first dimension counts its rows.
        bits: Bits of a code, from 1 to 8.
        block_size: Entries of a row that share a scale.
        has_levels: Codes are places in a table, not integers.
        has_scale: There is a scale for each block.
        has_zero_point: There is a zero point for each block.
        has_double_scale: The scales are quantized too.
    """

    shape: tuple[int, ...]
    bits: int
    block_size: int
    has_levels: bool = False
    has_scale: bool = True
    has_zero_point: bool = False
    has_double_scale: bool = False

    @property
    def blocks(self) -> int:
        """How many blocks all rows have together."""
        return self.shape[0] * math.ceil(self.row / self.block_size)

    @property
    def row(self) -> int:
        """How many entries a row has."""
        return math.prod(self.shape[1:])


class PackedWeight(nn.Module):
    """A weight in few bits, with room for what its format needs.

    Args:
        format: What is held. The numbers are zeros until `pack` or a state fills them.
        device: Where.
        dtype: Type of levels and scales, and so of the weight.
    """

    def __init__(
        self,
        format: WeightFormat,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not (format.has_levels or format.has_scale):
            raise ValueError("a format must have levels, a scale, or both, got neither")
        self.format = format
        real = torch.empty((), device=device, dtype=dtype)
        row_bytes = math.ceil(format.row * format.bits / 8)
        buffers: dict[str, Tensor] = {
            "codes": torch.zeros(
                format.shape[0], row_bytes, dtype=torch.uint8, device=device
            )
        }
        if format.has_levels:
            buffers["levels"] = real.new_zeros(2**format.bits)
        if format.has_double_scale:
            seconds = math.ceil(format.blocks / 256)
            buffers["scale"] = torch.zeros(
                format.blocks, dtype=torch.int8, device=device
            )
            buffers["scale_scale"] = real.new_zeros(seconds, 1)
            buffers["scale_mean"] = real.new_zeros(())
        elif format.has_scale:
            buffers["scale"] = real.new_zeros(format.blocks, 1)
        if format.has_zero_point:
            buffers["zero_point"] = torch.zeros(
                format.blocks, 1, dtype=torch.int8, device=device
            )
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)
        self.codes: Tensor
        self.scale: Tensor

    @classmethod
    def pack(
        cls,
        values: Tensor,
        *,
        bits: int,
        block_size: int | None = None,
        levels: Tensor | None = None,
        scale: Tensor | None = None,
        zero_point: Tensor | None = None,
        double: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> "PackedWeight":
        """Hold integers, or places in a table of levels.

        Args:
            values: Integers in [-2^(bits-1), 2^(bits-1)), or codes in [0, 2^bits) if
                there are levels; of the shape of the weight.
            bits: Bits of a code, from 1 to 8.
            block_size: Entries of a row that share a scale; all by default.
            levels: Real number of each code, shape (2^bits,).
            scale: Scales of shape (blocks, 1).
            zero_point: Integers of shape (blocks, 1); left out if all are 0.
            double: Quantize the scales too, to 8 bits.
            dtype: Type of levels and scales.

        Raises:
            ValueError: If a value or a shape does not fit.
        """
        row = math.prod(values.shape[1:])
        if zero_point is not None and not zero_point.any():
            zero_point = None
        format = WeightFormat(
            shape=tuple(values.shape),
            bits=bits,
            block_size=max(1, row if block_size is None else min(block_size, row)),
            has_levels=levels is not None,
            has_scale=scale is not None,
            has_zero_point=zero_point is not None,
            has_double_scale=double,
        )
        packed = cls(format, device=values.device, dtype=dtype)
        offset = 0 if levels is not None else 2 ** (bits - 1)
        numbers = {"codes": pack(values.flatten(1).int() + offset, bits=bits)}
        if levels is not None:
            numbers["levels"] = levels
        if scale is not None and double:
            names = ("scale", "scale_scale", "scale_mean")
            numbers |= dict(zip(names, quantize_scales(scale), strict=True))
        elif scale is not None:
            numbers["scale"] = scale
        if zero_point is not None:
            numbers["zero_point"] = zero_point
        for name, number in numbers.items():
            buffer = packed.get_buffer(name)
            if number.shape != buffer.shape:
                raise ValueError(
                    f"{name} must have shape {tuple(buffer.shape)}, "
                    f"got {tuple(number.shape)}"
                )
            buffer.copy_(number)
        return packed

    def unpack(self) -> Tensor:
        """Return the real weight, a new tensor."""
        format = self.format
        codes = unpack(self.codes, bits=format.bits, count=format.row)
        if format.has_levels:
            levels = self.get_buffer("levels")
            real = levels.index_select(0, codes.flatten().int()).reshape(codes.shape)
            if not format.has_scale:
                return real.reshape(format.shape)
            scale = self._scale()
        else:
            scale = self._scale()
            real = codes.to(scale.dtype).sub_(2 ** (format.bits - 1))
        groups = PerGroup(format.block_size)
        blocks = groups.blocks(real)
        if format.has_zero_point:
            blocks = blocks - self.get_buffer("zero_point")
        # In place where it may: no second copy of the weight.
        return groups.join(blocks.mul_(scale), format.shape)

    def values(self) -> Tensor:
        """Return the integers, int8, or the codes, uint8, in the weight's shape."""
        format = self.format
        codes = unpack(self.codes, bits=format.bits, count=format.row)
        if not format.has_levels:
            codes = codes.to(torch.int8) - 2 ** (format.bits - 1)  # 128 wraps to -128
        return codes.reshape(format.shape)

    def _scale(self) -> Tensor:
        if not self.format.has_double_scale:
            return self.scale
        return dequantize_scales(
            self.scale, self.get_buffer("scale_scale"), self.get_buffer("scale_mean")
        )

    def spec(self) -> dict[str, Any]:
        """Return the format as plain data, for a file's header."""
        return asdict(self.format)

    @classmethod
    def from_spec(cls, spec: dict[str, Any], *, dtype: torch.dtype) -> "PackedWeight":
        """Return an empty weight of that format."""
        shape: Sequence[int] = spec["shape"]
        return cls(WeightFormat(**spec | {"shape": tuple(shape)}), dtype=dtype)

    def extra_repr(self) -> str:
        """Show the format."""
        return f"shape={self.format.shape}, bits={self.format.bits}"
