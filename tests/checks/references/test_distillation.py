"""The right programs of exercise 12, proved by torch, SciPy and closed forms."""

import numpy as np
import pytest
import torch
from scipy import special

from mlopt_edu.checks import find_task
from mlopt_edu.checks.distillation._ask_teacher import ask_teacher_reference
from mlopt_edu.checks.distillation._attention_transfer import (
    attention_transfer_reference,
)
from mlopt_edu.checks.distillation._distillation_loss import (
    distillation_loss_reference,
)
from mlopt_edu.checks.distillation._ensemble_targets import ensemble_targets_reference
from mlopt_edu.checks.distillation._hint_loss import hint_loss_reference
from mlopt_edu.checks.distillation._logit_regression import logit_regression_reference
from mlopt_edu.checks.distillation._match_statistics import match_statistics_reference
from mlopt_edu.checks.distillation._net2wider import net2wider_reference
from mlopt_edu.checks.distillation._soft_target_gradient import (
    soft_target_gradient_reference,
)
from mlopt_edu.checks.distillation._soft_target_loss import soft_target_loss_reference
from mlopt_edu.checks.distillation._softened import softened_reference
from mlopt_edu.checks.distillation._train_student import train_student_reference
from tests.checks.references import cases

functional = torch.nn.functional


def mistake(task, name):
    (program,) = [m.program for m in find_task(task).mistakes if m.name == name]
    return program


def tensors(*arrays):
    return tuple(torch.tensor(array) for array in arrays)


def soft_loss(student, teacher, temperature):
    """The loss of Hinton et al., from torch's divergence."""
    log_q = functional.log_softmax(student / temperature, dim=1)
    log_p = functional.log_softmax(teacher / temperature, dim=1)
    loss = functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return temperature**2 * loss


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


@cases("softened")
def test_softened_is_the_softmax_of_scipy(case):
    logits, temperature = case.inputs.values()
    actual = softened_reference(logits, temperature)
    close(actual, special.softmax(logits / temperature, axis=-1))
    close(actual.sum(axis=-1), 1.0)


def test_softened_is_flat_when_hot_and_a_label_when_cold():
    logits = np.random.default_rng(0).normal(size=(4, 5))
    np.testing.assert_allclose(softened_reference(logits, 1e9), 0.2, atol=1e-8)
    label = np.eye(5)[logits.argmax(axis=1)]
    np.testing.assert_allclose(softened_reference(logits, 1e-3), label, atol=1e-8)


@cases("soft_target_loss")
def test_soft_target_loss_is_kl_div_of_torch(case):
    student, teacher, temperature = case.inputs.values()
    expected = soft_loss(*tensors(student, teacher), temperature).item()
    actual = soft_target_loss_reference(student, teacher, temperature)
    assert actual == pytest.approx(expected, rel=1e-9)
    assert 0 < actual < np.inf


def test_the_mean_of_torch_is_the_mistake_over_classes_too():
    student, teacher, temperature = (
        find_task("soft_target_loss").cases(20)[2].inputs.values()
    )
    log_q, log_p = (
        functional.log_softmax(z / temperature, dim=1)
        for z in tensors(student, teacher)
    )
    with pytest.warns(UserWarning, match="batchmean"):
        mean = functional.kl_div(log_q, log_p, reduction="mean", log_target=True)
    wrong = mistake("soft_target_loss", "mean_over_classes_too")
    actual = wrong(student, teacher, temperature)
    assert actual == pytest.approx(temperature**2 * mean.item())


@cases("soft_target_gradient")
def test_soft_target_gradient_is_that_of_autograd(case):
    student, teacher, temperature = case.inputs.values()
    student_tensor = torch.tensor(student, requires_grad=True)
    soft_loss(student_tensor, torch.tensor(teacher), temperature).backward()
    actual = soft_target_gradient_reference(student, teacher, temperature)
    close(actual, student_tensor.grad)


