"""Task 6: parameters and multiply-accumulate operations of any convolution."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from .._task import Case, Task

Cost = tuple[int, int]


def conv_cost_reference(
    c_in: int,
    c_out: int,
    kernel: int,
    groups: int,
    stride: int,
    padding: int,
    height: int,
    width: int,
) -> Cost:
    """Parameters, one bias an output channel included; and MACs for one image."""
    down = (height + 2 * padding - kernel) // stride + 1
    across = (width + 2 * padding - kernel) // stride + 1
    weights = c_out * (c_in // groups) * kernel**2
    return weights + c_out, weights * down * across


class Layer(NamedTuple):
    """The inputs of the task by name, and what follows from them."""

    c_in: int
    c_out: int
    kernel: int
    groups: int
    stride: int
    padding: int
    height: int
    width: int

    def weights(self) -> int:
        """Number of weights without the biases."""
        return self.c_out * self.c_in // self.groups * self.kernel**2

    def down(self) -> int:
        """Height of the output."""
        return (self.height + 2 * self.padding - self.kernel) // self.stride + 1

    def across(self) -> int:
        """Width of the output."""
        return (self.width + 2 * self.padding - self.kernel) // self.stride + 1


def _layers(rng: np.random.Generator) -> Iterator[Case]:
    c, more, kernel, pad, height, width = (int(i) for i in rng.integers(2, 7, size=6))
    for numbers, label in (
        ((2, 3, 3, 1, 1, 0, 5, 4), "a small layer"),
        ((3, 64, 7, 1, 2, 3, 32, 20), "stride 2"),
        ((16, 40, 1, 1, 1, 0, 7, 9), "1 x 1"),
        ((512, 512, 3, 1, 1, 1, 56, 40), "more MACs than 32 bits hold"),
        ((24, 24, 3, 24, 1, 1, 14, 10), "depthwise"),
        ((8, 16, 5, 8, 2, 2, 11, 8), "depthwise, twice as many outputs, stride 2"),
        ((12, 30, 3, 6, 1, 1, 6, 13), "6 groups"),
        ((20, 10, 1, 5, 3, 0, 10, 8), "1 x 1 in groups, stride 3"),
        ((5, 6, 4, 1, 1, 2, 8, 8), "a kernel of 4, padding 2"),
        ((5, 7, 3, 1, 2, 0, 12, 9), "what is left over is not looked at"),
        ((6, 4, 5, 2, 1, 0, 5, 5), "a kernel as large as the image"),
        ((1, 1, 3, 1, 1, 4, 1, 2), "one pixel in a wide border"),
        (
            (c * more, 3 * c, kernel, c, more, pad, 9 + height, 9 + width),
            "drawn at random",
        ),
    ):
        yield Case(label, Layer(*numbers)._asdict())


conv_cost = Task(
    "conv_cost",
    points=2,
    section="05 · Derive",
    reference=conv_cost_reference,
    draw=_layers,
    forbid=(
        "torch.nn",
        "torch.utils.flop_counter",
        "mlopt_edu.architectures",
        "mlopt_edu.evaluation",
    ),
    hints=(
        "How many weights has one output channel? And how often is each weight used?",
        "An output channel sees c_in / groups channels through kernel · kernel places. "
        "Each weight is used once at every place of the *output*.",
        "The output's height is (height + 2 · padding - kernel) // stride + 1, and its "
        "width alike. MACs are weights · height · width; parameters add c_out biases.",
    ),
)


def _cost(layer: Layer, down: float, across: float) -> tuple[int, float]:
    """Return the cost for an output of another size."""
    return layer.weights() + layer.c_out, layer.weights() * down * across


@conv_cost.mistake
def groups_ignored(*numbers: int) -> Cost:
    """You count a grouped convolution as a dense one: each output sees its group only.

    An output channel has (c_in / groups) · kernel² weights.
    """
    return conv_cost_reference(*Layer(*numbers)._replace(groups=1))


@conv_cost.mistake
def groups_ignored_in_macs(*numbers: int) -> Cost:
    """The parameters are right, but the MACs are those of a dense convolution.

    A weight that is not there multiplies nothing: MACs are weights · positions.
    """
    return conv_cost_reference(*numbers)[0], groups_ignored(*numbers)[1]


@conv_cost.mistake
def groups_ignored_in_parameters(*numbers: int) -> Cost:
    """The MACs are right, but the parameters are those of a dense convolution."""
    return groups_ignored(*numbers)[0], conv_cost_reference(*numbers)[1]


@conv_cost.mistake
def one_group_alone(*numbers: int) -> Cost:
    """You divide inputs *and* outputs by groups: that is one group; there are several.

    Each of all c_out outputs has (c_in / groups) · kernel² weights.
    """
    layer = Layer(*numbers)
    weights = layer.weights() // layer.groups
    return weights + layer.c_out, weights * layer.down() * layer.across()


@conv_cost.mistake
def kernel_once(*numbers: int) -> Cost:
    """You count `kernel` once; a window has kernel · kernel places."""
    layer = Layer(*numbers)
    weights = layer.weights() // layer.kernel
    return weights + layer.c_out, weights * layer.down() * layer.across()


@conv_cost.mistake
def biases_missing(*numbers: int) -> Cost:
    """The biases are missing: one parameter for each output channel."""
    parameters, macs = conv_cost_reference(*numbers)
    return parameters - Layer(*numbers).c_out, macs


@conv_cost.mistake
def biases_of_the_inputs(*numbers: int) -> Cost:
    """You count a bias for each *input* channel; each output channel has one."""
    layer = Layer(*numbers)
    return layer.weights() + layer.c_in, conv_cost_reference(*numbers)[1]


@conv_cost.mistake
def one_bias(*numbers: int) -> Cost:
    """You count a single bias; each output channel has its own."""
    return Layer(*numbers).weights() + 1, conv_cost_reference(*numbers)[1]


@conv_cost.mistake
def biases_in_the_macs(*numbers: int) -> Cost:
    """You multiply all parameters by the positions; a bias is added, not multiplied."""
    layer = Layer(*numbers)
    parameters, _ = conv_cost_reference(*numbers)
    return parameters, parameters * layer.down() * layer.across()


@conv_cost.mistake
def two_operations(*numbers: int) -> Cost:
    """You count multiplication and addition apart; both together are *one* MAC."""
    parameters, macs = conv_cost_reference(*numbers)
    return parameters, 2 * macs


@conv_cost.mistake
def each_weight_once(*numbers: int) -> Cost:
    """You count each weight once in the MACs; it is used at every output position."""
    layer = Layer(*numbers)
    return layer.weights() + layer.c_out, layer.weights()


@conv_cost.mistake
def of_one_output_channel(*numbers: int) -> Cost:
    """The MACs are those of one output channel; there are c_out of them."""
    parameters, macs = conv_cost_reference(*numbers)
    return parameters, macs // Layer(*numbers).c_out


@conv_cost.mistake
def size_of_the_input(*numbers: int) -> tuple[int, float]:
    """You count a position for each pixel of the input; count those of the *output*."""
    layer = Layer(*numbers)
    return _cost(layer, layer.height, layer.width)


@conv_cost.mistake
def padding_ignored(*numbers: int) -> Cost:
    """The output is too small: the padding widens the image before the kernel walks."""
    return conv_cost_reference(*Layer(*numbers)._replace(padding=0))


@conv_cost.mistake
def stride_ignored(*numbers: int) -> Cost:
    """The stride is not used: with stride 2 only every second place is looked at."""
    return conv_cost_reference(*Layer(*numbers)._replace(stride=1))


@conv_cost.mistake
def square_images(*numbers: int) -> Cost:
    """You square the height; the image need not be square, so use `width` too."""
    layer = Layer(*numbers)
    return conv_cost_reference(*layer._replace(width=layer.height))


@conv_cost.mistake
def stride_along_one_side(*numbers: int) -> tuple[int, float]:
    """You divide one side by the stride; the kernel strides down *and* across."""
    layer = Layer(*numbers)
    return _cost(layer, layer.down(), layer._replace(stride=1).across())


def _sides(
    numbers: tuple[int, ...], side: Callable[[int, Layer], float]
) -> tuple[int, float]:
    """Return the cost if the output's sides were `side(n, layer)`."""
    layer = Layer(*numbers)
    return _cost(layer, side(layer.height, layer), side(layer.width, layer))


