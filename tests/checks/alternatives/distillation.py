"""Right answers to exercise 12, written in other ways."""

import math
from collections import Counter

import numpy as np
import torch
from scipy.special import logsumexp, softmax
from torch.nn import functional


def softened_by_torch(logits, temperature):
    return torch.softmax(torch.tensor(logits) / temperature, -1)


def softened_by_logsumexp(logits, temperature):
    scaled = logits / temperature
    return np.exp(scaled - logsumexp(scaled, axis=-1, keepdims=True))


def softened_row_by_row(logits, temperature):
    def row(z):
        powers = [math.exp((value - max(z)) / temperature) for value in z]
        return [power / math.fsum(powers) for power in powers]

    return np.apply_along_axis(lambda z: np.array(row(z.tolist())), -1, logits)


def softened_in_single_precision(logits, temperature):
    scaled = (logits - logits.max(-1, keepdims=True)) / temperature
    powers = np.exp(scaled.astype(np.float32))
    return powers / powers.sum(-1, keepdims=True)


def softened_against_all_others(logits, temperature):
    gaps = (logits[..., None, :] - logits[..., :, None]) / temperature
    return 1 / np.exp(gaps).sum(-1)


def softened_by_scipy(logits, temperature):
    return softmax(np.divide(logits, temperature), axis=-1)


def log_q(logits, temperature=1.0):
    scaled = logits / temperature
    return scaled - logsumexp(scaled, axis=-1, keepdims=True)


def loss_by_torch(student_logits, teacher_logits, temperature):
    student, teacher = torch.tensor(student_logits), torch.tensor(teacher_logits)
    return temperature**2 * functional.kl_div(
        (student / temperature).log_softmax(1),
        (teacher / temperature).log_softmax(1),
        reduction="batchmean",
        log_target=True,
    )


def loss_by_entropies(student_logits, teacher_logits, temperature):
    log_p = log_q(teacher_logits, temperature)
    p = np.exp(log_p)
    crossed = -np.sum(p * log_q(student_logits, temperature))
    entropy = -np.sum(p * log_p)
    return temperature**2 * (crossed - entropy) / len(student_logits)


def loss_example_by_example(student_logits, teacher_logits, temperature):
    losses = []
    for z, v in zip(student_logits, teacher_logits, strict=True):
        p = softmax(v / temperature)
        losses.append(p @ (log_q(v, temperature) - log_q(z, temperature)))
    return temperature * temperature * math.fsum(losses) / len(losses)


def loss_in_single_precision(student_logits, teacher_logits, temperature):
    z = log_q(student_logits, temperature).astype(np.float32)
    v = log_q(teacher_logits, temperature).astype(np.float32)
    return np.float32(temperature**2) * (np.exp(v) * (v - z)).sum(1).mean()


def loss_by_cross_entropy_of_torch(student_logits, teacher_logits, temperature):
    p = torch.softmax(torch.tensor(teacher_logits) / temperature, 1)
    crossed = functional.cross_entropy(torch.tensor(student_logits) / temperature, p)
    entropy = torch.special.entr(p).sum(1).mean()
    return temperature**2 * (crossed - entropy)


def loss_by_einsum(student_logits, teacher_logits, temperature):
    log_p = log_q(teacher_logits, temperature)
    gap = log_p - log_q(student_logits, temperature)
    total = np.einsum("nk,nk", np.exp(log_p), gap)
    return np.array(temperature**2 / len(gap) * total)


def gradient_by_autograd(student_logits, teacher_logits, temperature):
    student = torch.tensor(student_logits, requires_grad=True)
    loss_of = functional.cross_entropy(
        student / temperature,
        torch.softmax(torch.tensor(teacher_logits) / temperature, 1),
    )
    (grad,) = torch.autograd.grad(temperature**2 * loss_of, student)
    return grad


def gradient_by_scipy(student_logits, teacher_logits, temperature):
    q = softmax(student_logits / temperature, axis=1)
    p = softmax(teacher_logits / temperature, axis=1)
    return (q - p) / (len(q) / temperature)


