r"""Convolutions for inference, with weights of few bits.

    WeightOnlyConv    the weight is made of its codes on each call
    Int8Conv          windows of int8 inputs times int8 weights, with int32 sums

For the second, each window becomes a row, so that a convolution is one product of
matrices, as in `Int8Linear`: y = s t_j Σ q r + b. The input's scale s is one for each
example (dynamic), so that a result does not depend on its neighbours in the batch, or
one for all (static). Padding is with the integer that means 0.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlopt_edu.quantization.linear import (
    input_format,
    quantize_rows,
    quantize_static,
)
from mlopt_edu.quantization.packed_weight import PackedWeight
from mlopt_edu.quantization.products import int_matmul, windows
from mlopt_edu.quantization.weights import quantize_weight

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
_CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


@dataclass(frozen=True, kw_only=True)
class ConvFormat:
    """How the kernel moves.

    Attributes:
        stride: One number for each dimension.
        dilation: One number for each dimension.
        groups: Divides the channels.
        padding: Entries before and after, for the last dimension first, as
            `torch.nn.functional.pad` takes them.
        padding_mode: What is put there: "zeros", "reflect", "replicate" or "circular".
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding: tuple[int, ...]
    padding_mode: str

    @classmethod
    def of(cls, conv: Conv) -> "ConvFormat":
        """Return that of a float layer."""
        sides: list[int] = []
        for dim in reversed(range(len(conv.kernel_size))):
            if conv.padding == "same":
                total = conv.dilation[dim] * (conv.kernel_size[dim] - 1)
                sides += [total // 2, total - total // 2]
            elif conv.padding == "valid":
                sides += [0, 0]
            else:
                sides += [int(conv.padding[dim])] * 2
        return cls(
            stride=tuple(conv.stride),
            dilation=tuple(conv.dilation),
            groups=conv.groups,
            padding=tuple(sides),
            padding_mode=conv.padding_mode,
        )

    def pad(self, x: Tensor) -> Tensor:
        """Return `x` padded."""
        if not any(self.padding):
            return x
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return functional.pad(x, self.padding, mode=mode)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolution of real numbers."""
        dimensions = len(self.stride)
        y: Tensor = _CONVOLVE[dimensions](
            self.pad(x), weight, bias, self.stride, 0, self.dilation, self.groups
        )
        return y

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> "ConvFormat":
        """Return what `dataclasses.asdict` was given, from a file's header."""
        return cls(
            stride=tuple(spec["stride"]),
            dilation=tuple(spec["dilation"]),
            groups=spec["groups"],
            padding=tuple(spec["padding"]),
            padding_mode=spec["padding_mode"],
        )


class WeightOnlyConv(nn.Module):
    """A convolution over one, two or three dimensions that keeps its weight packed.

    Args:
        packed: Weight of shape (out_channels, in_channels / groups, *kernel).
        bias: Tensor of shape (out_channels,), or None.
        format: How the kernel moves.
    """

    def __init__(
        self, packed: PackedWeight, bias: Tensor | None, format: ConvFormat
    ) -> None:
        super().__init__()
        self.packed = packed
        self.format = format
        self.register_buffer("bias", bias)
        self.bias: Tensor | None

    @property
    def weight(self) -> Tensor:
        """The real weight, made of its codes."""
        return self.packed.unpack()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, *sizes) to (n, out_channels, *out_sizes)."""
        return self.format.convolve(x, self.weight, self.bias)

    def spec(self) -> dict[str, Any]:
        """Return all but the numbers as plain data."""
        return {
            "packed": self.packed.spec(),
            "has_bias": self.bias is not None,
            "format": asdict(self.format),
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any], *, dtype: torch.dtype) -> Any:
        """Return an empty layer."""
        packed = PackedWeight.from_spec(spec["packed"], dtype=dtype)
        rows = packed.format.shape[0]
        bias = torch.zeros(rows, dtype=dtype) if spec["has_bias"] else None
        return cls(packed, bias, ConvFormat.from_spec(spec["format"]))

    def extra_repr(self) -> str:
        """Show how the kernel moves."""
        return f"stride={self.format.stride}, groups={self.format.groups}"


class Int8Conv(nn.Module):
    """A convolution that multiplies 8-bit integers.

    Args:
        values: Weight, int8 of shape (out_channels, in_channels / groups, *kernel).
        scale: Scale of each output channel, shape (out_channels,).
        bias: Tensor of shape (out_channels,), or None.
        format: How the kernel moves.
        input_scale: Fixed scale of the input, a scalar; None takes one from each
            example.
        input_zero_point: Its zero point, int32, a scalar.
    """

    def __init__(
        self,
        values: Tensor,
        scale: Tensor,
        bias: Tensor | None,
        format: ConvFormat,
        *,
        input_scale: Tensor | None = None,
        input_zero_point: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.format = format
        self.register_buffer("values", values.contiguous())
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)
        self.register_buffer("input_scale", input_scale)
        self.register_buffer("input_zero_point", input_zero_point)
        self.values: Tensor
        self.scale: Tensor
        self.bias: Tensor | None
        self.input_scale: Tensor | None
        self.input_zero_point: Tensor | None

    @classmethod
    def from_conv(
        cls, conv: Conv, *, input_range: tuple[Tensor, Tensor] | None = None
    ) -> "Int8Conv":
        """Quantize a float layer.

        Args:
            conv: The layer, which stays as it is.
            input_range: Lowest and highest input, scalars, for a fixed scale.

        Raises:
            ValueError: If a weight or the range is not finite.
        """
        values, scale, _ = quantize_weight(conv.weight)
        bias = None if conv.bias is None else conv.bias.detach().clone()
        return cls(
            values,
            scale.flatten().to(conv.weight.dtype),
            bias,
            ConvFormat.of(conv),
            **input_format(input_range),
        )

    @property
    def weight(self) -> Tensor:
        """The real weight that the integers stand for."""
        return self.values * self.scale.reshape(-1, *[1] * (self.values.ndim - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, *sizes) to (n, out_channels, *out_sizes)."""
        if x.ndim == self.values.ndim - 1:
            y: Tensor = self.forward(x[None])
            return y[0]
        if torch.is_grad_enabled() and x.requires_grad:
            smooth = self.format.convolve(x, self.weight, self.bias)
            return smooth + (self._convolve(x.detach()) - smooth).detach()
        return self._convolve(x)

    def _convolve(self, x: Tensor) -> Tensor:
        n, groups = x.shape[0], self.format.groups  # len would fix it in an export
        padded = self.format.pad(x).float()  # real zeros become zero points
        if self.input_scale is None:
            integers, input_scale = quantize_rows(padded.reshape(n, -1))
            input_scale = input_scale[:, None]
        else:
            integers = quantize_static(padded, self.input_scale, self.input_zero_point)
            input_scale = self.input_scale
        patches = windows(
            integers.reshape(padded.shape),
            self.values.shape[2:],
            stride=self.format.stride,
            dilation=self.format.dilation,
        )
        sizes = patches.shape[1:-2]
        rows, channels = (len(self.values) // groups, self.values.shape[1])
        sums = []
        for group in range(groups):
            part = patches[..., group * channels : (group + 1) * channels, :]
            weight = self.values[group * rows : (group + 1) * rows].flatten(1)
            total = int_matmul(part.reshape(-1, weight.shape[1]), weight)
            if self.input_zero_point is not None:
                total = total - self.input_zero_point * weight.sum(1, dtype=torch.int32)
            sums.append(total)
        y = torch.cat(sums, dim=1).float().reshape(n, -1, len(self.values))
        y = y.mul_(self.scale).mul_(input_scale)
        if self.bias is not None:
            y = y.add_(self.bias)
        return y.to(x.dtype).mT.reshape(n, len(self.values), *sizes)

    def spec(self) -> dict[str, Any]:
        """Return all but the numbers as plain data."""
        return {
            "shape": list(self.values.shape),
            "has_bias": self.bias is not None,
            "is_static": self.input_scale is not None,
            "format": asdict(self.format),
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any], *, dtype: torch.dtype) -> Any:
        """Return an empty layer."""
        rows = spec["shape"][0]
        is_static = spec["is_static"]
        return cls(
            torch.zeros(spec["shape"], dtype=torch.int8),
            torch.zeros(rows, dtype=dtype),
            torch.zeros(rows, dtype=dtype) if spec["has_bias"] else None,
            ConvFormat.from_spec(spec["format"]),
            input_scale=torch.zeros(()) if is_static else None,
            input_zero_point=torch.zeros((), dtype=torch.int32) if is_static else None,
        )

    def extra_repr(self) -> str:
        """Show how the kernel moves and where the input's scale comes from."""
        return (
            f"stride={self.format.stride}, groups={self.format.groups}, "
            f"static={self.input_scale is not None}"
        )
