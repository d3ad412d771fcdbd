import math

import pytest
import torch

from mlopt_edu.regularization import max_norm_


def seeded(*shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 2.0, 1e3])
@pytest.mark.parametrize(
    ("shape", "dim"),
    [((5, 3), 0), ((5, 3), 1), ((5, 3), -1), ((4, 3, 2, 2), 0), ((4, 3, 2), 1)],
)
def test_it_is_torchs_renorm(shape, dim, max_norm):
    weight = seeded(*shape)
    expected = torch.renorm(weight, p=2, dim=dim, maxnorm=max_norm)
    max_norm_(weight, max_norm, dim=dim)
    # renorm divides by norm + 1e-7.
    torch.testing.assert_close(weight, expected, rtol=1e-6, atol=1e-9)


def test_inside_the_ball_nothing_moves_and_outside_only_the_length():
    weight = torch.tensor([[3.0, 4.0], [0.6, 0.8], [0.0, 0.0]], dtype=torch.float64)
    before = weight.clone()
    max_norm_(weight, 2.5)
    assert torch.equal(weight[1:], before[1:])
    torch.testing.assert_close(weight[0], before[0] / 2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_second_time_changes_nothing(dtype):
    weight = seeded(20, 10, dtype=dtype)
    max_norm_(weight, 1.0)
    once = weight.clone()
    max_norm_(weight, 1.0)
    torch.testing.assert_close(weight, once)
    limit = 1 + 4 * torch.finfo(dtype).eps
    assert (weight.double().norm(dim=1) <= limit).all()


def test_parameters_and_views_are_written_in_place():
    layer = torch.nn.Linear(3, 2)
    torch.nn.init.ones_(layer.weight)
    max_norm_(layer.weight, 1.0)
    torch.testing.assert_close(layer.weight.norm(dim=1), torch.ones(2))
    assert layer.weight.requires_grad
    whole = torch.ones(4, 3)
    max_norm_(whole.T, 1.0, dim=1)
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(4))


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.inf, math.nan])
def test_a_radius_out_of_range_is_refused(max_norm):
    with pytest.raises(ValueError, match=r"^max_norm must be finite and above 0, got"):
        max_norm_(torch.ones(2, 2), max_norm)


@pytest.mark.parametrize(("shape", "dim"), [((3,), 0), ((), 0), ((2, 2), 2)])
def test_weights_without_slices_are_refused(shape, dim):
    with pytest.raises(ValueError, match=r"^weight must have at least 2 dimensions"):
        max_norm_(torch.ones(shape), 1.0, dim=dim)