def gradient_row_by_row(student_logits, teacher_logits, temperature):
    rows = []
    for z, v in zip(student_logits, teacher_logits, strict=True):
        rows.append(softmax(z / temperature) - softmax(v / temperature))
    return [row * temperature / len(rows) for row in rows]


def gradient_in_single_precision(student_logits, teacher_logits, temperature):
    gradient = gradient_by_scipy(student_logits, teacher_logits, temperature)
    return gradient.astype(np.float32)


def gradient_by_both_at_once(student_logits, teacher_logits, temperature):
    both = np.stack([student_logits, teacher_logits]) / temperature
    return -np.diff(softmax(both, axis=2), axis=0)[0] * temperature / both.shape[1]


def both_by_torch(
    student_logits, teacher_logits, labels, temperature, hard_weight, soft_weight
):
    soft = loss_by_torch(student_logits, teacher_logits, temperature)
    total = functional.cross_entropy(
        torch.tensor(student_logits), torch.tensor(labels), reduction="sum"
    )
    hard = total / max((labels != -100).sum(), 1)
    return hard_weight * hard + soft_weight * soft


def both_by_one_hot(
    student_logits, teacher_logits, labels, temperature, hard_weight, soft_weight
):
    targets = (labels[:, None] == np.arange(student_logits.shape[1])).astype(float)
    known = max(targets.sum(), 1)
    hard = -np.sum(targets * log_q(student_logits)) / known
    soft = loss_by_entropies(student_logits, teacher_logits, temperature)
    return hard * hard_weight + soft * soft_weight


def both_by_loop(
    student_logits, teacher_logits, labels, temperature, hard_weight, soft_weight
):
    hard = []
    for row, label in zip(log_q(student_logits), labels, strict=True):
        if label >= 0:
            hard.append(-row[label])
    soft = loss_example_by_example(student_logits, teacher_logits, temperature)
    return hard_weight * (sum(hard) / len(hard) if hard else 0) + soft_weight * soft


def both_masked(
    student_logits, teacher_logits, labels, temperature, hard_weight, soft_weight
):
    known = labels >= 0
    hard = 0.0
    if known.any():
        picked = np.take_along_axis(
            log_q(student_logits[known]), labels[known, None], axis=1
        )
        hard = -picked.mean()
    soft = loss_by_einsum(student_logits, teacher_logits, temperature)
    return np.dot([hard_weight, soft_weight], [hard, float(soft)])


def both_in_single_precision(
    student_logits, teacher_logits, labels, temperature, hard_weight, soft_weight
):
    return torch.as_tensor(
        both_by_torch(
            student_logits,
            teacher_logits,
            labels,
            temperature,
            hard_weight,
            soft_weight,
        ),
        dtype=torch.float32,
    )


def regression_of_centred_nets(student_logits, teacher_logits):
    centred = [
        z - z.mean(axis=1, keepdims=True) for z in (student_logits, teacher_logits)
    ]
    gap = centred[0] - centred[1]
    return 0.5 * np.mean(np.sum(gap**2, axis=1)), gap / len(gap)


def regression_by_autograd(student_logits, teacher_logits):
    student = torch.tensor(student_logits, requires_grad=True)
    gap = student - torch.tensor(teacher_logits)
    loss = (gap.square().sum(1) - gap.sum(1) ** 2 / gap.shape[1]).mean() / 2
    return loss, torch.autograd.grad(loss, student)[0]


def regression_by_variance(student_logits, teacher_logits):
    gap = np.subtract(student_logits, teacher_logits)
    loss = gap.var(axis=1).sum() * gap.shape[1] / (2 * len(gap))
    return [loss, (gap - np.mean(gap, axis=1)[:, np.newaxis]) / len(gap)]


def regression_by_a_matrix(student_logits, teacher_logits):
    n, classes = student_logits.shape
    centring = np.eye(classes) - 1 / classes
    gap = (student_logits - teacher_logits) @ centring
    return np.trace(gap @ gap.T) / 2 / n, gap / n


