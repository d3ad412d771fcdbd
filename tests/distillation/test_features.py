"""Hints and attention transfer against closed forms and NumPy."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mlopt_edu.distillation import (
    Projector,
    attention_map,
    attention_transfer_loss,
    hint_loss,
)


def maps(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4, 5)])
def test_hint_is_half_the_mean_square(shape):
    student, teacher = maps(*shape), maps(*shape, seed=1)
    student.requires_grad_(), teacher.requires_grad_()
    loss = hint_loss(student, teacher)
    torch.testing.assert_close(loss, functional.mse_loss(student, teacher) / 2)
    loss.backward()
    assert teacher.grad is None
    torch.testing.assert_close(
        student.grad, (student - teacher).detach() / student.numel()
    )


def test_hint_of_half_precision_does_not_overflow():
    loss = hint_loss(torch.full((4,), 400.0).half(), torch.zeros(4).half())
    assert loss.item() == 80_000


@pytest.mark.parametrize(
    ("shape", "dim"),
    [((4, 3), 1), ((4, 3), -1), ((4, 7, 3), -1), ((4, 3, 5), 1), ((2, 3, 4, 5), 1)],
)
def test_projector_is_the_same_linear_map_at_all_places(shape, dim):
    projector = Projector(3, 6, dim=dim).double()
    features = maps(*shape)
    weight, bias = (part.detach().numpy() for part in projector.linear.parameters())
    moved = np.moveaxis(features.numpy(), dim, -1)
    expected = np.moveaxis(moved @ weight.T + bias, -1, dim)
    np.testing.assert_allclose(projector(features).detach(), expected, rtol=1e-12)


def test_projector_on_maps_is_a_convolution_of_one_pixel():
    projector = Projector(3, 6)
    conv = nn.Conv2d(3, 6, 1)
    conv.weight.data = projector.linear.weight.data[..., None, None]
    conv.bias = projector.linear.bias
    features = maps(2, 3, 5, 4, dtype=torch.float32)
    torch.testing.assert_close(projector(features), conv(features))


@pytest.mark.parametrize(
    ("shape", "size"),
    [((2, 3, 9), (4,)), ((2, 3, 8, 6), (4, 3)), ((2, 3, 4, 4, 4), (2, 2, 2))],
)
def test_projector_reaches_the_teachers_size(shape, size):
    projector = Projector(3, 5, size=size)
    features = maps(*shape, dtype=torch.float32)
    assert projector(features).shape == (2, 5, *size)
    mean = projector.linear(features.flatten(2).mean(-1))
    if shape[2] % size[0] == 0:
        torch.testing.assert_close(projector(features).flatten(2).mean(-1), mean)


def test_projector_draws_from_its_generator_and_learns_a_linear_teacher():
    first, second = (
        Projector(3, 4, generator=torch.Generator().manual_seed(5)) for _ in range(2)
    )
    assert torch.equal(first.linear.weight, second.linear.weight)
    assert first.linear.weight.abs().max() <= 1 / math.sqrt(3)
    student = maps(50, 3, dtype=torch.float32)
    teacher = student @ maps(3, 4, seed=1, dtype=torch.float32) + 1
    optimizer = torch.optim.Adam(first.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        hint_loss(first(student), teacher).backward()
        optimizer.step()
    assert hint_loss(first(student), teacher) < 1e-6


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("places", [(6,), (3, 4), (2, 3, 2)])
def test_attention_map_by_numpy(places, p):
    features = maps(4, 5, *places)
    energy = (np.abs(features.numpy()) ** p).sum(1).reshape(4, -1)
    expected = energy / np.linalg.norm(energy, axis=1, keepdims=True)
    actual = attention_map(features, p=p)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_attention_sees_neither_scale_nor_sign_nor_order_of_channels():
    features = maps(3, 4, 5, 5)
    expected = attention_map(features)
    torch.testing.assert_close(attention_map(-7 * features), expected)
    torch.testing.assert_close(attention_map(features[:, [2, 0, 3, 1]]), expected)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_attention_transfer_is_two_minus_two_cosines(p):
    student, teacher = maps(6, 3, 4, 4), maps(6, 9, 4, 4, seed=1)
    energies = [x.abs().pow(p).sum(1).flatten(1) for x in (student, teacher)]
    expected = (2 - 2 * functional.cosine_similarity(*energies)).mean()
    actual = attention_transfer_loss(student, teacher, p=p)
    torch.testing.assert_close(actual, expected)
    same = attention_transfer_loss(student, -2 * student, p=p)
    assert same.item() == pytest.approx(0, abs=1e-12)


def test_attention_transfer_gradients():
    student, teacher = maps(2, 3, 2, 2).requires_grad_(), maps(2, 5, 2, 2, seed=1)
    teacher.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: attention_transfer_loss(x, teacher.detach()), (student,)
    )
    attention_transfer_loss(student, teacher).backward()
    assert teacher.grad is None
    # Dead features, and a student that agrees, are no reason for NaN.
    for start in (torch.zeros(2, 3, 2, 2), torch.ones(2, 3, 2, 2)):
        start.requires_grad_()
        attention_transfer_loss(start, torch.ones(2, 5, 2, 2)).backward()
        assert torch.isfinite(start.grad).all()


def test_attention_of_half_precision_does_not_overflow():
    actual = attention_map(torch.full((1, 2, 4), 300.0).half())
    torch.testing.assert_close(actual, torch.full((1, 4), 0.5))


def test_what_does_not_fit_is_refused():
    map_ = torch.zeros(2, 3, 4, 4)
    for message, call in (
        (r"^student_features must have the .* Projector", (hint_loss, map_, map_[:1])),
        (
            r"^student_features and .* pool",
            (attention_transfer_loss, map_, map_[..., :2]),
        ),
        (r"^student_features and", (attention_transfer_loss, map_, torch.zeros(()))),
        (
            r"^features must have shape \(batch, channels, places",
            (attention_map, map_[0, 0]),
        ),
        (r"^features must have 5 channels in dimension 1", (Projector(5, 2), map_)),
        (r"^in_channels and out_channels must be", (Projector, 0, 2)),
    ):
        function, *arguments = call
        with pytest.raises(ValueError, match=message):
            function(*arguments)
    with pytest.raises(ValueError, match=r"^p must be finite and above 0, got 0"):
        attention_map(map_, p=0)
    with pytest.raises(ValueError, match=r"^dim must be 1 or -1, got 2"):
        Projector(1, 1, dim=2)
    with pytest.raises(ValueError, match=r"^size must be None, or 1 to 3 numbers"):
        Projector(1, 1, dim=-1, size=(2,))