def test_soft_target_gradient_is_a_difference_of_losses():
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 3, 4))
    gradient = soft_target_gradient_reference(student, teacher, 3.0)
    for place in np.ndindex(student.shape):
        step = np.zeros(student.shape)
        step[place] = 1e-5
        ahead = soft_target_loss_reference(student + step, teacher, 3.0)
        behind = soft_target_loss_reference(student - step, teacher, 3.0)
        assert gradient[place] == pytest.approx((ahead - behind) / 2e-5, rel=1e-5)


@cases("distillation_loss")
def test_distillation_loss_is_that_of_torch(case):
    student, teacher, labels, temperature, hard_weight, soft_weight = (
        case.inputs.values()
    )
    z, v, y = tensors(student, teacher, labels)
    hard = torch.zeros(())
    if (labels >= 0).any():
        hard = functional.cross_entropy(z, y)  # leaves -100 out of its mean
    expected = hard_weight * hard + soft_weight * soft_loss(z, v, temperature)
    actual = distillation_loss_reference(**case.inputs)
    assert actual == pytest.approx(expected.item(), rel=1e-9)


@cases("logit_regression")
def test_logit_regression_is_half_of_mse_loss_and_its_gradient(case):
    student, teacher = case.inputs.values()
    z, v = tensors(student, teacher)
    z.requires_grad_()
    centred = [x - x.mean(dim=1, keepdim=True) for x in (z, v)]
    loss = functional.mse_loss(*centred, reduction="sum") / 2 / len(z)
    loss.backward()
    actual, gradient = logit_regression_reference(student, teacher)
    assert actual == pytest.approx(loss.item())
    close(gradient, z.grad)


@cases("logit_regression")
def test_soft_targets_become_logit_regression_when_hot(case):
    student, teacher = case.inputs.values()
    classes = student.shape[1]
    loss, gradient = logit_regression_reference(student, teacher)
    hot = soft_target_gradient_reference(student, teacher, 1e5)
    np.testing.assert_allclose(classes * hot, gradient, rtol=1e-3, atol=1e-4)
    soft = soft_target_loss_reference(student, teacher, 1e3)
    assert classes * soft == pytest.approx(loss, rel=2e-2)


@cases("hint_loss")
def test_hint_loss_is_a_convolution_of_torch_and_its_gradient(case):
    student, teacher, projector = case.inputs.values()
    convolution = torch.nn.Conv2d(*projector.shape[::-1], 1, bias=False).double()
    convolution.weight.data.copy_(torch.tensor(projector)[:, :, None, None])
    loss = functional.mse_loss(
        convolution(torch.tensor(student)), torch.tensor(teacher)
    )
    (loss / 2).backward()
    actual, gradient = hint_loss_reference(**case.inputs)
    assert actual == pytest.approx(loss.item() / 2)
    close(gradient, convolution.weight.grad[:, :, 0, 0])


def test_a_step_against_the_gradient_of_the_hint_makes_it_smaller():
    for case in find_task("hint_loss").cases(20):
        student, teacher, projector = case.inputs.values()
        loss, gradient = hint_loss_reference(student, teacher, projector)
        after, _ = hint_loss_reference(student, teacher, projector - 1e-3 * gradient)
        expected = loss - 1e-3 * np.sum(gradient**2)
        assert after == pytest.approx(expected, rel=1e-5)


@cases("attention_transfer")
def test_attention_transfer_by_normalize_of_torch(case):
    student, teacher = tensors(*case.inputs.values())
    maps = [
        functional.normalize((x**2).sum(dim=1).flatten(1), dim=1)
        for x in (student, teacher)
    ]
    expected = (maps[0] - maps[1]).square().sum(dim=1).mean()
    actual = attention_transfer_reference(**case.inputs)
    assert actual == pytest.approx(expected.item())


def test_attention_does_not_see_scale_or_order_of_channels():
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 2))
    same = 7 * x[:, [2, 0, 3, 1]]
    assert attention_transfer_reference(x, same) == pytest.approx(0, abs=1e-25)


class Linear(torch.nn.Linear):
    def __init__(self, weight, bias):
        super().__init__(weight.shape[1], weight.shape[0], dtype=torch.float64)
        self.load_state_dict(
            {"weight": torch.tensor(weight), "bias": torch.tensor(bias)}
        )