def regression_in_single_precision(student_logits, teacher_logits):
    loss, gradient = regression_of_centred_nets(student_logits, teacher_logits)
    return np.float32(loss), gradient.astype(np.float32)


def hint_by_convolution(student_features, teacher_features, projector):
    weight = torch.tensor(projector)[:, :, None, None].requires_grad_()
    projected = functional.conv2d(torch.tensor(student_features), weight)
    loss = functional.mse_loss(projected, torch.tensor(teacher_features)) / 2
    (grad,) = torch.autograd.grad(loss, weight)
    return loss, grad[:, :, 0, 0]


def hint_channels_last(student_features, teacher_features, projector):
    student = np.moveaxis(student_features, 1, -1).reshape(-1, projector.shape[1])
    teacher = np.moveaxis(teacher_features, 1, -1).reshape(-1, projector.shape[0])
    gap = student @ projector.T - teacher
    return np.sum(gap**2) / (2 * gap.size), gap.T @ student / gap.size


def hint_by_tensordot(student_features, teacher_features, projector):
    projected = np.tensordot(projector, student_features, axes=(1, 1))
    gap = projected - teacher_features.swapaxes(0, 1)
    gradient = np.tensordot(gap, student_features, axes=((1, 2, 3), (0, 2, 3)))
    return np.square(gap).mean() / 2, gradient / teacher_features.size


def hint_example_by_example(student_features, teacher_features, projector):
    loss, gradient = 0.0, np.zeros_like(projector)
    for student, teacher in zip(student_features, teacher_features, strict=True):
        flat = student.reshape(len(student), -1)
        gap = projector @ flat - teacher.reshape(len(teacher), -1)
        loss += (gap**2).sum() / 2
        gradient += gap @ flat.T
    return loss / teacher_features.size, gradient / teacher_features.size


def hint_in_single_precision(student_features, teacher_features, projector):
    loss, gradient = hint_channels_last(student_features, teacher_features, projector)
    return np.float32(loss), np.float32(gradient)


def attention_by_torch(student_features, teacher_features):
    maps = [
        functional.normalize(torch.tensor(x).square().mean(1).flatten(1), dim=1)
        for x in (student_features, teacher_features)
    ]
    return (maps[0] - maps[1]).square().sum(1).mean()


def attention_by_cosine(student_features, teacher_features):
    losses = []
    for student, teacher in zip(student_features, teacher_features, strict=True):
        s, t = (np.einsum("chw,chw->hw", x, x).ravel() for x in (student, teacher))
        if not s.any() or not t.any():
            losses.append(float(s.any()) + float(t.any()))
        else:
            losses.append(2 - 2 * (s @ t) / np.sqrt((s @ s) * (t @ t)))
    return np.mean(losses)


def attention_flattened(student_features, teacher_features):
    def attention(x):
        energy = (x**2).sum(axis=1).reshape(len(x), -1)
        length = np.linalg.norm(energy, axis=1, keepdims=True)
        return np.divide(energy, length, out=np.zeros_like(energy), where=length > 0)

    gap = attention(student_features) - attention(teacher_features)
    return (gap**2).sum(axis=1).mean()


def attention_by_loop(student_features, teacher_features):
    total = 0
    for pair in zip(student_features, teacher_features, strict=True):
        maps = []
        for x in pair:
            energy = sum(channel * channel for channel in x)
            maps.append(energy / (np.linalg.norm(energy) or 1))
        total += np.linalg.norm(maps[0] - maps[1]) ** 2
    return total / len(student_features)


def attention_without_nan(student_features, teacher_features):
    maps = []
    for x in (student_features, teacher_features):
        energy = np.linalg.norm(x, axis=1) ** 2
        length = np.sqrt(np.sum(energy**2, axis=(1, 2), keepdims=True))
        with np.errstate(all="ignore"):
            maps.append(np.nan_to_num(energy / length))
    return np.float64(((maps[0] - maps[1]) ** 2).sum() / len(maps[0]))


