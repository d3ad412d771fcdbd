"""A linear layer whose input is divided by a scale for each feature."""

from typing import Any

import torch
from torch import Tensor, nn

from mlopt_edu.quantization.linear import Int8Linear, WeightOnlyLinear

_LAYERS: dict[str, Any] = {
    kind.__name__: kind for kind in (Int8Linear, WeightOnlyLinear)
}


class ScaledInput(nn.Module):
    """Divide the input, then call a layer.

    The layer inside is an ordinary one, which can be quantized by its own name:
    `"query"` becomes `"query.layer"`.

    Args:
        layer: A linear layer, quantized or not.
        scale: Above 0, shape (in_features,).
    """

    def __init__(self, layer: nn.Module, scale: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("scale", scale)
        self.scale: Tensor

    @property
    def weight(self) -> Tensor:
        """The weight that acts on the input as it comes."""
        inner: Tensor = self.layer.weight  # type: ignore[assignment]
        return inner / self.scale

    @property
    def bias(self) -> Tensor | None:
        """The layer's bias."""
        inner: Tensor | None = self.layer.bias  # type: ignore[assignment]
        return inner

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        y: Tensor = self.layer(x / self.scale)
        return y

    def spec(self) -> dict[str, Any]:
        """Return all but the numbers as plain data."""
        if isinstance(self.layer, nn.Linear):
            spec: dict[str, Any] = {
                "shape": list(self.layer.weight.shape),
                "has_bias": self.layer.bias is not None,
            }
        else:
            spec = self.layer.spec()  # type: ignore[operator]
        return {"kind": type(self.layer).__name__, "spec": spec}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], *, dtype: torch.dtype) -> "ScaledInput":
        """Return an empty layer."""
        inner = spec["spec"]
        if spec["kind"] in _LAYERS:
            layer = _LAYERS[spec["kind"]].from_spec(inner, dtype=dtype)
        else:
            rows, columns = inner["shape"]
            layer = nn.Linear(columns, rows, bias=inner["has_bias"], dtype=dtype)
        return cls(layer, torch.ones(layer.weight.shape[1], dtype=dtype))
