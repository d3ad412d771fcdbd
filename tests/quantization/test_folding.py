"""Batch-norm folding: equal to torch's fusion, equal in function, never where wrong."""

import copy

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from mlopt_edu.quantization import (
    WeightOnly,
    fold_batch_norm,
    fold_batch_norms_,
    is_linear_or_conv,
    quantize_,
)

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def lively(model):
    """Give every norm statistics as after a training, in float64."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, BATCH_NORMS):
            if module.running_mean is not None:
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.normal_(module.weight)  # of both signs
                nn.init.normal_(module.bias)
    return model.double().eval()


def norms(model):
    return sum(isinstance(module, BATCH_NORMS) for module in model.modules())


def assert_folds(model, *inputs, left=0):
    model = lively(model)
    expected = model(*inputs)
    fold_batch_norms_(model)
    assert norms(model) == left
    torch.testing.assert_close(model(*inputs), expected, rtol=1e-10, atol=1e-10)
    return model


def x(*shape):
    return torch.randn(
        *shape, dtype=torch.double, generator=torch.Generator().manual_seed(0)
    )


LAYERS = {
    "linear": (nn.Linear(6, 8), nn.BatchNorm1d(8), (5, 6)),
    "1d": (nn.Conv1d(4, 8, 3, stride=2), nn.BatchNorm1d(8), (2, 4, 9)),
    "2d, no bias": (nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), (2, 3, 6, 5)),
    "3d": (nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4, eps=0.1), (2, 2, 3, 4, 5)),
    "grouped": (nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8), (2, 4, 6, 5)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), (2, 4, 6, 5)),
    "circular": (
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
        nn.BatchNorm2d(4, affine=False),
        (2, 4, 6, 5),
    ),
    "transposed 1d": (nn.ConvTranspose1d(3, 5, 3), nn.BatchNorm1d(5), (2, 3, 4)),
    "transposed": (
        nn.ConvTranspose2d(6, 9, 3, stride=2, groups=3, bias=False),
        nn.BatchNorm2d(9),
        (2, 6, 4, 3),
    ),
    "transposed 3d": (nn.ConvTranspose3d(2, 3, 2), nn.BatchNorm3d(3), (1, 2, 3, 2, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_kind_of_layer(name):
    layer, norm, shape = copy.deepcopy(LAYERS[name])
    model = assert_folds(nn.Sequential(layer, norm, nn.ReLU()), x(*shape))
    assert isinstance(model[1], nn.Identity)
    assert [type(p) for p in (layer.weight, layer.bias)] == [nn.Parameter] * 2


@pytest.mark.parametrize("kind", ["linear", "conv", "transposed"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_equation_is_torchs(kind, dtype):
    torch.manual_seed(0)
    weight = torch.randn(*((5, 7, 3) if kind != "linear" else (7, 5)), dtype=dtype)
    weight = weight.movedim(1, 0) if kind == "conv" else weight
    bias, mean, gamma, beta = torch.randn(4, 7, dtype=dtype)
    variance = torch.rand(7, dtype=dtype)
    if kind == "linear":
        theirs = fuse_linear_bn_weights(weight, bias, mean, variance, 0.01, gamma, beta)
    else:
        theirs = fuse_conv_bn_weights(
            weight, bias, mean, variance, 0.01, gamma, beta, kind == "transposed"
        )
    ours = fold_batch_norm(
        weight,
        bias,
        mean,
        variance,
        gamma,
        beta,
        eps=0.01,
        transposed=kind == "transposed",
    )
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other.detach())


def test_half_precision_is_computed_in_single():
    torch.manual_seed(0)
    weight, mean, variance = torch.randn(4, 3), torch.randn(4), torch.rand(4) + 0.1
    weight = weight.bfloat16()
    ours = fold_batch_norm(weight, None, mean, variance)
    exact = fold_batch_norm(weight.double(), None, mean, variance)
    for mine, other in zip(ours, exact, strict=True):
        assert mine.dtype is torch.bfloat16
        assert torch.equal(mine, other.float().bfloat16())


def test_a_net_that_is_not_ours():
    torch.manual_seed(0)
    net = EfficientNet.from_name("efficientnet-lite0")
    net._blocks = net._blocks[:4]  # the other 12 are of the same kind
    net._conv_head = type(net._conv_head)(40, 20, 1, image_size=7, bias=False)
    net._bn1, net._fc = nn.BatchNorm2d(20), nn.Linear(20, 5)
    assert type(net._conv_stem) is not nn.Conv2d
    assert_folds(net, x(1, 3, 32, 32))


class Net(nn.Module):
    """Places where a norm must stay, around one that may go."""

    def __init__(self):
        super().__init__()
        self.twice, self.norm_twice = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.conv, self.shared_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.branch, self.norm_branch = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.good, self.norm_good = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.read, self.norm_read = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.again, self.norm_again = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.other_norm = nn.BatchNorm2d(4)
        self.scale = torch.tensor(2.0)  # neither parameter nor buffer

    def forward(self, x):
        x = self.norm_twice(self.twice(self.twice(x)))
        x = self.shared_norm(self.shared_norm(self.conv(x)))
        y = self.branch(x)
        x = self.norm_branch(y) + y
        x = self.norm_good(self.good(x)) * torch.tensor(2.0)
        x = self.norm_read(self.read(x)) + self.read.weight.sum()
        z = self.again(x)
        return self.norm_again(self.again(z)) + self.other_norm(z)


def test_only_where_it_is_right():
    model = Net()
    attributes = set(vars(model))
    assert_folds(model, x(2, 4, 3, 3), left=6)
    assert isinstance(model.norm_good, nn.Identity)
    assert set(vars(model)) == attributes


class Standardized(nn.Conv2d):
    """A layer of someone's own, which is not linear in its weight."""

    def forward(self, x):
        weight = self.weight / self.weight.std((1, 2, 3), keepdim=True)
        return functional.conv2d(x, weight, self.bias)


