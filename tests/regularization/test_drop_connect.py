import math

import pytest
import torch
from torch import nn

from mlopt_edu.regularization import DropConnect

either_mask = pytest.mark.parametrize("per_example", [False, True])


def layer_and_input(p, *, per_example=False, bias=True):
    torch.manual_seed(0)
    layer = DropConnect(
        5, 3, p=p, bias=bias, per_example=per_example, dtype=torch.double
    )
    return layer, torch.randn(5, dtype=torch.double)


@either_mask
def test_at_evaluation_and_without_dropping_it_is_a_linear_layer(per_example):
    layer, x = layer_and_input(0.6, per_example=per_example)
    linear = nn.Linear(5, 3, dtype=torch.double)
    linear.load_state_dict(layer.state_dict())
    assert torch.equal(layer.eval()(x), linear(x))
    layer.train().p = 0.0
    torch.testing.assert_close(layer(x), linear(x), rtol=1e-14, atol=1e-14)


@either_mask
@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
def test_mean_and_variance_are_those_of_the_law(p, per_example):
    n = 5000
    layer, x = layer_and_input(p, per_example=per_example)
    torch.manual_seed(1)
    with torch.no_grad():
        draws = (
            layer(x.expand(n, 5))
            if per_example
            else torch.stack([layer(x) for _ in range(n)])
        )
        mean = layer.eval()(x)
        variance = p / (1 - p) * layer.weight.square() @ x.square()
    error = 4.5 * (variance / n).sqrt()
    assert ((draws.mean(0) - mean).abs() < error).all()
    torch.testing.assert_close(draws.var(0), variance, rtol=0.1, atol=0.0)


def test_one_mask_for_the_batch_or_one_for_each_row():
    for per_example in (False, True):
        layer, x = layer_and_input(0.5, per_example=per_example)
        y = layer(x.expand(2, 4, 5))
        assert y.shape == (2, 4, 3)
        distinct = len({tuple(row) for row in y.reshape(-1, 3).tolist()})
        assert distinct == (8 if per_example else 1)


@either_mask
@pytest.mark.parametrize("shape", [(5,), (0, 5), (2, 3, 5)])
def test_shapes(shape, per_example):
    layer, _ = layer_and_input(0.5, per_example=per_example)
    assert layer(torch.ones(shape, dtype=torch.double)).shape == (*shape[:-1], 3)


@either_mask
def test_all_dropped_leaves_the_bias(per_example):
    layer, x = layer_and_input(1.0, per_example=per_example)
    torch.testing.assert_close(layer(x[None])[0], layer.bias)
    layer, x = layer_and_input(1.0, per_example=per_example, bias=False)
    assert torch.equal(layer(x[None]), torch.zeros(1, 3, dtype=torch.double))


@either_mask
def test_gradients_with_a_fixed_mask(per_example):
    layer, _ = layer_and_input(0.5, per_example=per_example)

    def at(x, weight, bias):
        torch.manual_seed(4)
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    x = torch.randn(4, 5, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(at, (x, layer.weight, layer.bias))


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match=r"^p must be a probability in \[0, 1\], got"):
        DropConnect(2, 2, p=p)


def test_its_options_are_shown():
    assert repr(DropConnect(2, 3, p=0.25)) == (
        "DropConnect(in_features=2, out_features=3, bias=True, p=0.25, "
        "per_example=False)"
    )