def teach_in_torch(X, labels, teacher, student, temperature, lr, steps):
    X = torch.tensor(X)
    (inner, inner_bias), (outer, outer_bias) = (
        (torch.tensor(w), torch.tensor(b)) for w, b in teacher
    )
    p = functional.linear(
        functional.linear(X, inner, inner_bias).relu(), outer, outer_bias
    )
    p = torch.softmax(p / temperature, 1)
    params = [torch.tensor(a, requires_grad=True) for a in student]
    for _ in range(steps):
        q = functional.linear(X, *params) / temperature
        loss = temperature**2 * functional.cross_entropy(q, p)
        slopes = torch.autograd.grad(loss, params)
        with torch.no_grad():
            for param, slope in zip(params, slopes, strict=True):
                param -= lr * slope
    return tuple(params)


def teach_asking_at_every_step(X, labels, teacher, student, temperature, lr, steps):
    weight, bias = (a.copy() for a in student)
    for _ in range(steps):
        x = X
        for i, (w, b) in enumerate(teacher):
            x = x @ w.T + b
            x = np.maximum(x, 0) if i == 0 else x
        logits = X @ weight.T + bias
        gap = softmax(logits / temperature, axis=1) - softmax(x / temperature, axis=1)
        weight -= lr * temperature / len(X) * np.einsum("nk,nd->kd", gap, X)
        bias -= lr * temperature * gap.mean(axis=0)
    return weight, bias


def teach_with_a_column_of_ones(X, labels, teacher, student, temperature, lr, steps):
    (inner, inner_bias), (outer, outer_bias) = teacher
    answers = np.clip(X @ inner.T + inner_bias, 0, None) @ outer.T + outer_bias
    p = softmax(answers / temperature, axis=1)
    X = np.column_stack([X, np.ones(len(X))])
    theta = np.column_stack(student)
    for _ in range(steps):
        q = softmax(X @ theta.T / temperature, axis=1)
        theta = theta + lr * temperature * (p - q).T @ X / len(X)
    return theta[:, :-1], theta[:, -1]


def teach_by_while(X, labels, teacher, student, temperature, lr, steps):
    weight, bias = student
    (inner, inner_bias), (outer, outer_bias) = teacher
    hidden = X @ inner.T + inner_bias
    hidden = hidden * (hidden > 0)
    answers = hidden @ outer.T + outer_bias
    while steps > 0:
        logits = X @ weight.T + bias
        gradient = gradient_by_scipy(logits, answers, temperature)
        weight, bias = weight - lr * gradient.T @ X, bias - lr * gradient.sum(0)
        steps -= 1
    return [weight, bias]


def teach_in_single_precision(X, labels, teacher, student, temperature, lr, steps):
    weight, bias = teach_by_while(X, labels, teacher, student, temperature, lr, steps)
    return weight.astype(np.float32), bias.astype(np.float32)


def ask_batch_by_batch(batches, weight, norm, head):
    scale, shift, mean, var = norm
    logits = []
    for x in batches:
        normed = (x @ weight.T - mean) / np.sqrt(var + 1e-5)
        logits.append(np.maximum(scale * normed + shift, 0) @ head.T)
    return np.concatenate(logits), mean, var


def ask_torch(batches, weight, norm, head):
    scale, shift, mean, var = map(torch.tensor, norm)
    hidden = torch.tensor(np.vstack(batches)) @ torch.tensor(weight).T
    normed = functional.batch_norm(hidden, mean, var, scale, shift, training=False)
    return normed.relu() @ torch.tensor(head).T, mean, var


def ask_a_folded_teacher(batches, weight, norm, head):
    scale, shift, mean, var = norm
    gain = scale / np.sqrt(var + 1e-5)
    folded, bias = gain[:, None] * weight, shift - gain * mean
    logits = [np.clip(x @ folded.T + bias, 0, None) @ head.T for x in batches]
    return np.vstack(logits), mean.copy(), var.copy()


