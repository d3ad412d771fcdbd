import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from mlopt_edu.regularization import Dropout, SpatialDropout, dropout

PROBABILITIES = [0.0, 0.1, 0.5, 0.9, 1.0]


def seeded(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def same_seed(ours, theirs, x):
    torch.manual_seed(3)
    expected = theirs(x)
    torch.manual_seed(3)
    return ours(x), expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (4, 3, 2, 7)])
@pytest.mark.parametrize("p", PROBABILITIES)
def test_dropout_is_torchs_with_the_same_seed(p, shape, dtype):
    x = seeded(*shape, dtype=dtype)
    actual, expected = same_seed(Dropout(p), nn.Dropout(p), x)
    assert torch.equal(actual, expected)
    assert (actual.dtype, actual.shape) == (dtype, x.shape)


@pytest.mark.parametrize(
    ("theirs", "shape"),
    [
        (nn.Dropout1d, (6, 5, 9)),
        (nn.Dropout2d, (6, 5, 3, 4)),
        (nn.Dropout3d, (6, 5, 2, 3, 2)),
    ],
)
@pytest.mark.parametrize("p", PROBABILITIES)
def test_spatial_dropout_is_torchs_with_the_same_seed(p, theirs, shape):
    actual, expected = same_seed(SpatialDropout(p), theirs(p), seeded(*shape))
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_mean_and_variance_are_those_of_the_law(p):
    n = 400_000
    generator = torch.Generator().manual_seed(1)
    x = torch.full((n,), 3.0, dtype=torch.float64)
    y = dropout(x, p, generator=generator)
    variance = 9 * p / (1 - p)
    assert y.mean().item() == pytest.approx(3.0, abs=4 * math.sqrt(variance / n))
    assert y.var().item() == pytest.approx(variance, rel=0.02)
    share = (y == 0).double().mean().item()
    assert share == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n))


def test_spatial_dropout_drops_whole_channels_of_each_example():
    torch.manual_seed(0)
    y = SpatialDropout(0.5)(torch.ones(200, 8, 3, 5))
    maps = y.flatten(2)
    assert torch.equal(maps.min(-1).values, maps.max(-1).values)
    assert set(y.unique().tolist()) == {0.0, 2.0}
    kept = maps[..., 0] > 0
    assert kept.double().mean().item() == pytest.approx(0.5, abs=0.05)
    assert not torch.equal(kept[0], kept[1])


@pytest.mark.parametrize("module", [Dropout(0.7), SpatialDropout(0.7)])
def test_at_evaluation_nothing_happens(module):
    net = nn.Sequential(nn.Identity(), module).eval()
    x = seeded(4, 3, 2)
    assert net(x) is x
    assert net.train()(x) is not x


def test_the_gradient_passes_where_the_value_did():
    x = seeded(50).requires_grad_()
    y = dropout(x, 0.4, generator=torch.Generator().manual_seed(0))
    y.sum().backward()
    torch.testing.assert_close(x.grad, (y.detach() != 0).double() / 0.6)


def test_gradcheck_with_a_fixed_mask():
    x = seeded(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: dropout(
            x, 0.3, mask_shape=(3, 1), generator=torch.Generator().manual_seed(0)
        ),
        (x,),
    )


def test_entries_that_share_a_mask_go_together():
    y = dropout(
        torch.ones(100, 6), 0.5, mask_shape=(1, 6), generator=torch.manual_seed(2)
    )
    assert torch.equal(y, y[:1].expand(100, 6))


def test_a_view_is_dropped_like_its_copy():
    x = seeded(6, 4).T[:, ::2]
    draw = [torch.Generator().manual_seed(5) for _ in range(2)]
    assert torch.equal(
        dropout(x, 0.5, generator=draw[0]),
        dropout(x.contiguous(), 0.5, generator=draw[1]),
    )


def test_torchs_functional_form_agrees_out_of_training():
    x = seeded(4)
    assert torch.equal(
        dropout(x, 0.5, training=False), functional.dropout(x, 0.5, False)
    )


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize(
    "refused", [Dropout, SpatialDropout, lambda p: dropout(torch.ones(1), p)]
)
def test_what_is_no_probability_is_refused(refused, p):
    with pytest.raises(ValueError, match=r"^p must be a probability in \[0, 1\], got"):
        refused(p)


def test_spatial_dropout_needs_channels():
    with pytest.raises(ValueError, match=r"^x must have shape \(batch, channels, ..."):
        SpatialDropout(0.5)(torch.ones(3))


def test_the_probability_is_shown():
    assert repr(SpatialDropout(0.2)) == "SpatialDropout(p=0.2)"