@conv_cost.mistake
def padding_on_one_side(*numbers: int) -> tuple[int, float]:
    """You add the padding once; it lies on both sides: + 2 · padding."""
    return _sides(numbers, lambda n, at: (n + at.padding - at.kernel) // at.stride + 1)


@conv_cost.mistake
def size_over_stride(*numbers: int) -> tuple[int, float]:
    """You divide the size by the stride, which is right for some paddings only.

    In general it is (height + 2 · padding - kernel) // stride + 1.
    """
    return _sides(numbers, lambda n, at: n // at.stride)


@conv_cost.mistake
def first_place_forgotten(*numbers: int) -> tuple[int, float]:
    """You count the steps of the kernel; the place where it begins counts too: + 1."""
    return _sides(numbers, lambda n, at: (n + 2 * at.padding - at.kernel) // at.stride)


@conv_cost.mistake
def rounded_up(*numbers: int) -> tuple[int, float]:
    """You round up; where the kernel does not fit any more there is no output."""
    return _sides(
        numbers, lambda n, at: -((at.kernel - n - 2 * at.padding) // at.stride) + 1
    )


@conv_cost.mistake
def not_rounded(*numbers: int) -> tuple[int, float]:
    """The output has part of a row in yours: round down, with `//`."""
    return _sides(
        numbers, lambda n, at: (n + 2 * at.padding - at.kernel) / at.stride + 1
    )


@conv_cost.mistake
def order_reversed(*numbers: int) -> Cost:
    """The order is reversed: return the parameters first, then the MACs."""
    parameters, macs = conv_cost_reference(*numbers)
    return macs, parameters
