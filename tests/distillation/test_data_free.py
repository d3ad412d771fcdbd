"""Noise has the data's moments; made inputs look to the teacher like its own data."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from mlopt_edu.distillation import (
    matched_noise,
    soft_target_loss,
    statistics_gap,
    statistics_gaps,
    synthesize_inputs,
    total_variation,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("covariance", [False, True])
@pytest.mark.parametrize("shape", [(3,), (2, 3, 2)])
def test_noise_has_the_moments_of_the_data(shape, covariance):
    mixing = torch.randn(math.prod(shape), math.prod(shape), generator=generator(1))
    data = torch.randn(50, math.prod(shape), generator=generator()) @ mixing + 3
    data = data.reshape(50, *shape)
    noise = matched_noise(data, 40_000, covariance=covariance, generator=generator(2))
    assert noise.shape == (40_000, *shape)
    spread = data.std(0)
    torch.testing.assert_close(noise.mean(0), data.mean(0), rtol=0, atol=0.2)
    torch.testing.assert_close(
        noise.std(0) / spread, torch.ones(shape), rtol=0, atol=0.02
    )
    actual, expected = (np.cov(x.flatten(1).T.numpy()) for x in (noise, data))
    if not covariance:
        expected = np.diag(np.diag(expected))
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(actual / scale, expected / scale, atol=0.03)


def test_noise_comes_from_its_generator_in_the_datas_type():
    data = torch.randn(5, 2, dtype=torch.float64)
    first, second = (matched_noise(data, 3, generator=generator(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.dtype == torch.float64
    assert matched_noise(data, 0).shape == (0, 2)


@pytest.mark.parametrize(
    ("data", "count"), [(torch.zeros(1, 2), 3), (torch.zeros(4).long(), 3)]
)
def test_data_that_has_no_spread_is_refused(data, count):
    with pytest.raises(ValueError, match=r"^data must be a floating-point tensor of"):
        matched_noise(data, count)


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match=r"^count must be at least 0, got -1"):
        matched_noise(torch.randn(3, 1), -1)


@pytest.mark.parametrize("shape", [(20, 3), (4, 3, 5), (4, 3, 5, 2), (2, 3, 2, 2, 2)])
def test_gap_of_statistics_by_numpy(shape):
    features = torch.randn(shape, generator=generator(), dtype=torch.float64)
    mean, var = torch.randn(2, 3, generator=generator(1), dtype=torch.float64)
    channels = np.moveaxis(features.numpy(), 1, 0).reshape(3, -1)
    expected = np.linalg.norm(channels.mean(1) - mean.numpy()) + np.linalg.norm(
        channels.var(1) - var.numpy()
    )
    assert statistics_gap(features, mean, var).item() == pytest.approx(expected)


def test_total_variation_by_numpy():
    images = torch.randn(2, 3, 4, 5, generator=generator(), dtype=torch.float64)
    x = images.numpy()
    expected = np.abs(np.diff(x, axis=-1)).mean() + np.abs(np.diff(x, axis=-2)).mean()
    assert total_variation(images).item() == pytest.approx(expected)
    assert total_variation(torch.full((2, 2), 7.0)).item() == 0
    with pytest.raises(ValueError, match=r"^images must have shape \(..., height, w"):
        total_variation(torch.zeros(4, 1, 5))


def teacher_of(images, labels):
    """Train a net with batch norm on three classes of small images."""
    torch.manual_seed(0)
    teacher = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Linear(72, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, 3),
    )
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(teacher(images), labels).backward()
        optimizer.step()
    return teacher


def striped_images(count, seed=0):
    """Rows, columns or neither: three classes of 6 × 6 images."""
    draw = generator(seed)
    labels = torch.randint(3, (count,), generator=draw)
    images = 0.3 * torch.randn(count, 1, 6, 6, generator=draw)
    stripes = torch.tensor([1.0, -1.0]).repeat(3)
    images[labels == 0] += stripes
    images[labels == 1] += stripes.unsqueeze(1)
    return 2 + images, labels


@pytest.fixture(scope="module")
def trained():
    images, labels = striped_images(300)
    return teacher_of(images, labels)


def test_gaps_are_zero_at_a_batch_with_the_running_statistics():
    norm = nn.BatchNorm2d(3, momentum=None)
    model = nn.Sequential(nn.Conv2d(2, 3, 1), norm, nn.ReLU()).double()
    x = torch.randn(7, 2, 4, 4, generator=generator(), dtype=torch.float64)
    model(x)
    # torch keeps the unbiased variance.
    norm.running_var *= 1 - 1 / (7 * 16)
    model.eval()
    with statistics_gaps(model) as gaps:
        model(x)
        model(2 * x)
    assert gaps[0].item() == pytest.approx(0, abs=1e-12)
    assert gaps[1].item() > 0.1
    model(x)
    assert len(gaps) == 2


def test_a_trained_net_tells_its_data_from_noise(trained):
    images, _ = striped_images(300, seed=1)
    noise = matched_noise(images, 300, generator=generator())
    trained.eval()
    with torch.no_grad(), statistics_gaps(trained) as gaps:
        trained(images)
        trained(noise)
    own, other = sum(gaps[:2]), sum(gaps[2:])
    assert other > 2 * own


def test_inputs_are_made_of_the_wanted_class_and_look_like_data_inside(trained):
    trained.train()
    before = copy.deepcopy(trained.state_dict())
    start = torch.randn(60, 1, 6, 6, generator=generator())
    kept = start.clone()
    labels = torch.arange(60) % 3
    made = synthesize_inputs(trained, start, labels, steps=150, bounds=(0.0, 4.0))
    assert torch.equal(start, kept)
    torch.testing.assert_close(trained.state_dict(), before, rtol=0, atol=0)
    assert trained.training
    assert not made.requires_grad
    assert made.min() >= 0
    assert made.max() <= 4
    trained.eval()
    with torch.no_grad(), statistics_gaps(trained) as gaps:
        assert (trained(made).argmax(-1) == labels).float().mean() > 0.95
        trained(start)
    assert sum(gaps[:2]) < 0.2 * sum(gaps[2:])


def test_a_student_learns_from_made_inputs_what_the_teacher_knows(trained):
    trained.eval()
    labels = torch.arange(300) % 3
    start = torch.randn(300, 1, 6, 6, generator=generator())
    made = synthesize_inputs(trained, start, labels, steps=100)
    torch.manual_seed(1)
    student = nn.Sequential(
        nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 3)
    )
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    answers = trained(made).detach()
    for _ in range(200):
        optimizer.zero_grad()
        soft_target_loss(student(made), answers).backward()
        optimizer.step()
    images, labels = striped_images(300, seed=2)
    assert (trained(images).argmax(-1) == labels).float().mean() > 0.95
    assert (student(images).argmax(-1) == labels).float().mean() > 0.8


def test_labels_alone_guide_a_net_without_batch_norm():
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    labels = torch.arange(9) % 3
    start = torch.zeros(9, 4)
    with torch.no_grad():  # The caller's mode must not stop the gradients.
        made = synthesize_inputs(teacher, start, labels, statistics_weight=0, lr=0.1)
    assert (teacher(made).argmax(-1) == labels).all()
    small = synthesize_inputs(
        teacher, start, labels, statistics_weight=0, lr=0.1, norm_weight=1.0
    )
    assert small.norm() < made.norm()


def test_smoothness_is_bought_with_its_weight(trained):
    start = torch.randn(12, 1, 6, 6, generator=generator())
    made = [
        synthesize_inputs(trained, start, steps=60, variation_weight=weight)
        for weight in (0.0, 10.0)
    ]
    assert total_variation(made[1]) < 0.5 * total_variation(made[0])


def test_no_steps_change_nothing(trained):
    start = torch.randn(2, 1, 6, 6)
    assert torch.equal(synthesize_inputs(trained, start, steps=0), start)


@pytest.mark.parametrize(
    ("message", "options"),
    [
        (r"^steps must be at least 0", {"steps": -1}),
        (r"^lr must be finite and above 0", {"lr": 0.0}),
        (r"^statistics_weight must be finite", {"statistics_weight": -1.0}),
        (r"^variation_weight must be finite", {"variation_weight": math.nan}),
        (r"^norm_weight must be finite", {"norm_weight": math.inf}),
        (r"^bounds must be \(least, largest\)", {"bounds": (1.0, 1.0)}),
        (
            r"^labels must be given where statistics_weight is 0",
            {"statistics_weight": 0},
        ),
    ],
)
def test_what_is_out_of_range_is_refused(trained, message, options):
    with pytest.raises(ValueError, match=message):
        synthesize_inputs(trained, torch.zeros(2, 1, 6, 6), **options)


def test_a_net_without_statistics_is_refused():
    for model in (nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False)):
        with pytest.raises(ValueError, match=r"^model must have .*statistics_weight=0"):
            synthesize_inputs(model, torch.zeros(3, 2))


def test_a_first_layer_may_work_in_place():
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.LeakyReLU(inplace=True), nn.Linear(4, 3))
    labels = torch.arange(3)
    made = synthesize_inputs(
        teacher, torch.zeros(3, 4), labels, steps=50, lr=0.1, statistics_weight=0
    )
    assert (teacher(made).argmax(-1) == labels).all()
