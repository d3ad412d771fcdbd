r"""Linear layers for inference, with weights of few bits.

    WeightOnlyLinear    y = x Wᵀ + b with W made of its codes on each call: small
    Int8Linear          y_ij = s_i t_j Σ_k q_ik r_jk + b_j: small and fast

In the second, r is the weight in int8 with a scale t for each output, and q the input
in int8, whose scale s is either taken from each row as it comes (dynamic), or fixed by
calibration for all (static), then with a zero point z: its part z s t_j Σ_k r_jk moves
into the bias. The product of int8 matrices with int32 sums is the processor's own.

Both hold everything in buffers, so there is nothing to train here. Gradients for the
input flow as if nothing was rounded, at the price of a second, real product; call under
`torch.no_grad()` to save that.

Papers: dynamic scales for each row: Yao et al., "ZeroQuant", 2022, arXiv:2206.01861,
section 4; the static form: Jacob et al., 2017, arXiv:1712.05877. Differs from the
papers: the result is real, not requantized.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlopt_edu.quantization.affine import scale_and_zero_point
from mlopt_edu.quantization.packed_weight import PackedWeight
from mlopt_edu.quantization.products import int_matmul
from mlopt_edu.quantization.weights import quantize_weight

_SMALLEST = torch.finfo(torch.float32).smallest_normal


class WeightOnlyLinear(nn.Module):
    """A linear layer that keeps its weight packed.

    Args:
        packed: The weight, of shape (out_features, in_features).
        bias: Tensor of shape (out_features,), or None.
    """

    def __init__(self, packed: PackedWeight, bias: Tensor | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = packed.format.shape
        self.packed = packed
        self.register_buffer("bias", bias)
        self.bias: Tensor | None

    @property
    def weight(self) -> Tensor:
        """The real weight, made of its codes."""
        return self.packed.unpack()

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        return functional.linear(x, self.weight, self.bias)

    def spec(self) -> dict[str, Any]:
        """Return all but the numbers as plain data."""
        return {"packed": self.packed.spec(), "has_bias": self.bias is not None}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], *, dtype: torch.dtype) -> Any:
        """Return an empty layer."""
        packed = PackedWeight.from_spec(spec["packed"], dtype=dtype)
        rows = packed.format.shape[0]
        bias = torch.zeros(rows, dtype=dtype) if spec["has_bias"] else None
        return cls(packed, bias)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


class Int8Linear(nn.Module):
    """A linear layer that multiplies 8-bit integers.

    Args:
        values: Weight, int8 of shape (out_features, in_features).
        scale: Scale of each output, shape (out_features,).
        bias: Tensor of shape (out_features,), or None.
        input_scale: Fixed scale of the input, a scalar; None takes one from each row.
        input_zero_point: Its zero point, int32, a scalar.
    """

    def __init__(
        self,
        values: Tensor,
        scale: Tensor,
        bias: Tensor | None = None,
        *,
        input_scale: Tensor | None = None,
        input_zero_point: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = values.shape
        is_static = input_scale is not None
        self.register_buffer("values", values.contiguous())
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)
        self.register_buffer("input_scale", input_scale)
        self.register_buffer("input_zero_point", input_zero_point)
        sums = values.sum(1, dtype=torch.int32) if is_static else None
        self.register_buffer("row_sums", sums)
        self.values: Tensor
        self.scale: Tensor
        self.bias: Tensor | None
        self.input_scale: Tensor | None
        self.input_zero_point: Tensor | None
        self.row_sums: Tensor

    @classmethod
    def from_linear(
        cls, linear: nn.Linear, *, input_range: tuple[Tensor, Tensor] | None = None
    ) -> "Int8Linear":
        """Quantize a float layer.

        Args:
            linear: The layer, which stays as it is.
            input_range: Lowest and highest input, scalars, for a fixed scale.

        Raises:
            ValueError: If a weight or the range is not finite.
        """
        values, scale, _ = quantize_weight(linear.weight)
        bias = None if linear.bias is None else linear.bias.detach().clone()
        return cls(
            values,
            scale.flatten().to(linear.weight.dtype),
            bias,
            **input_format(input_range),
        )

    @property
    def weight(self) -> Tensor:
        """The real weight that the integers stand for."""
        return self.values * self.scale[:, None]

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        if torch.is_grad_enabled() and x.requires_grad:
            smooth = functional.linear(x, self.weight, self.bias)
            return smooth + (self._multiply(x.detach()) - smooth).detach()
        return self._multiply(x)

    def _multiply(self, x: Tensor) -> Tensor:
        # For one row each call counts: attributes are looked up once, and what changes
        # nothing is left out. That is a fifth of the time at 1024 x 1024.
        buffers = self._buffers
        rows = x if x.ndim == 2 else x.reshape(-1, self.in_features)
        if rows.dtype != torch.float32:
            rows = rows.float()
        input_scale = buffers["input_scale"]
        if input_scale is None:
            integers, input_scale = quantize_rows(rows)
        else:
            integers = quantize_static(rows, input_scale, buffers["input_zero_point"])
        y = int_matmul(integers, self.values).float()
        # In place, one after another: no further array is written. The weight's scale
        # comes first, since the input's may be huge.
        y.mul_(self.scale).mul_(input_scale)
        bias = buffers["bias"] if buffers["row_sums"] is None else self._folded_bias()
        if bias is not None:
            y.add_(bias)
        if y.dtype != x.dtype:
            y = y.to(x.dtype)
        return y if x.ndim == 2 else y.reshape(*x.shape[:-1], self.out_features)

    def _folded_bias(self) -> Tensor | None:
        """Return the bias, less what the zero point of the input adds."""
        if self.input_scale is None or self.input_zero_point is None:
            return self.bias
        real_zero = self.input_zero_point * self.input_scale
        offset = real_zero * self.scale * self.row_sums
        return -offset if self.bias is None else self.bias - offset

    def spec(self) -> dict[str, Any]:
        """Return all but the numbers as plain data."""
        return {
            "shape": list(self.values.shape),
            "has_bias": self.bias is not None,
            "is_static": self.input_scale is not None,
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any], *, dtype: torch.dtype) -> Any:
        """Return an empty layer."""
        rows, columns = spec["shape"]
        is_static = spec["is_static"]
        return cls(
            torch.zeros(rows, columns, dtype=torch.int8),
            torch.zeros(rows, dtype=dtype),
            torch.zeros(rows, dtype=dtype) if spec["has_bias"] else None,
            input_scale=torch.zeros(()) if is_static else None,
            input_zero_point=torch.zeros((), dtype=torch.int32) if is_static else None,
        )

    def extra_repr(self) -> str:
        """Show the sizes and where the input's scale comes from."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"static={self.input_scale is not None}"
        )


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize each row symmetrically to int8 with a scale of its own.

    The equation of `quantize` at zero point 0, in as few passes as torch allows. A row
    with inf or nan gets such a scale, so its results are nan.

    Args:
        x: float32 of shape (rows, features).

    Returns:
        int8 of the shape of `x`, and scales of shape (rows, 1).

    Example:
        >>> quantize_rows(torch.tensor([[1.0, -2.0], [0.0, 0.0]]))[0]
        tensor([[  64, -127],
                [   0,    0]], dtype=torch.int8)
    """
    # Two reductions take half the time of abs and one, which writes an array.
    largest = torch.maximum(x.amax(1, keepdim=True), x.amin(1, keepdim=True).neg_())
    scale = largest.mul_(1 / 127).clamp_(min=_SMALLEST)
    return (x / scale).round_().to(torch.int8), scale


def quantize_static(x: Tensor, scale: Tensor, zero_point: Tensor | None) -> Tensor:
    """Quantize to int8 with one scale and zero point; what lies outside clips."""
    steps = (x / scale).round_()
    if zero_point is not None:
        steps = steps.add_(zero_point)
    return steps.clamp_(-128, 127).to(torch.int8)


def input_format(input_range: tuple[Tensor, Tensor] | None) -> dict[str, Tensor]:
    """Return the fixed scale and zero point for a range of inputs, if there is one."""
    if input_range is None:
        return {}
    low, high = (end.reshape(()).float() for end in input_range)
    scale, zero_point = scale_and_zero_point(low, high, symmetric=False)
    return {"input_scale": scale, "input_zero_point": zero_point}