@cases("train_student")
def test_train_student_is_sgd_of_torch(case):
    X, _, teacher, student, temperature, lr, steps = case.inputs.values()
    X = torch.tensor(X)
    net = torch.nn.Sequential(
        Linear(*teacher[0]), torch.nn.ReLU(), Linear(*teacher[1])
    ).requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    pupil = Linear(*student)
    optimizer = torch.optim.SGD(pupil.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        soft_loss(pupil(X), net(X), temperature).backward()
        optimizer.step()
    weight, bias = train_student_reference(**case.inputs)
    np.testing.assert_allclose(weight, pupil.weight.detach(), rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(bias, pupil.bias.detach(), rtol=1e-7, atol=1e-10)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_student_that_can_learns_all_that_a_linear_teacher_knows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)) + 5  # all inputs positive: the ReLU lets them through
    weight, bias = rng.normal(size=(4, 3)), rng.normal(size=4)
    X = np.abs(X)
    teacher = [(np.eye(3), np.zeros(3)), (weight, bias)]
    student = np.zeros((4, 3)), np.zeros(4)
    X = (X - 4) * (X > 4) / 2
    found = train_student_reference(X, None, teacher, student, 2.0, 0.5, 5000)
    p = softened_reference(X @ weight.T + bias, 2.0)
    q = softened_reference(X @ found[0].T + found[1], 2.0)
    np.testing.assert_allclose(q, p, atol=1e-3)


def test_the_broken_program_gives_the_student_as_it_came():
    for case in find_task("train_student").cases(20):
        given = mistake("train_student", "as_given")(*case.inputs.values())
        for actual, expected in zip(given, case.inputs["student"], strict=True):
            np.testing.assert_array_equal(actual, expected)


def torch_teacher(weight, norm, head):
    net = torch.nn.Sequential(
        torch.nn.Linear(*weight.shape[::-1], bias=False),
        torch.nn.BatchNorm1d(len(weight)),
        torch.nn.ReLU(),
        torch.nn.Linear(*head.shape[::-1], bias=False),
    ).double()
    names = "1.weight", "1.bias", "1.running_mean", "1.running_var"
    state = {
        "0.weight": weight,
        **dict(zip(names, norm, strict=True)),
        "3.weight": head,
    }
    state = {name: torch.tensor(value) for name, value in state.items()}
    net.load_state_dict(state, strict=False)
    return net


@cases("ask_teacher")
def test_ask_teacher_is_a_net_of_torch_in_evaluation_mode(case):
    batches, weight, norm, head = case.inputs.values()
    net = torch_teacher(weight, norm, head).eval()
    expected = torch.cat([net(torch.tensor(x)) for x in batches]).detach()
    logits, mean, var = ask_teacher_reference(**case.inputs)
    close(logits, expected)
    close(mean, net[1].running_mean)
    close(var, net[1].running_var)


@cases("ask_teacher")
def test_the_broken_program_is_the_net_in_train_mode(case):
    batches, weight, norm, head = case.inputs.values()
    net = torch_teacher(weight, norm, head).train()
    if min(map(len, batches)) == 1:
        with pytest.raises(ValueError, match="more than 1 value"):
            net(torch.tensor(batches[0]))
        return
    expected = torch.cat([net(torch.tensor(x)) for x in batches]).detach()
    given = mistake("ask_teacher", "as_given")(*case.inputs.values())
    close(given[0], expected)
    close(given[1], net[1].running_mean)
    # torch remembers the variance with n - 1, the program's is that with n.
    assert not np.allclose(given[2], norm[3])


@cases("match_statistics")
def test_match_statistics_descends_by_autograd(case):
    x, weight, mean, var, lr, steps = case.inputs.values()
    x, weight, mean, var = tensors(x, weight, mean, var)
    x.requires_grad_()
    for _ in range(steps):
        hidden = x @ weight.T
        loss = functional.mse_loss(hidden.mean(0), mean, reduction="sum")
        loss = loss + functional.mse_loss(
            hidden.var(0, correction=0), var, reduction="sum"
        )
        (grad,) = torch.autograd.grad(loss, x)
        x = (x - lr * grad).detach().requires_grad_()
    close(match_statistics_reference(**case.inputs), x.detach())


