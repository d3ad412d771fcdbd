"""Task 1: fan-in and fan-out, for convolutions with groups too."""

import math
from collections.abc import Iterator

import numpy as np

from .._task import Case, Task

Shape = tuple[int, ...]


def fans_reference(weight_shape: Shape, groups: int) -> tuple[int, int]:
    """Terms that one output sums, and outputs that one input enters."""
    out, per_group, *sides = weight_shape
    window = math.prod(sides)
    return per_group * window, out // groups * window


def _shapes(rng: np.random.Generator) -> Iterator[Case]:
    small, large = (int(i) for i in rng.integers(2, 6, size=2))
    for shape, groups, label in (
        ((3, 5), 1, "a linear layer"),
        ((4, 1), 1, "a linear layer with one input"),
        ((6, 2, 3, 3), 1, "3 x 3 kernels"),
        ((8, 3, 3, 5), 1, "kernels of 3 x 5"),
        ((12, 7, 1, 1), 1, "1 x 1 kernels"),
        ((5, 3, 7), 1, "a convolution along a line"),
        ((4, 2, 3, 1, 2), 1, "a convolution in space"),
        ((12, 2, 3, 3), 3, "3 groups"),
        ((9, 1, 3, 3), 9, "depthwise"),
        ((16, 1, 5, 5), 8, "depthwise, twice as many outputs"),
        ((small * large, 4, 2, 3), small, "groups, kernels of 2 x 3"),
        ((large * 10, small + 5, 1, 1), large, "1 x 1 kernels in groups"),
    ):
        yield Case(label, {"weight_shape": shape, "groups": groups})


fans = Task(
    "fans",
    points=2,
    section="05 · Derive",
    reference=fans_reference,
    draw=_shapes,
    forbid=("torch.nn", "mlopt_edu.initialization"),
    hints=(
        "Draw a convolution with two inputs, three outputs and windows of three. Which "
        "arrows end in one number of the output? Which begin at one of the input?",
        "A window looks at `prod(kernel)` places of each input channel it can see. One "
        "number of the input lies in as many windows of each output channel.",
        "`weight_shape[1]` is already the number of input channels that an output "
        "sees. How many of the `weight_shape[0]` outputs are in an input's group?",
    ),
)


@fans.mistake
def swapped(weight_shape: Shape, groups: int) -> tuple[int, int]:
    """Fan-in and fan-out are swapped: torch keeps the *outputs* in the first place."""
    fan_in, fan_out = fans_reference(weight_shape, groups)
    return fan_out, fan_in


@fans.mistake
def groups_ignored(weight_shape: Shape, groups: int) -> tuple[int, int]:
    """You count all outputs, but an input reaches those of its own group only.

    `torch.nn.init` counts as you do: it sees the shape and not the groups. For a
    depthwise 3 x 3 layer it takes 9 times the channels, where the truth is 9.
    """
    out, per_group, *sides = weight_shape
    return per_group * math.prod(sides), out * math.prod(sides)


@fans.mistake
def window_forgotten(weight_shape: Shape, groups: int) -> tuple[int, int]:
    """You count channels alone; each one is seen through a window of many places.

    Multiply both by the product of the kernel's sides, the receptive field.
    """
    return weight_shape[1], weight_shape[0] // groups


@fans.mistake
def window_in_fan_in_only(weight_shape: Shape, groups: int) -> tuple[int, int]:
    """The window belongs into fan_out as well: an input lies in many windows."""
    return fans_reference(weight_shape, groups)[0], weight_shape[0] // groups


@fans.mistake
def window_in_fan_out_only(weight_shape: Shape, groups: int) -> tuple[int, int]:
    """The window belongs into fan_in as well: an output sums over all its places."""
    return weight_shape[1], fans_reference(weight_shape, groups)[1]


@fans.mistake
def one_side_of_the_window(weight_shape: Shape, groups: int) -> tuple[int, int]:
    """A window of 3 x 3 has 9 places, not 3: multiply *all* sides of the kernel."""
    out, per_group, *sides = weight_shape
    side = sides[0] if sides else 1
    return per_group * side, out // groups * side


@fans.mistake
def square_windows(weight_shape: Shape, groups: int) -> tuple[int, int]:
    """You square one side: windows need not be square, nor have two sides."""
    out, per_group, *sides = weight_shape
    side = sides[0] if sides else 1
    return per_group * side**2, out // groups * side**2


@fans.mistake
def sides_added(weight_shape: Shape, groups: int) -> tuple[int, int]:
    """You add the sides of the kernel; the places in a window are their product."""
    out, per_group, *sides = weight_shape
    places = sum(sides) if sides else 1
    return per_group * places, out // groups * places


@fans.mistake
def groups_divide_twice(weight_shape: Shape, groups: int) -> tuple[int, int]:
    """You divide fan_in by `groups`: the shape has done so, it holds in / groups."""
    fan_in, fan_out = fans_reference(weight_shape, groups)
    return fan_in // groups, fan_out


@fans.mistake
def groups_divide_the_wrong_one(weight_shape: Shape, groups: int) -> tuple[int, int]:
    """You divide fan_in by `groups` and leave fan_out; it is the other way round.

    The shape holds in / groups already, and *all* outputs.
    """
    out, per_group, *sides = weight_shape
    window = math.prod(sides)
    return per_group * window // groups, out * window


@fans.mistake
def all_the_inputs(weight_shape: Shape, groups: int) -> tuple[int, int]:
    """You multiply by `groups` to see all inputs, but an output sees its group only.

    And an input reaches only the outputs of its group.
    """
    out, per_group, *sides = weight_shape
    return per_group * groups * math.prod(sides), out * math.prod(sides)


@fans.mistake
def all_the_inputs_in_fan_in(weight_shape: Shape, groups: int) -> tuple[int, int]:
    """fan_out is right, but an output sees the inputs of its own group only."""
    fan_in, fan_out = fans_reference(weight_shape, groups)
    return fan_in * groups, fan_out


@fans.mistake
def all_weights(weight_shape: Shape, groups: int) -> tuple[int, int]:
    """You count all weights of the layer; one output has only its own row of them."""
    return math.prod(weight_shape), fans_reference(weight_shape, groups)[1]


@fans.mistake
def inputs_divided_twice(weight_shape: Shape, groups: int) -> tuple[int, int]:
    """You divide the inputs by `groups`; `weight_shape[1]` is in / groups already."""
    out, per_group, *sides = weight_shape
    window = math.prod(sides)
    return per_group // groups * window, out // groups * window