class Active(nn.Conv2d):
    def forward(self, x):
        return super().forward(x).relu()


class WithoutBias(nn.Conv2d):
    def forward(self, x):
        return functional.conv2d(x, self.weight)


class Padded(nn.Conv2d):
    def forward(self, x):
        return super().forward(functional.pad(x, (1, 2)))


@pytest.mark.parametrize(
    ("kind", "left"), [(Standardized, 1), (Active, 1), (WithoutBias, 1), (Padded, 0)]
)
def test_layers_of_someones_own(kind, left):
    model = nn.Sequential(kind(2, 3, 2, bias=False), nn.BatchNorm2d(3))
    assert_folds(model, x(2, 2, 5, 5), left=left)


def test_what_cannot_be_folded_stays():
    # A norm of channels after a layer on features.
    assert_folds(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(3)), x(2, 3, 6), left=1)
    no_statistics = nn.BatchNorm2d(3, track_running_stats=False)
    assert_folds(
        nn.Sequential(nn.Conv2d(2, 3, 2), no_statistics), x(2, 2, 4, 4), left=1
    )
    first = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 2), nn.ReLU())
    assert_folds(first, x(2, 2, 4, 4), left=1)
    hooked = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3))
    hooked[0].register_forward_hook(lambda module, args, y: y * 2)
    assert_folds(hooked, x(2, 2, 4, 4), left=1)


def test_masks_end_in_the_weight():
    class Mask(nn.Module):
        def forward(self, weight):
            return weight * (torch.arange(weight.numel()) % 2).reshape(weight.shape)

    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3))
    parametrize.register_parametrization(model[0], "weight", Mask())
    masked = copy.deepcopy(model)
    model = assert_folds(model, x(2, 2, 4, 4))
    assert type(model[0]) is nn.Conv2d
    assert (model[0].weight == 0).sum() == 12
    assert {name for name, _ in model.named_parameters()} == {"0.weight", "0.bias"}
    assert parametrize.is_parametrized(masked[0])
    assert (masked[0].weight == 0).sum() == 12


def test_tied_weights_and_frozen_ones():
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1))
    model[2].weight = model[0].weight
    model.requires_grad_(False)
    model = assert_folds(model, x(2, 2, 3, 3))
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_folding_twice_and_nothing_to_fold():
    model = assert_folds(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), x(2, 3))
    state = copy.deepcopy(model.state_dict())
    fold_batch_norms_(model)
    assert all(torch.equal(model.state_dict()[key], state[key]) for key in state)
    fold_batch_norms_(nn.Linear(3, 4))  # in training mode: no norm, no matter


def test_a_quantized_layer_keeps_its_norm():
    """A layer that is quantized already keeps its norm."""
    torch.manual_seed(0)
    model = lively(nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.ReLU()))
    early = copy.deepcopy(model)
    fold_batch_norms_(model)
    quantize_(model, WeightOnly(bits=3), filter_fn=is_linear_or_conv)
    quantize_(early, WeightOnly(bits=3), filter_fn=is_linear_or_conv)
    fold_batch_norms_(early)
    assert (norms(model), norms(early)) == (0, 1)


def test_a_model_in_training_or_with_branches_is_refused():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    with pytest.raises(ValueError, match=r"evaluation mode.*model.eval\(\)"):
        fold_batch_norms_(model)
    model.eval()
    model[1].train()
    with pytest.raises(ValueError, match="evaluation mode"):
        fold_batch_norms_(model)

    class Branches(nn.Sequential):
        def forward(self, x):
            y = super().forward(x)
            return y if y.sum() > 0 else -y

    branches = Branches(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    with pytest.raises(ValueError, match=r"torch.fx can trace.*TraceError"):
        fold_batch_norms_(branches)
    assert isinstance(branches[1], nn.BatchNorm1d)


@pytest.mark.parametrize(
    ("sizes", "match"),
    [
        (dict(gamma=3), r"gamma must have shape \(4,\), .*got \(3,\)"),
        (dict(variance=1), r"variance must have shape"),
        (dict(weight=3), r"weight must have 4 outputs .* got shape \(3, 2\)"),
    ],
)
def test_shapes_that_do_not_fit(sizes, match):
    args = dict(weight=4, bias=4, mean=4, variance=4, gamma=4, beta=4) | sizes
    tensors = {name: torch.ones(size) for name, size in args.items()}
    tensors["weight"] = torch.ones(args["weight"], 2)
    with pytest.raises(ValueError, match=match):
        fold_batch_norm(**tensors)
    if "weight" in sizes:
        with pytest.raises(ValueError, match="weight must have 4 outputs"):
            fold_batch_norm(**tensors | {"weight": torch.ones(2, 3)}, transposed=True)