def test_match_statistics_arrives_where_both_gaps_are_0():
    rng = np.random.default_rng(0)
    weight = np.eye(3) + 0.3 * rng.normal(size=(3, 3))
    x = rng.normal(size=(30, 3))
    mean, var = np.array([1.0, -1, 0.5]), np.array([2.0, 0.5, 1])
    x = match_statistics_reference(x, weight, mean, var, 0.2, 9000)
    hidden = x @ weight.T
    np.testing.assert_allclose(hidden.mean(axis=0), mean, atol=1e-6)
    np.testing.assert_allclose(hidden.var(axis=0), var, atol=1e-6)


@cases("ensemble_targets")
def test_ensemble_targets_are_the_mean_of_softmaxes_of_scipy(case):
    logits, temperature = case.inputs.values()
    members = [special.softmax(z / temperature, axis=1) for z in logits]
    actual = ensemble_targets_reference(logits, temperature)
    close(actual, np.mean(members, axis=0))
    close(actual.sum(axis=1), 1.0)


def test_the_mean_of_the_logits_is_the_normalised_geometric_mean():
    logits, temperature = find_task("ensemble_targets").cases(20)[2].inputs.values()
    members = [special.softmax(z / temperature, axis=1) for z in logits]
    product = np.prod(members, axis=0) ** (1 / len(members))
    expected = product / product.sum(axis=1, keepdims=True)
    close(mistake("ensemble_targets", "logits_averaged")(logits, temperature), expected)


@cases("net2wider")
def test_net2wider_computes_the_same_function(case):
    weight, bias, following, mapping = case.inputs.values()
    x = np.random.default_rng(0).normal(size=(20, weight.shape[1]))
    wide, shift, after = net2wider_reference(weight, bias, following, mapping)
    assert wide.shape == (len(mapping), weight.shape[1])
    for act in (np.tanh, lambda h: np.maximum(h, 0), np.exp):
        expected = act(x @ weight.T + bias) @ following.T
        close(act(x @ wide.T + shift) @ after.T, expected)


@cases("net2wider")
def test_copies_pass_on_equal_shares(case):
    weight, bias, following, mapping = case.inputs.values()
    _, _, after = net2wider_reference(weight, bias, following, mapping)
    for unit in range(len(bias)):
        columns = after[:, mapping == unit]
        close(columns, columns[:, :1] * np.ones(columns.shape[1]))
        close(columns.sum(axis=1), following[:, unit])


def test_a_divided_relu_passes_on_the_whole_and_a_tanh_does_not():
    case = find_task("net2wider").cases(20)[0]
    weight, bias, following, _ = case.inputs.values()
    wide, shift, after = mistake("net2wider", "units_divided")(*case.inputs.values())
    x = np.random.default_rng(0).normal(size=(20, weight.shape[1]))

    def gap(act):
        expected = act(x @ weight.T + bias) @ following.T
        return np.abs(act(x @ wide.T + shift) @ after.T - expected).max()

    assert gap(lambda h: np.maximum(h, 0)) < 1e-12
    assert gap(np.tanh) > 0.1


def test_without_t_squared_the_gradient_at_10_is_about_100_times_smaller():
    student, teacher = np.random.default_rng(0).normal(size=(2, 2000, 10))
    sizes = {}
    for temperature in (1.0, 10.0):
        gradient = mistake("soft_target_gradient", "t_squared_missing")(
            student, teacher, temperature
        )
        sizes[temperature] = np.sqrt(np.mean(gradient**2))
    assert 80 < sizes[1.0] / sizes[10.0] < 160


def test_shuffled_units_compute_the_same_with_another_corner():
    rng = np.random.default_rng(0)
    inner, outer = rng.normal(size=(512, 20)), rng.normal(size=(5, 512))
    order = rng.permutation(512)
    x = rng.normal(size=(7, 20))
    expected = np.maximum(x @ inner.T, 0) @ outer.T
    close(np.maximum(x @ inner[order].T, 0) @ outer[:, order].T, expected)
    assert np.linalg.norm(inner[order][:64] - inner[:64]) > np.linalg.norm(inner[:64])
