import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from mlopt_edu.regularization import label_smoothing_loss, smooth_labels

SMOOTHING = [0.0, 0.1, 0.5, 1.0]


def batch(*shape, n_classes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(*shape, n_classes, generator=generator, dtype=dtype)
    return logits, torch.randint(n_classes, shape, generator=generator)


@pytest.mark.parametrize("smoothing", SMOOTHING)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4), (2, 3, 2)])
@pytest.mark.parametrize("n_classes", [1, 2, 10])
def test_loss_and_gradient_are_torchs(n_classes, shape, smoothing):
    logits, labels = batch(*shape, n_classes=n_classes)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = label_smoothing_loss(ours, labels, smoothing=smoothing)
    expected = nn.CrossEntropyLoss(label_smoothing=smoothing)(
        theirs.reshape(-1, n_classes), labels.reshape(-1)
    )
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-14)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_types(dtype):
    logits, labels = batch(20, n_classes=5, dtype=torch.float32)
    actual = label_smoothing_loss(logits.to(dtype), labels, smoothing=0.1)
    expected = functional.cross_entropy(logits, labels, label_smoothing=0.1)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.float(), expected, rtol=0.02, atol=1e-6)


@pytest.mark.parametrize("smoothing", SMOOTHING)
def test_the_loss_is_the_cross_entropy_of_the_smoothed_labels(smoothing):
    logits, labels = batch(6, 2, n_classes=4)
    targets = smooth_labels(labels, 4, smoothing=smoothing).double()
    torch.testing.assert_close(targets.sum(-1), torch.ones(6, 2).double())
    expected = functional.cross_entropy(logits.reshape(-1, 4), targets.reshape(-1, 4))
    actual = label_smoothing_loss(logits, labels, smoothing=smoothing)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-8)


def test_the_extremes_of_smoothing():
    labels = torch.tensor([[2, 0], [1, 1]])
    hard = smooth_labels(labels, 3, smoothing=0.0)
    assert torch.equal(hard, functional.one_hot(labels, 3).float())
    assert torch.equal(
        smooth_labels(labels, 4, smoothing=1.0), torch.full((2, 2, 4), 0.25)
    )


@pytest.mark.parametrize("smoothing", [0.1, 0.4])
def test_the_minimum_is_finite_and_is_the_targets_entropy(smoothing):
    n_classes = 5
    gap = math.log((1 - smoothing) * n_classes / smoothing + 1)
    logits = torch.zeros(1, n_classes, dtype=torch.float64)
    logits[0, 3] = gap
    logits.requires_grad_()
    labels = torch.tensor([3])
    loss = label_smoothing_loss(logits, labels, smoothing=smoothing)
    loss.backward()
    torch.testing.assert_close(logits.grad, torch.zeros(1, 5).double())
    off = smoothing / n_classes
    right = 1 - smoothing + off
    entropy = -right * math.log(right) - 4 * off * math.log(off)
    assert loss.item() == pytest.approx(entropy)


def test_a_class_ruled_out_by_its_logit_is_allowed_without_smoothing():
    logits = torch.tensor([[0.0, 0.0, -math.inf]])
    loss = label_smoothing_loss(logits, torch.tensor([0]), smoothing=0.0)
    assert loss.item() == pytest.approx(math.log(2))


def test_gradcheck():
    logits, labels = batch(3, n_classes=4)
    assert torch.autograd.gradcheck(
        lambda logits: label_smoothing_loss(logits, labels, smoothing=0.2),
        (logits.requires_grad_(),),
    )


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, math.nan])
def test_what_is_no_share_is_refused(smoothing):
    with pytest.raises(ValueError, match=r"^smoothing must be a share in \[0, 1\]"):
        label_smoothing_loss(
            torch.zeros(1, 2), torch.zeros(1, dtype=torch.long), smoothing=smoothing
        )
    with pytest.raises(ValueError, match=r"^smoothing must be a share in \[0, 1\]"):
        smooth_labels(torch.tensor([0]), 2, smoothing=smoothing)


def test_labels_that_do_not_fit_are_refused():
    message = r"^labels must have the shape of logits without .* \(3,\) for .* \(2, 3\)"
    with pytest.raises(ValueError, match=message):
        label_smoothing_loss(torch.zeros(2, 3), torch.zeros(3, dtype=torch.long))
