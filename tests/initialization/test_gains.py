"""Gains, held against quadratures, closed forms, torch, and deep random nets."""

import math
from functools import partial

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import torch
from torch import nn

from mlopt_edu.initialization import gain, initialize_, kaiming_normal_, mean_square

INNER = {
    "linear": lambda z: z,
    "sigmoid": scipy.special.expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "gelu": lambda z: z * scipy.special.ndtr(z),
    "selu": lambda z: (
        1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(z))
    ),
    "silu": lambda z: z * scipy.special.expit(z),
}


@pytest.mark.parametrize("std", [0.01, 0.5, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("name", INNER)
def test_mean_square_is_the_integral(name, std):
    def integrand(z):
        return INNER[name](std * z) ** 2 * math.exp(-z * z / 2)

    halves = [
        scipy.integrate.quad(integrand, *ends, epsabs=0, epsrel=1e-12, limit=200)[0]
        for ends in ((-12, 0), (0, 12))
    ]
    expected = sum(halves) / math.sqrt(2 * math.pi)
    # What limits it is SELU, whose square has a kink in its second derivative.
    assert mean_square(name, std=std) == pytest.approx(expected, rel=3e-7)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "gelu", "silu"])
def test_smooth_activations_agree_with_gauss_and_hermite(name):
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    expected = weights @ INNER[name](nodes) ** 2 / weights.sum()
    assert mean_square(name) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2, 1.0, -0.5])
def test_leaky_relu_has_the_closed_form_of_he(slope):
    leaky = nn.LeakyReLU(slope)
    expected = torch.nn.init.calculate_gain("leaky_relu", slope)
    assert gain(leaky) == pytest.approx(expected, rel=1e-12)
    derivative = mean_square(leaky, std=7.0, derivative=True)
    assert derivative == pytest.approx((1 + slope**2) / 2, rel=1e-12)


def test_sigmoid_slope_has_the_mean_square_that_a_scaled_normal_gives():
    # With Φ for σ the integral is closed: φ^2 is again a Gaussian.
    std = 1.7
    normal = mean_square(torch.special.ndtr, std=std, derivative=True)
    assert normal == pytest.approx(
        1 / (2 * math.pi * math.sqrt(1 + 2 * std**2)), rel=1e-12
    )
    assert mean_square("sigmoid", derivative=True) < 1 / 16


@pytest.mark.parametrize(
    ("name", "theirs", "is_same"),
    [
        ("linear", 1, True),
        ("relu", math.sqrt(2), True),
        ("tanh", 5 / 3, False),
        ("sigmoid", 1, False),
        ("selu", 3 / 4, False),
    ],
)
def test_torch_keeps_the_variance_only_where_it_says_so(name, theirs, is_same):
    assert torch.nn.init.calculate_gain(name) == theirs
    assert (theirs**2 * mean_square(name) == pytest.approx(1, rel=1e-9)) is is_same


@pytest.mark.parametrize(("name", "theirs", "end"), [
    ("tanh", 5 / 3, "1.18"), ("sigmoid", 1, "0.26"),
])  # fmt: skip
def test_where_torchs_numbers_lead(name, theirs, end):
    variance = 1.0
    for _ in range(100):
        variance = theirs**2 * mean_square(name, std=math.sqrt(variance))
    assert f"{variance:.2f}" == end


def test_selu_normalizes_itself():
    assert gain("selu") == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", INNER)
def test_size_survives_ten_layers(name):
    width, generator = 600, torch.Generator().manual_seed(0)
    layer = nn.Linear(width, width, bias=False)
    z = torch.randn(100, width, generator=generator)
    for _ in range(10):
        initialize_(
            layer, partial(kaiming_normal_, activation=name), generator=generator
        )
        with torch.no_grad():
            z = layer(z if name == "linear" else getattr(nn.functional, name)(z))
    # Log of the size wanders by about sqrt(10 * 5 / width) = 0.3 with ReLU.
    assert 0.4 < (z**2).mean().item() < 2.5


def test_one_layer_follows_the_variance_map():
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(1000, 1000, bias=False)
    kaiming_normal_(layer.weight, activation="linear", generator=generator)
    for std in (0.5, 2.0):
        z = std * torch.randn(500, 1000, generator=generator)
        actual = layer(torch.tanh(z)).var().item()
        assert actual == pytest.approx(mean_square("tanh", std=std), rel=0.01)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: gain("Relu"), "activation"),
        (lambda: gain(torch.zeros_like), "activation"),
        (lambda: gain(lambda z: z / 0), "activation"),
        (lambda: mean_square("relu", std=-1), "std"),
        (lambda: mean_square("relu", std=math.inf), "std"),
    ],
)
def test_bad_arguments_are_named(call, name):
    with pytest.raises(ValueError, match=rf"^{name} must .*, got "):
        call()
