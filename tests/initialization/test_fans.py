"""Fans, held against torch and against connections that are really there."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn.init import _calculate_fan_in_and_fan_out

from mlopt_edu.initialization import fan_in_and_fan_out


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (6, 4, 3), (2, 3, 5, 1), (3,) * 5])
def test_plain_layers_agree_with_torch(shape):
    weight = torch.zeros(shape)
    assert fan_in_and_fan_out(weight) == _calculate_fan_in_and_fan_out(weight)


CONVOLUTIONS = {
    1: (nn.Conv1d, nn.ConvTranspose1d),
    2: (nn.Conv2d, nn.ConvTranspose2d),
    3: (nn.Conv3d, nn.ConvTranspose3d),
}


@pytest.mark.parametrize(
    ("dims", "transposed", "groups", "kernel", "dilation"),
    list(itertools.product((1, 2, 3), (False, True), (1, 2, 4), (1, 3), (1, 2))),
)
def test_fans_count_connections(dims, transposed, groups, kernel, dilation):
    layer = CONVOLUTIONS[dims][transposed](
        4, 8, kernel, groups=groups, dilation=dilation, bias=False
    )
    torch.nn.init.ones_(layer.weight)
    side = 2 * (kernel - 1) * dilation + 1
    center = (side // 2,) * dims
    # With all weights 1, an output away from the border is the number of its inputs.
    outputs = layer(torch.ones(1, 4, *[side] * dims))
    middle = tuple(size // 2 for size in outputs.shape[2:])
    # One input that is 1 among zeros makes as many outputs 1 as it enters.
    single = torch.zeros(1, 4, *[side] * dims)
    single[(0, 0, *center)] = 1
    expected = (outputs[(0, 0, *middle)].item(), layer(single).sum().item())
    actual = fan_in_and_fan_out(layer.weight, groups=groups, transposed=transposed)
    assert expected == actual


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_transposing_swaps_the_fans(dims):
    weight = torch.zeros(6, 4, *range(2, 2 + dims))
    for groups in (1, 2, 3):
        there = fan_in_and_fan_out(weight, groups=groups)
        back = fan_in_and_fan_out(weight, groups=groups, transposed=True)
        assert there == back[::-1]


@pytest.mark.parametrize(
    ("weight", "groups", "error", "name"),
    [
        (torch.zeros(3), 1, ValueError, "weight"),
        (torch.tensor(1.0), 1, ValueError, "weight"),
        (torch.zeros(3, 2), 2, ValueError, "groups"),
        (torch.zeros(3, 2), 0, ValueError, "groups"),
        (torch.zeros(3, 2, dtype=torch.int8), 1, TypeError, "weight"),
    ],
)
def test_bad_arguments_are_named(weight, groups, error, name):
    with pytest.raises(error, match=rf"^{name} must .*, got "):
        fan_in_and_fan_out(weight, groups=groups)