def ask_example_by_example(batches, weight, norm, head):
    scale, shift, mean, var = norm
    logits = []
    for batch in batches:
        for x in batch:
            normed = scale * (weight @ x - mean) * (var + 1e-5) ** -0.5 + shift
            logits.append(head @ (normed * (normed > 0)))
    return logits, mean, var


def ask_in_single_precision(batches, weight, norm, head):
    logits, mean, var = ask_batch_by_batch(batches, weight, norm, head)
    return logits.astype(np.float32), mean, var


def match_by_autograd(x, weight, mean, var, lr, steps):
    x = torch.tensor(x)
    weight, mean, var = map(torch.tensor, (weight, mean, var))
    for _ in range(steps):
        x = x.detach().requires_grad_()
        hidden = x @ weight.T
        gaps = hidden.mean(0) - mean, hidden.var(0, unbiased=False) - var
        loss = sum(gap.square().sum() for gap in gaps)
        x = x - lr * torch.autograd.grad(loss, x)[0]
    return x


def match_in_two_parts(x, weight, mean, var, lr, steps):
    for _ in range(steps):
        h = x @ weight.T
        n = len(h)
        slope_mean = np.ones((n, 1)) * (2 / n) * (h.mean(0) - mean)
        slope_var = (2 * (h.var(0) - var)) * (2 / n) * (h - h.mean(0))
        x = x - lr * (slope_mean @ weight + slope_var @ weight)
    return x


def match_on_a_copy(x, weight, mean, var, lr, steps):
    x = x.copy()
    for _ in range(steps):
        h = np.dot(x, weight.T)
        c = h - np.mean(h, axis=0)
        x -= lr / len(x) * (2 * (h - c - mean) + 4 * (c.var(0) - var) * c) @ weight
    return x


def match_by_centring_matrix(x, weight, mean, var, lr, steps):
    n = len(x)
    centring = np.eye(n) - 1 / n
    for step in range(steps):
        h = x @ weight.T
        spread = np.diag(h.T @ centring @ h) / n - var
        slope = 4 / n * (centring @ h) * spread + 2 / n * (h.sum(0) / n - mean)
        x = x - lr * np.einsum("nh,hd->nd", slope, weight)
        assert step < steps
    return x


def match_in_single_precision(x, weight, mean, var, lr, steps):
    return match_on_a_copy(x, weight, mean, var, lr, steps).astype(np.float32)


def ensemble_by_scipy(logits, temperature):
    return softmax(logits / temperature, axis=-1).mean(axis=0)


def ensemble_by_torch(logits, temperature):
    return torch.softmax(torch.tensor(logits) / temperature, 2).mean(0)


def ensemble_one_after_another(logits, temperature):
    total = 0
    for member in logits:
        total = total + softmax(member / temperature, axis=1)
    return total / len(logits)


def ensemble_running_mean(logits, temperature):
    mean = np.zeros(logits.shape[1:])
    for count, member in enumerate(logits, start=1):
        mean += (softened_by_logsumexp(member, temperature) - mean) / count
    return mean


def ensemble_in_logarithms(logits, temperature):
    scaled = logits / temperature
    log_p = scaled - logsumexp(scaled, axis=2, keepdims=True)
    return np.exp(logsumexp(log_p, axis=0) - math.log(len(logits)))


def wider_by_loop(weight, bias, following, mapping):
    counts = Counter(mapping.tolist())
    columns = [following[:, unit] / counts[unit] for unit in mapping.tolist()]
    return (
        np.array([weight[unit] for unit in mapping]),
        np.array([bias[unit] for unit in mapping]),
        np.column_stack(columns),
    )


def wider_by_one_hot(weight, bias, following, mapping):
    choose = np.eye(len(bias))[mapping]
    return choose @ weight, choose @ bias, following @ (choose / choose.sum(0)).T


