import copy
import math

import pytest
import torch
from torch.nn import Parameter

from mlopt_edu.regularization import clip_by_global_norm_, clip_by_value_, global_norm

NORM_TYPES = [0.5, 1.0, 2.0, 3.0, math.inf]


def with_gradients(*grads):
    params = [Parameter(torch.zeros_like(grad)) for grad in grads]
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad.clone()
    return params


def several(dtype=torch.float64):
    """A matrix, a scalar, nothing, a view, and a parameter without a gradient."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((5, 4), (), (0, 3), (6,))
    params = with_gradients(
        *(torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    )
    params[0].grad = params[0].grad.t().contiguous().t()
    return [*params, Parameter(torch.zeros(2, dtype=dtype))]


def gradients(params):
    return [param.grad for param in params if param.grad is not None]


@pytest.mark.parametrize("norm_type", NORM_TYPES)
@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_clipping_by_norm_is_torchs(dtype, max_norm, norm_type):
    params = several(dtype)
    del params[2]  # torch has no largest entry of nothing
    theirs = copy.deepcopy(params)
    for mine, other in zip(params, theirs, strict=True):
        other.grad = None if mine.grad is None else mine.grad.clone()
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert torch.equal(global_norm(params, norm_type=norm_type), expected)
    norm = clip_by_global_norm_(params, max_norm, norm_type=norm_type)
    torch.testing.assert_close(norm, expected)
    # torch divides by norm + 1e-6.
    slack = 1 + (1e-6 / expected if expected > max_norm else 0)
    for actual, other in zip(gradients(params), gradients(theirs), strict=True):
        torch.testing.assert_close(actual, other * slack)


@pytest.mark.parametrize("norm_type", NORM_TYPES)
def test_afterwards_the_norm_is_the_limit_and_stays(norm_type):
    params = several()
    before = torch.cat([grad.reshape(-1) for grad in gradients(params)])
    clip_by_global_norm_(params, 0.5, norm_type=norm_type)
    after = torch.cat([grad.reshape(-1) for grad in gradients(params)])
    assert global_norm(params, norm_type=norm_type).item() == pytest.approx(0.5)
    cosine = torch.nn.functional.cosine_similarity(before, after, dim=0)
    assert cosine.item() == pytest.approx(1.0)
    clip_by_global_norm_(params, 0.5, norm_type=norm_type)
    again = torch.cat([grad.reshape(-1) for grad in gradients(params)])
    torch.testing.assert_close(again, after)


def test_below_the_limit_and_without_a_limit_no_bit_changes():
    for max_norm in (100.0, math.inf):
        params = several()
        before = [grad.clone() for grad in gradients(params)]
        norm = clip_by_global_norm_(params, max_norm)
        assert all(map(torch.equal, gradients(params), before))
        assert norm == global_norm(params)


def test_gradients_of_zero_stay_zero():
    params = with_gradients(torch.zeros(3), torch.zeros(2))
    assert clip_by_global_norm_(params, 1.0) == 0
    assert all(not grad.any() for grad in gradients(params))


def test_no_gradients_no_norm():
    idle = [Parameter(torch.ones(2))]
    assert clip_by_global_norm_(idle, 1.0, nonfinite="raise") == 0
    assert global_norm(idle) == 0
    assert global_norm(with_gradients(torch.ones(0)), norm_type=math.inf) == 0
    clip_by_value_(idle, 1.0)
    assert idle[0].grad is None


def test_one_tensor_and_a_generator_will_do():
    (param,) = with_gradients(torch.tensor([3.0, 4.0]))
    assert clip_by_global_norm_(param, 1.0) == 5
    assert global_norm(each for each in [param]).item() == pytest.approx(1.0)
    clip_by_value_(param, 0.7)
    torch.testing.assert_close(param.grad, torch.tensor([0.6, 0.7]))


def test_half_precision_is_summed_in_single():
    # 300 * 300 is beyond float16, and 1e5 ones are beyond bfloat16's digits.
    half = torch.full((4,), 300.0, dtype=torch.float16)
    params = with_gradients(half, torch.ones(100_000, dtype=torch.bfloat16))
    expected = math.sqrt(4 * 300**2 + 100_000)
    norm = clip_by_global_norm_(params, expected / 2)
    assert norm.item() == pytest.approx(expected, rel=1e-6)
    assert [grad.dtype for grad in gradients(params)] == [half.dtype, torch.bfloat16]
    assert torch.equal(params[0].grad, half / 2)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite(bad):
    def broken():
        return with_gradients(torch.ones(2), torch.tensor([bad, 1.0]))

    params, theirs = broken(), broken()
    norm = clip_by_global_norm_(params, 1.0)
    expected = torch.nn.utils.clip_grad_norm_(theirs, 1.0)
    for actual, other in zip(
        [norm, *gradients(params)], [expected, *gradients(theirs)], strict=True
    ):
        torch.testing.assert_close(actual, other, equal_nan=True)

    params = broken()
    with pytest.raises(RuntimeError, match=r"^the norm of the gradients must be fini"):
        clip_by_global_norm_(params, 1.0, nonfinite="raise")
    assert torch.equal(params[0].grad, torch.ones(2))

    params = broken()
    assert not clip_by_global_norm_(params, 1.0, nonfinite="zero").isfinite()
    assert all(torch.equal(grad, torch.zeros(2)) for grad in gradients(params))


@pytest.mark.parametrize("nonfinite", ["raise", "zero"])
def test_finite_gradients_are_clipped_under_every_option(nonfinite):
    params = with_gradients(torch.tensor([3.0, 4.0]))
    assert clip_by_global_norm_(params, 1.0, nonfinite=nonfinite) == 5
    torch.testing.assert_close(params[0].grad, torch.tensor([0.6, 0.8]))


@pytest.mark.parametrize("max_value", [1e-3, 0.5, 100.0])
def test_clipping_by_value_is_torchs(max_value):
    params, theirs = several(), several()
    clip_by_value_(params, max_value)
    torch.nn.utils.clip_grad_value_(theirs, max_value)
    assert all(map(torch.equal, gradients(params), gradients(theirs)))


def test_infinities_are_clipped_by_value_and_nan_stays():
    params = with_gradients(torch.tensor([math.inf, -math.inf, math.nan, 0.1]))
    clip_by_value_(params, 2.0)
    expected = torch.tensor([2.0, -2.0, math.nan, 0.1])
    torch.testing.assert_close(params[0].grad, expected, equal_nan=True)


def test_one_huge_step_is_tamed():
    # The cliff of a recurrent net, w to the 50th, from its upper edge.
    def loss_after(clip):
        w = Parameter(torch.tensor(1.3, dtype=torch.float64))
        optimizer = torch.optim.SGD([w], lr=0.01)
        for _ in range(200):
            optimizer.zero_grad()
            loss = (w**50 - 0.2).square()
            loss.backward()
            if clip:
                clip_by_global_norm_([w], 1.0)
            optimizer.step()
        return loss.item()

    assert loss_after(clip=True) < 1e-3
    assert not loss_after(clip=False) < 1e-3


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan])
def test_limits_out_of_range_are_refused(limit):
    params = with_gradients(torch.ones(1))
    with pytest.raises(ValueError, match=r"^max_norm must be above 0, got"):
        clip_by_global_norm_(params, limit)
    with pytest.raises(ValueError, match=r"^max_value must be above 0, got"):
        clip_by_value_(params, limit)
    with pytest.raises(ValueError, match=r"^norm_type must be above 0, got"):
        global_norm(params, norm_type=limit)
    with pytest.raises(ValueError, match=r"^norm_type must be above 0, got"):
        clip_by_global_norm_(params, 1.0, norm_type=limit)
    assert params[0].grad == 1


def test_a_used_up_generator_is_refused():
    params = iter(with_gradients(torch.ones(1)))
    list(params)
    for clip in (clip_by_global_norm_, clip_by_value_):
        with pytest.raises(ValueError, match=r"^params must hold at least one tensor"):
            clip(params, 1.0)


def test_sparse_gradients_and_unknown_words_are_refused():
    embedding = torch.nn.Embedding(3, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match=r"^gradients must be dense, got layout"):
        clip_by_global_norm_(embedding.parameters(), 1.0)
    with pytest.raises(ValueError, match=r'^nonfinite must be "propagate", "raise" or'):
        clip_by_global_norm_(with_gradients(torch.ones(1)), 1.0, nonfinite="skip")
