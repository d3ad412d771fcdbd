"""Soft targets against torch's divergence, closed forms, and Hinton's limit."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr
from scipy.special import softmax as scipy_softmax
from torch.nn import functional

from mlopt_edu.distillation import (
    distillation_loss,
    logit_regression_loss,
    soft_target_loss,
)

TEMPERATURES = [0.05, 1.0, 4.0, 20.0]


def logits(*shape, n_classes=10, seed=0, dtype=torch.float64, scale=5.0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        scale * torch.randn(*shape, n_classes, generator=generator, dtype=dtype)
        for _ in range(2)
    )


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4), (2, 3, 2)])
@pytest.mark.parametrize("n_classes", [1, 2, 10])
def test_loss_and_gradient_are_those_of_torchs_kl_div(n_classes, shape, temperature):
    student, teacher = logits(*shape, n_classes=n_classes)
    student.requires_grad_()
    loss = soft_target_loss(student, teacher, temperature=temperature)
    (gradient,) = torch.autograd.grad(loss, student)
    expected = temperature**2 * functional.kl_div(
        (student / temperature).log_softmax(-1).reshape(-1, n_classes),
        (teacher / temperature).log_softmax(-1).reshape(-1, n_classes),
        reduction="batchmean",
        log_target=True,
    )
    (expected_gradient,) = torch.autograd.grad(expected, student)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_loss_is_scipys_relative_entropy(temperature):
    student, teacher = logits(6, 3)
    p = scipy_softmax(teacher.numpy() / temperature, axis=-1)
    q = scipy_softmax(student.numpy() / temperature, axis=-1)
    expected = temperature**2 * rel_entr(p, q).sum(-1).mean()
    actual = soft_target_loss(student, teacher, temperature=temperature)
    assert actual.item() == pytest.approx(expected, rel=1e-10)


@given(
    values=st.lists(st.floats(-30, 30), min_size=6, max_size=6),
    shift=st.floats(-50, 50),
    temperature=st.floats(0.1, 30),
)
def test_laws(values, shift, temperature):
    student, teacher = torch.tensor(values, dtype=torch.float64).reshape(2, 3)
    loss = soft_target_loss(student, teacher, temperature=temperature)
    assert loss >= -1e-9
    shifted = soft_target_loss(
        student + shift, teacher - shift, temperature=temperature
    )
    torch.testing.assert_close(shifted, loss, rtol=1e-6, atol=1e-9)
    same = soft_target_loss(teacher, teacher, temperature=temperature)
    assert same.item() == pytest.approx(0, abs=1e-9)
    # Both divided by T and the loss multiplied by T^2: the definition itself.
    at_one = soft_target_loss(
        student / temperature, teacher / temperature, temperature=1
    )
    torch.testing.assert_close(loss, temperature**2 * at_one, rtol=1e-9, atol=1e-9)


def test_gradient_is_t_times_the_difference_of_probabilities():
    student, teacher = logits(5, 2)
    student.requires_grad_()
    soft_target_loss(student, teacher, temperature=3.0).backward()
    expected = 3 * ((student / 3).softmax(-1) - (teacher / 3).softmax(-1)) / 10
    torch.testing.assert_close(student.grad, expected.detach())


def test_for_high_temperature_it_becomes_centered_logit_regression():
    student, teacher = logits(8)
    student.requires_grad_()
    regression = logit_regression_loss(student, teacher, centered=True) / 10
    (limit,) = torch.autograd.grad(regression, student)
    errors = []
    for temperature in (1e2, 1e3, 1e4):
        loss = soft_target_loss(student, teacher, temperature=temperature)
        (gradient,) = torch.autograd.grad(loss, student)
        errors.append(((gradient - limit).norm() / limit.norm()).item())
        assert loss.item() == pytest.approx(regression.item(), rel=30 / temperature)
    # The first neglected term is of order 1/T.
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.1)
    assert errors[2] == pytest.approx(errors[1] / 10, rel=0.1)


def test_gradient_keeps_its_size_when_the_temperature_changes():
    student, teacher = logits(100, scale=1.0)
    student.requires_grad_()
    norms = [
        torch.autograd.grad(
            soft_target_loss(student, teacher, temperature=temperature), student
        )[0].norm()
        for temperature in (4.0, 40.0)
    ]
    assert 0.8 < norms[0] / norms[1] < 1.25


def test_gradchecks_with_weights():
    student, teacher = logits(3, 2, n_classes=4, scale=2.0)
    weights = torch.tensor([[1.0, 0.0], [0.5, 2.0], [0.0, 3.0]], dtype=torch.float64)
    labels = torch.tensor([[0, 1], [-100, 2], [3, 3]])
    student.requires_grad_()
    for loss in (
        lambda z: soft_target_loss(z, teacher, weights=weights),
        lambda z: distillation_loss(z, teacher, labels, weights=weights),
        lambda z: logit_regression_loss(z, teacher, centered=True, weights=weights),
    ):
        assert torch.autograd.gradcheck(loss, (student,))


def test_only_the_student_gets_a_gradient():
    student, teacher = (part.requires_grad_() for part in logits(4))
    labels = torch.arange(4)
    for loss in (
        soft_target_loss(student, teacher),
        logit_regression_loss(student, teacher),
        distillation_loss(student, teacher, labels),
    ):
        loss.backward()
    assert teacher.grad is None
    assert student.grad is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("temperature", [1e-3, 0.1, 4.0, 50.0])
def test_narrow_types_neither_overflow_nor_lose_the_gradient(temperature, dtype):
    # 3e4 fits float16, and 3e4 / 1e-3 does not.
    student, teacher = (part.to(dtype) for part in logits(20, scale=1.0))
    student[0, 0] = 3e4
    wide = student.double().requires_grad_()
    student.requires_grad_()
    actual = soft_target_loss(student, teacher, temperature=temperature)
    expected = soft_target_loss(wide, teacher.double(), temperature=temperature)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(
        actual.double(), expected, rtol=1e-3, atol=2e-6 * max(temperature, 1) ** 2
    )
    actual.backward()
    expected.backward()
    assert student.grad.dtype == dtype
    torch.testing.assert_close(
        student.grad.double(), wide.grad, rtol=0.02, atol=1e-4 * max(temperature, 1)
    )


def test_loss_works_under_autocast():
    student, teacher = logits(4, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = soft_target_loss(student @ torch.eye(10), teacher @ torch.eye(10))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(
        soft_target_loss(student, teacher).item(), rel=0.05
    )


def test_a_class_ruled_out_by_both_adds_nothing():
    student, teacher = logits(5, n_classes=3)
    ruled_out = torch.full((5, 1), -math.inf, dtype=torch.float64)
    padded = torch.cat([student, ruled_out], dim=1).requires_grad_()
    loss = soft_target_loss(padded, torch.cat([teacher, ruled_out], dim=1))
    torch.testing.assert_close(loss, soft_target_loss(student, teacher))
    loss.backward()
    assert torch.isfinite(padded.grad).all()
    by_student_alone = soft_target_loss(
        padded, torch.cat([teacher, torch.zeros(5, 1)], dim=1)
    )
    assert by_student_alone.item() == math.inf


@pytest.mark.parametrize("side", [0, 1])
def test_what_is_not_a_number_is_not_hidden(side):
    pair = logits(2)
    pair[side][0, 0] = math.nan
    assert torch.isnan(soft_target_loss(*pair))


def test_masked_places_may_hold_anything():
    student, teacher = logits(2, 3)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    labels = torch.tensor([[1, 2, 77], [3, 77, 77]])
    expected_soft = soft_target_loss(student[mask], teacher[mask])
    expected_hard = functional.cross_entropy(student[mask], labels[mask])
    expected_regression = logit_regression_loss(student[mask], teacher[mask])
    student[~mask], teacher[~mask] = math.nan, math.inf
    student.requires_grad_()
    for actual, expected in (
        (soft_target_loss(student, teacher, weights=mask), expected_soft),
        (
            distillation_loss(
                student, teacher, labels, weights=mask, hard_weight=2, soft_weight=3
            ),
            2 * expected_hard + 3 * expected_soft,
        ),
        (logit_regression_loss(student, teacher, weights=mask), expected_regression),
    ):
        torch.testing.assert_close(actual, expected)
        (gradient,) = torch.autograd.grad(actual, student)
        assert torch.isfinite(gradient).all()
        assert (gradient[~mask] == 0).all()


def test_weights_are_those_of_a_weighted_mean():
    student, teacher = logits(4)
    weights = torch.tensor([1.0, 0.5, 0.0, 3.0])
    each = [soft_target_loss(student[i], teacher[i]).item() for i in range(4)]
    actual = soft_target_loss(student, teacher, weights=weights)
    assert actual.item() == pytest.approx(np.average(each, weights=weights))
    # Repeating a sample is giving it twice the weight.
    twice = soft_target_loss(student[[0, 1, 1]], teacher[[0, 1, 1]])
    weighed = soft_target_loss(
        student[:2], teacher[:2], weights=torch.tensor([1.0, 2.0])
    )
    torch.testing.assert_close(weighed, twice)


def test_nothing_to_learn_from_is_a_loss_of_0_with_a_gradient():
    student, teacher = logits(3)
    student.requires_grad_()
    labels = torch.full((3,), -100)
    nothing = soft_target_loss(student, teacher, weights=torch.zeros(3))
    unlabelled = distillation_loss(student, teacher, labels, soft_weight=0.0)
    for loss in (nothing, unlabelled):
        assert loss.item() == 0
        (gradient,) = torch.autograd.grad(loss, student)
        assert (gradient == 0).all()


@pytest.mark.parametrize("shape", [(12,), (3, 4)])
def test_mixed_loss_is_both_terms_and_teacher_alone_where_labels_lack(shape):
    student, teacher = logits(*shape)
    labels = torch.arange(12).reshape(shape) % 10
    labels.view(-1)[::3] = -100
    actual = distillation_loss(
        student, teacher, labels, temperature=2.0, hard_weight=0.3, soft_weight=0.7
    )
    hard = functional.cross_entropy(student.reshape(-1, 10), labels.reshape(-1))
    soft = soft_target_loss(student, teacher, temperature=2.0)
    torch.testing.assert_close(actual, 0.3 * hard + 0.7 * soft)


def test_logit_regression_by_numpy():
    student, teacher = logits(5, 2, n_classes=3)
    gap = student.numpy() - teacher.numpy()
    expected = 0.5 * (gap**2).sum(-1).mean()
    assert logit_regression_loss(student, teacher).item() == pytest.approx(expected)
    gap -= gap.mean(-1, keepdims=True)
    expected = 0.5 * (gap**2).sum(-1).mean()
    actual = logit_regression_loss(student, teacher, centered=True)
    assert actual.item() == pytest.approx(expected)
    moved = logit_regression_loss(student + 7, teacher - 2, centered=True)
    torch.testing.assert_close(moved, actual)


@pytest.mark.parametrize("temperature", [0, -1.0, math.inf, math.nan])
def test_temperatures_out_of_range_are_refused(temperature):
    student, teacher = logits(2)
    with pytest.raises(ValueError, match=r"^temperature must be finite and above 0"):
        soft_target_loss(student, teacher, temperature=temperature)


@pytest.mark.parametrize("name", ["hard_weight", "soft_weight"])
@pytest.mark.parametrize("factor", [-0.1, math.inf, math.nan])
def test_factors_out_of_range_are_refused(name, factor):
    student, teacher = logits(2)
    with pytest.raises(ValueError, match=rf"^{name} must be finite and at least 0"):
        distillation_loss(student, teacher, torch.tensor([0, 1]), **{name: factor})


def test_shapes_that_do_not_fit_are_refused():
    two, three = torch.zeros(2, 4), torch.zeros(3, 4)
    message = r"^student_logits and teacher_logits must have one shape .*\(2, 4\) and"
    for loss in (soft_target_loss, logit_regression_loss):
        with pytest.raises(ValueError, match=message):
            loss(two, three)
        with pytest.raises(ValueError, match=r"^weights must have the shape of the"):
            loss(two, two, weights=torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"^labels must have the shape of student_lo"):
        distillation_loss(two, two, torch.zeros(3, dtype=torch.long))
