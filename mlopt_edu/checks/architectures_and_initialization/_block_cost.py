"""Task 7: parameters and MACs of whole blocks: dense, MobileNet, ResNet, SqueezeNet."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .._task import Case, Task
from ._conv_cost import Cost


def block_cost_reference(
    kind: str, c_in: int, c_out: int, stride: int, height: int, width: int
) -> Cost:
    """Add up the layers of a block, each at the size where it works."""
    full = height * width
    small = ((height - 1) // stride + 1) * ((width - 1) // stride + 1)
    middle, squeeze, half = c_out // 4, c_out // 8, c_out // 2
    blocks = {  # of each layer: inputs that an output sees, outputs, window, places
        "dense": [(c_in, c_out, 9, small)],
        "separable": [(1, c_in, 9, small), (c_in, c_out, 1, small)],
        "bottleneck": [
            (c_in, middle, 1, full),
            (middle, middle, 9, small),
            (middle, c_out, 1, small),
        ],
        "fire": [
            (c_in, squeeze, 1, full),
            (squeeze, half, 1, full),
            (squeeze, half, 9, full),
        ],
    }
    parameters = macs = 0
    for inputs, outputs, window, places in blocks[kind]:
        parameters += (inputs * window + 1) * outputs
        macs += inputs * window * outputs * places
    return parameters, macs


class Block(NamedTuple):
    """The numbers of the task by name, and what follows from them."""

    c_in: int
    c_out: int
    stride: int
    height: int
    width: int

    def full(self) -> int:
        """Places in the input."""
        return self.height * self.width

    def small(self) -> int:
        """Places in the output."""
        down, across = self.height - 1, self.width - 1
        return (down // self.stride + 1) * (across // self.stride + 1)


def _blocks(rng: np.random.Generator) -> Iterator[Case]:
    c_in, wide = (int(n) for n in 8 * rng.integers(2, 9, size=2))
    height, width = (int(n) for n in rng.integers(5, 15, size=2))
    for kind, *numbers in (
        ("fire", 96, 128, 1, 5, 7),
        ("bottleneck", 64, 16, 1, 6, 5),
        ("separable", 24, 24, 1, 13, 8),
        ("dense", 16, 24, 1, 5, 7),
        ("fire", c_in + 1, wide, 1, height, width + 20),
        ("bottleneck", c_in, 2 * wide, 2, 14, 9),
        ("separable", 3, wide, 2, height, width + 20),
        ("dense", c_in + 1, wide, 2, height, width + 20),
        ("fire", 16, 8, 1, 1, 2),
        ("bottleneck", 40, 8, 3, 1, 2),
        ("separable", 40, 16, 3, 9, 14),
    ):
        block = Block(*numbers)
        label = f"{kind}, {block.c_in} to {block.c_out} channels, stride {block.stride}"
        yield Case(label, {"kind": kind, **block._asdict()})


block_cost = Task(
    "block_cost",
    points=3,
    section="05 · Write it small",
    reference=block_cost_reference,
    draw=_blocks,
    forbid=(
        "torch.nn",
        "torch.utils.flop_counter",
        "mlopt_edu.architectures",
        "mlopt_edu.evaluation",
    ),
    hints=(
        "Write each block as a list of layers, each with the eight numbers that "
        "`conv_cost` takes. Then it is one sum.",
        "At which size does each layer work? All layers before the stride see the "
        "input's size, all after it the smaller one: (n - 1) // stride + 1.",
        "separable: (c_in, c_in, 3, c_in, stride, 1, …) and (c_in, c_out, 1, 1, 1, 0, "
        "smaller). Fire: *both* expands start from the c_out / 8 channels of the "
        "squeeze, and each makes c_out / 2.",
    ),
)


def _mistaken(
    kind: str,
    layers: Sequence[tuple[int, int, int, int]],
    asked: str,
    numbers: tuple[int, ...],
) -> Cost:
    """Return the cost of `layers` for blocks of one kind, and what is right for others.

    Layers are written as in the reference.
    """
    if asked != kind:
        return block_cost_reference(asked, *numbers)
    return (
        sum((i * window + 1) * o for i, o, window, _ in layers),
        sum(i * window * o * places for i, o, window, places in layers),
    )


@block_cost.mistake
def depthwise_as_dense(kind: str, *numbers: int) -> Cost:
    """You count the depthwise layer as dense: each channel has its own 3 x 3 alone.

    It has as many groups as channels.
    """
    b = Block(*numbers)
    layers = [(b.c_in, b.c_in, 9, b.small()), (b.c_in, b.c_out, 1, b.small())]
    return _mistaken("separable", layers, kind, numbers)


@block_cost.mistake
def pointwise_missing(kind: str, *numbers: int) -> Cost:
    """The pointwise layer is missing: the depthwise one alone never mixes channels."""
    b = Block(*numbers)
    layers = [(1, b.c_in, 9, b.small())]
    return _mistaken("separable", layers, kind, numbers)


@block_cost.mistake
def pointwise_at_full_size(kind: str, *numbers: int) -> Cost:
    """The pointwise layer comes after the stride: it works at the *smaller* size."""
    b = Block(*numbers)
    layers = [(1, b.c_in, 9, b.small()), (b.c_in, b.c_out, 1, b.full())]
    return _mistaken("separable", layers, kind, numbers)


@block_cost.mistake
def stride_in_the_pointwise(kind: str, *numbers: int) -> Cost:
    """The stride is in the *depthwise* layer, so it too works at the smaller size."""
    b = Block(*numbers)
    layers = [(1, b.c_in, 9, b.full()), (b.c_in, b.c_out, 1, b.small())]
    return _mistaken("separable", layers, kind, numbers)


@block_cost.mistake
def last_layer_at_full_size(kind: str, *numbers: int) -> Cost:
    """The bottleneck's last layer comes after the stride: it has the smaller size."""
    b = Block(*numbers)
    layers = [
        (b.c_in, b.c_out // 4, 1, b.full()),
        (b.c_out // 4, b.c_out // 4, 9, b.small()),
        (b.c_out // 4, b.c_out, 1, b.full()),
    ]
    return _mistaken("bottleneck", layers, kind, numbers)


@block_cost.mistake
def all_at_full_size(kind: str, *numbers: int) -> Cost:
    """What comes after the stride works at the smaller size.

    Yours works at the input's size, in the separable block and in the bottleneck.
    """
    wrong = {"separable": pointwise_at_full_size, "bottleneck": last_layer_at_full_size}
    cost: Cost = wrong.get(kind, block_cost_reference)(kind, *numbers)
    return cost


@block_cost.mistake
def stride_in_the_first_layer(kind: str, *numbers: int) -> Cost:
    """You have the bottleneck's stride in its first layer; here it is in the 3 x 3.

    The first paper has it as you do. A 1 x 1 with stride 2 never sees three quarters
    of its input, so later networks moved it.
    """
    b = Block(*numbers)
    layers = [
        (b.c_in, b.c_out // 4, 1, b.small()),
        (b.c_out // 4, b.c_out // 4, 9, b.small()),
        (b.c_out // 4, b.c_out, 1, b.small()),
    ]
    return _mistaken("bottleneck", layers, kind, numbers)


@block_cost.mistake
def stride_in_the_last_layer(kind: str, *numbers: int) -> Cost:
    """The bottleneck's stride is in its 3 x 3 layer; yours is in the last one."""
    b = Block(*numbers)
    layers = [
        (b.c_in, b.c_out // 4, 1, b.full()),
        (b.c_out // 4, b.c_out // 4, 9, b.full()),
        (b.c_out // 4, b.c_out, 1, b.small()),
    ]
    return _mistaken("bottleneck", layers, kind, numbers)


@block_cost.mistake
def middle_of_the_inputs(kind: str, *numbers: int) -> Cost:
    """The bottleneck narrows to a quarter of c_out; yours is a quarter of c_in."""
    b = Block(*numbers)
    layers = [
        (b.c_in, b.c_in // 4, 1, b.full()),
        (b.c_in // 4, b.c_in // 4, 9, b.small()),
        (b.c_in // 4, b.c_out, 1, b.small()),
    ]
    return _mistaken("bottleneck", layers, kind, numbers)


@block_cost.mistake
def middle_depthwise(kind: str, *numbers: int) -> Cost:
    """You have made the bottleneck's 3 x 3 depthwise; here it is an ordinary one."""
    b = Block(*numbers)
    layers = [
        (b.c_in, b.c_out // 4, 1, b.full()),
        (1, b.c_out // 4, 9, b.small()),
        (b.c_out // 4, b.c_out, 1, b.small()),
    ]
    return _mistaken("bottleneck", layers, kind, numbers)


@block_cost.mistake
def expands_see_the_input(kind: str, *numbers: int) -> Cost:
    """Fire's expands start from the few channels of the squeeze, not from c_in.

    That is what the squeeze is for.
    """
    b = Block(*numbers)
    layers = [
        (b.c_in, b.c_out // 8, 1, b.full()),
        (b.c_in, b.c_out // 2, 1, b.full()),
        (b.c_in, b.c_out // 2, 9, b.full()),
    ]
    return _mistaken("fire", layers, kind, numbers)


@block_cost.mistake
def expands_twice_as_wide(kind: str, *numbers: int) -> Cost:
    """Each of Fire's expands makes c_out / 2 channels; only together it is c_out."""
    b = Block(*numbers)
    layers = [
        (b.c_in, b.c_out // 8, 1, b.full()),
        (b.c_out // 8, b.c_out, 1, b.full()),
        (b.c_out // 8, b.c_out, 9, b.full()),
    ]
    return _mistaken("fire", layers, kind, numbers)


@block_cost.mistake
def expands_one_after_the_other(kind: str, *numbers: int) -> Cost:
    """Fire's expands work side by side, both on the squeeze, not on each other."""
    b = Block(*numbers)
    layers = [
        (b.c_in, b.c_out // 8, 1, b.full()),
        (b.c_out // 8, b.c_out // 2, 1, b.full()),
        (b.c_out // 2, b.c_out // 2, 9, b.full()),
    ]
    return _mistaken("fire", layers, kind, numbers)


@block_cost.mistake
def squeeze_not_counted(kind: str, *numbers: int) -> Cost:
    """You count Fire's two expands; its squeeze has weights too."""
    b = Block(*numbers)
    layers = [
        (b.c_out // 8, b.c_out // 2, 1, b.full()),
        (b.c_out // 8, b.c_out // 2, 9, b.full()),
    ]
    return _mistaken("fire", layers, kind, numbers)


@block_cost.mistake
def squeeze_with_windows(kind: str, *numbers: int) -> Cost:
    """Fire squeezes with 1 x 1 kernels; only one of the expands has 3 x 3."""
    b = Block(*numbers)
    layers = [
        (b.c_in, b.c_out // 8, 9, b.full()),
        (b.c_out // 8, b.c_out // 2, 1, b.full()),
        (b.c_out // 8, b.c_out // 2, 9, b.full()),
    ]
    return _mistaken("fire", layers, kind, numbers)


@block_cost.mistake
def squeeze_of_the_inputs(kind: str, *numbers: int) -> Cost:
    """Fire squeezes to an eighth of c_out; yours squeezes to an eighth of c_in."""
    b = Block(*numbers)
    layers = [
        (b.c_in, b.c_in // 8, 1, b.full()),
        (b.c_in // 8, b.c_out // 2, 1, b.full()),
        (b.c_in // 8, b.c_out // 2, 9, b.full()),
    ]
    return _mistaken("fire", layers, kind, numbers)


@block_cost.mistake
def stride_forgotten(kind: str, *numbers: int) -> Cost:
    """The stride is not used: the 3 x 3 layer takes it, and shrinks the image."""
    return block_cost_reference(kind, *Block(*numbers)._replace(stride=1))


@block_cost.mistake
def rounded_down(kind: str, *numbers: int) -> Cost:
    """You round down; the last place counts: the size is (n - 1) // stride + 1."""
    b = Block(*numbers)
    shorter = b._replace(
        height=b.height // b.stride * b.stride, width=b.width // b.stride * b.stride
    )
    parameters, macs = block_cost_reference(kind, *shorter)
    if kind == "bottleneck":  # its first layer works before the stride
        macs += b.c_in * (b.c_out // 4) * (b.full() - shorter.full())
    return parameters, macs


@block_cost.mistake
def biases_missing(kind: str, *numbers: int) -> Cost:
    """The biases are missing: every layer has one for each of its output channels."""
    b = Block(*numbers)
    inner = {"separable": b.c_in, "bottleneck": b.c_out // 2, "fire": b.c_out // 8}
    parameters, macs = block_cost_reference(kind, *numbers)
    return parameters - b.c_out - inner.get(kind, 0), macs


@block_cost.mistake
def biases_of_the_last_layer(kind: str, *numbers: int) -> Cost:
    """You count the biases of the block's output; each layer inside has its own too."""
    parameters, macs = biases_missing(kind, *numbers)
    return parameters + Block(*numbers).c_out, macs


@block_cost.mistake
def order_reversed(kind: str, *numbers: int) -> Cost:
    """The order is reversed: return the parameters first, then the MACs."""
    parameters, macs = block_cost_reference(kind, *numbers)
    return macs, parameters


@block_cost.mistake
def always_dense(kind: str, *numbers: int) -> Cost:
    """You count every block as the dense one; each `kind` has layers of its own."""
    return block_cost_reference("dense", *numbers)


@block_cost.mistake
def size_over_stride(kind: str, *numbers: int) -> Cost:
    """You send `height // stride` on to the next layer; the size is rounded *up*.

    It is (height - 1) // stride + 1 there, as many places as the 3 x 3 has.
    """
    b = Block(*numbers)
    parameters, macs = block_cost_reference(kind, *numbers)
    last = {"separable": b.c_in * b.c_out, "bottleneck": b.c_out // 4 * b.c_out}
    missing = b.small() - (b.height // b.stride) * (b.width // b.stride)
    return parameters, macs - last.get(kind, 0) * missing


@block_cost.mistake
def stride_twice(kind: str, *numbers: int) -> Cost:
    """The separable block's 1 x 1 has the stride too; only the depthwise layer has it.

    The image would shrink twice.
    """
    b = Block(*numbers)
    after = Block(
        b.c_in,
        b.c_out,
        b.stride,
        (b.height - 1) // b.stride + 1,
        (b.width - 1) // b.stride + 1,
    )
    layers = [(1, b.c_in, 9, b.small()), (b.c_in, b.c_out, 1, after.small())]
    return _mistaken("separable", layers, kind, numbers)
