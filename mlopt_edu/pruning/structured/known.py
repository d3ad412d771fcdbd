"""What is known of each tensor of a run: its dimensions, and what it is made of."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from mlopt_edu.pruning.structured.atoms import ANY, FIXED
from mlopt_edu.pruning.structured.seen import Dims


class Known:
    """Remembers tensors as long as they live.

    Args:
        labels: For every parameter and buffer, the atoms of its dimensions.
    """

    def __init__(self, labels: Sequence[tuple[Tensor, Dims]]) -> None:
        # Dimensions, whether weights are behind the tensor, whether inputs are.
        self._known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        for tensor, dims in labels:
            self._known[tensor] = (dims, True, False)

    def dims(self, tensor: Tensor) -> Dims:
        """Return the atoms of each dimension."""
        if tensor in self._known:
            dims: Dims = self._known[tensor][0]
            return dims
        return fixed(tensor.shape)

    def know(
        self, tensor: Tensor, dims: Dims, *, of_weights: bool, of_inputs: bool
    ) -> None:
        """Remember what a tensor's dimensions are and what it was computed from."""
        self._known[tensor] = (dims, of_weights, of_inputs)

    def write_through(self, view: Tensor) -> None:
        """After a write into a part of an empty tensor, learn what the whole is."""
        base = view._base
        if base is None or base not in self._known or base.ndim != view.ndim:
            return
        dims, of_weights, of_inputs = self._known[base]
        part, weights_in, inputs_in = self._known[view]
        learned = tuple(
            np.where(whole == ANY, own, whole) if len(whole) == len(own) else whole
            for whole, own in zip(dims, part, strict=True)
        )
        self._known[base] = (learned, of_weights or weights_in, of_inputs or inputs_in)

    def of_weights(self, tensor: Tensor) -> bool:
        """Was this computed from weights, among others?"""
        return tensor in self._known and bool(self._known[tensor][1])

    def of_inputs(self, tensor: Tensor) -> bool:
        """Was this computed from the model's inputs, among others?"""
        return tensor in self._known and bool(self._known[tensor][2])

    def is_weight(self, tensor: Tensor) -> bool:
        """Was this computed from weights alone?"""
        return self.of_weights(tensor) and not self.of_inputs(tensor)


def fixed(shape: Sequence[int] | torch.Size) -> Dims:
    """Return dimensions without channels."""
    return tuple(np.full(size, FIXED) for size in shape)