def wider_by_take(weight, bias, following, mapping):
    _, inverse, counts = np.unique(mapping, return_inverse=True, return_counts=True)
    wide = following.take(mapping, axis=1) * (1 / counts)[inverse]
    return weight.take(mapping, axis=0), bias.take(mapping), wide


def wider_by_torch(weight, bias, following, mapping):
    weight, bias, following, mapping = map(
        torch.tensor, (weight, bias, following, mapping)
    )
    counts = torch.bincount(mapping)
    return weight[mapping], bias[mapping], (following / counts)[:, mapping]


def wider_by_comparing(weight, bias, following, mapping):
    copies = (mapping[:, None] == mapping).sum(axis=1)
    return weight[mapping, :], bias[mapping], following[:, mapping] / copies[None, :]


def match_means_then_variances(x, weight, mean, var, lr, steps):
    # A step of the mean moves all inputs alike, which no variance sees.
    for _ in range(steps):
        gap = (x @ weight.T).mean(axis=0) - mean
        x = x - 2 * lr / len(x) * (weight.T @ gap)
        hidden = x @ weight.T
        slope = (hidden.var(axis=0) - var) * (hidden - hidden.mean(axis=0))
        x = x - 4 * lr / len(x) * slope @ weight
    return x


def wider_by_pseudoinverse(weight, bias, following, mapping):
    copy = (np.asarray(mapping)[:, None] == np.arange(len(bias))).astype(float)
    return copy @ weight, copy @ bias, following @ np.linalg.pinv(copy)


ALTERNATIVES = {
    "softened": [
        softened_by_torch,
        softened_by_logsumexp,
        softened_row_by_row,
        softened_in_single_precision,
        softened_against_all_others,
        softened_by_scipy,
    ],
    "soft_target_loss": [
        loss_by_torch,
        loss_by_entropies,
        loss_example_by_example,
        loss_in_single_precision,
        loss_by_cross_entropy_of_torch,
        loss_by_einsum,
    ],
    "soft_target_gradient": [
        gradient_by_autograd,
        gradient_by_scipy,
        gradient_row_by_row,
        gradient_in_single_precision,
        gradient_by_both_at_once,
    ],
    "distillation_loss": [
        both_by_torch,
        both_by_one_hot,
        both_by_loop,
        both_masked,
        both_in_single_precision,
    ],
    "logit_regression": [
        regression_of_centred_nets,
        regression_by_autograd,
        regression_by_variance,
        regression_by_a_matrix,
        regression_in_single_precision,
    ],
    "hint_loss": [
        hint_by_convolution,
        hint_channels_last,
        hint_by_tensordot,
        hint_example_by_example,
        hint_in_single_precision,
    ],
    "attention_transfer": [
        attention_by_torch,
        attention_by_cosine,
        attention_flattened,
        attention_by_loop,
        attention_without_nan,
    ],
    "train_student": [
        teach_in_torch,
        teach_asking_at_every_step,
        teach_with_a_column_of_ones,
        teach_by_while,
        teach_in_single_precision,
    ],
    "ask_teacher": [
        ask_batch_by_batch,
        ask_torch,
        ask_a_folded_teacher,
        ask_example_by_example,
        ask_in_single_precision,
    ],
    "match_statistics": [
        match_by_autograd,
        match_in_two_parts,
        match_on_a_copy,
        match_by_centring_matrix,
        match_in_single_precision,
        match_means_then_variances,
    ],
    "ensemble_targets": [
        ensemble_by_scipy,
        ensemble_by_torch,
        ensemble_one_after_another,
        ensemble_running_mean,
        ensemble_in_logarithms,
    ],
    "net2wider": [
        wider_by_loop,
        wider_by_one_hot,
        wider_by_take,
        wider_by_torch,
        wider_by_comparing,
        wider_by_pseudoinverse,
    ],
    "why_t_squared": ["c", "C", " c ", "(c)", "c."],
    "called_distillation": ["b", "B", " b ", "(b)", "b."],
    "weights_as_targets": ["c", "C", " c ", "(c)", "c."],
}
