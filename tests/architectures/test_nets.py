"""Nets, held against the papers' tables, and trained on real images."""

import pytest
import torch
from torch.nn import functional

from mlopt_edu.architectures import MobileNet, SqueezeNet
from mlopt_edu.datasets import fashion_mnist
from mlopt_edu.evaluation import count_macs, count_parameters


def counts(model, *shape):
    model = model.to("meta")
    macs = count_macs(model, torch.empty(1, *shape, device="meta")).total
    return count_parameters(model), macs


# Tables 6 and 7 of the MobileNet paper: millions of mult-adds and of parameters.
@pytest.mark.parametrize(
    ("width", "side", "macs", "parameters"),
    [
        (1.0, 224, 569, 4.2),
        (0.75, 224, 325, 2.6),
        (0.5, 224, 149, 1.3),
        (0.25, 224, 41, 0.5),
        (1.0, 192, 418, 4.2),
        (1.0, 160, 290, 4.2),
        (1.0, 128, 186, 4.2),
    ],
)
def test_mobilenet_has_the_papers_counts(width, side, macs, parameters):
    ours = counts(MobileNet(width=width), 3, side, side)
    assert round(ours[0] / 1e6, 1) == parameters
    # The paper rounds some numbers and cuts others.
    assert abs(ours[1] / 1e6 - macs) < 1


def test_mobilenet_exactly():
    assert counts(MobileNet(), 3, 224, 224) == (4_231_976, 568_740_352)


def test_dense_and_shallow_mobilenets_have_the_papers_counts():
    # Table 4: 4866 and 29.3; table 5: 307 and 2.9.
    dense = counts(MobileNet(separable=False), 3, 224, 224)
    assert round(dense[0] / 1e6, 1) == 29.3
    assert dense[1] / 1e6 == pytest.approx(4866, rel=1e-3)
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (1024, 2)]
    shallow = counts(MobileNet(blocks=[*blocks, (1024, 1)]), 3, 224, 224)
    assert round(shallow[0] / 1e6, 1) == 2.9
    assert round(shallow[1] / 1e6) == 307


def test_squeezenet_has_the_papers_counts():
    # Table 1: 1,248,424 parameters.
    first = counts(SqueezeNet(), 3, 224, 224)
    second = counts(SqueezeNet.v1_1(), 3, 224, 224)
    assert first[0] == 1_248_424
    # torchvision documents these: 0.82 and 0.35 billion.
    assert second[0] == 1_235_496
    assert [round(macs / 1e9, 2) for _, macs in (first, second)] == [0.82, 0.35]


def test_squeezenet_at_the_authors_input_has_the_papers_feature_maps():
    # Table 1, output sizes: the paper's 224 is cropped to 227 in the authors' files.
    model = SqueezeNet().to("meta")
    x, sides = torch.empty(1, 3, 227, 227, device="meta"), []
    for layer in model.features:
        x = layer(x)
        sides.append(x.shape[-1])
    assert sorted(set(sides), reverse=True) == [111, 55, 27, 13]
    assert x.shape[1] == 512


@pytest.mark.parametrize(
    "build",
    [MobileNet, MobileNet.small, SqueezeNet, SqueezeNet.v1_1, SqueezeNet.small],
)
@pytest.mark.parametrize(
    ("height", "width", "channels"), [(32, 32, 1), (29, 57, 3), (65, 40, 7)]
)
@pytest.mark.parametrize("multiplier", [0.25, 1.0, 1.4])
def test_any_size_channels_and_width(build, multiplier, height, width, channels):
    model = build(6, in_channels=channels, width=multiplier).to("meta").eval()
    images = torch.empty(2, channels, height, width, device="meta")
    assert model(images).shape == (2, 6)


@pytest.mark.parametrize(
    "build", [SqueezeNet, SqueezeNet.v1_1, SqueezeNet.small], ids=lambda b: b.__name__
)
def test_smallest_side_is_the_smallest(build):
    model = build(in_channels=1).to("meta")
    side = model.smallest_side
    assert model(torch.empty(1, 1, side, side, device="meta")).shape[0] == 1
    too_small = torch.empty(1, 1, side + 5, side - 1, device="meta")
    with pytest.raises(ValueError, match=rf"^images must be at least {side} .*, got "):
        model(too_small)
    # And without the check torch itself cannot pool it.
    model.smallest_side = 0
    with pytest.raises(RuntimeError):
        model(torch.empty(1, 1, side - 1, side - 1, device="meta"))


def test_mobilenet_takes_a_single_pixel():
    assert MobileNet(3).eval()(torch.ones(1, 3, 1, 1)).shape == (1, 3)


@pytest.mark.parametrize(
    # Without normalization SqueezeNet needs smaller steps, and more of them.
    ("build", "lr", "steps"),
    [(MobileNet.small, 1e-2, 30), (SqueezeNet.small, 3e-3, 60)],
)
def test_small_nets_learn_grey_images_on_a_cpu(build, lr, steps):
    data = fashion_mnist()
    # The images are sorted by class: every 20th.
    images = torch.from_numpy(data.train_images[::20]).float()[:, None] / 255
    labels = torch.from_numpy(data.train_labels[::20])
    assert labels.bincount().tolist() == [20] * 10
    torch.manual_seed(1)
    model = build(width=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        batch = torch.randperm(200, generator=generator)[:32]
        loss = functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        accuracy = (model(images).argmax(1) == labels).double().mean().item()
    assert accuracy > 0.3  # by chance 0.1


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: MobileNet(0), "num_classes"),
        (lambda: MobileNet(width=0), "width"),
        (lambda: MobileNet(in_channels=0), "in_channels and out_channels"),
        (lambda: SqueezeNet(0), "num_classes"),
        (lambda: SqueezeNet(width=-1), "width"),
        (lambda: SqueezeNet(dropout=1), "dropout"),
    ],
)
def test_bad_arguments_are_named(call, name):
    with pytest.raises(ValueError, match=rf"^{name} must .*, got "):
        call()
