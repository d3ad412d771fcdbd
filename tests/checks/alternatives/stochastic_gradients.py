"""Right answers to exercise 02, written in other ways."""

import math
from fractions import Fraction

import numpy as np
import torch
from torch.utils.data import BatchSampler


def batches_by_while(order, batch_size):
    result, rest = [], order
    while len(rest):
        result.append(rest[:batch_size])
        rest = rest[batch_size:]
    return result


def batches_by_split(order, batch_size):
    return np.split(order, range(batch_size, len(order), batch_size))


def batches_by_torch(order, batch_size):
    return torch.from_numpy(order).split(batch_size)


def batches_by_sampler(order, batch_size):
    return list(BatchSampler(order.tolist(), batch_size, drop_last=False))


def batches_by_generator(order, batch_size):
    for k in range(math.ceil(len(order) / batch_size)):
        yield order[k * batch_size : min((k + 1) * batch_size, len(order))]


def batches_by_appending(order, batch_size):
    result = [[]]
    for example in order:
        if len(result[-1]) == batch_size:
            result.append([])
        result[-1].append(int(example))
    return result


def batch_gradient_by_loop(X, y, w, batch):
    total = np.zeros(len(w))
    for i in batch:
        total += (X[i] @ w - y[i]) * X[i]
    return total / len(batch)


def batch_gradient_by_autograd(X, y, w, batch):
    X, y = torch.from_numpy(np.ascontiguousarray(X)), torch.from_numpy(y)
    w, batch = torch.from_numpy(w).requires_grad_(), torch.from_numpy(batch)
    ((X[batch] @ w - y[batch]) ** 2).mean().div(2).backward()
    return w.grad


def batch_gradient_by_mean(X, y, w, batch):
    return np.mean(X[batch] * (X[batch] @ w - y[batch])[:, None], axis=0)


def batch_gradient_by_take(X, y, w, batch):
    rows, targets = np.take(X, batch, axis=0), np.take(y, batch)
    return np.einsum("bd,b->d", rows, rows @ w - targets) / batch.size


def batch_gradient_by_weights(X, y, w, batch):
    counts = np.bincount(batch, minlength=len(y))
    return (counts * (X @ w - y)) @ X / counts.sum()


def batch_gradient_in_single_precision(X, y, w, batch):
    X, y, w = (np.asarray(a, dtype=np.float32) for a in (X, y, w))
    return X[batch].T @ (X[batch] @ w - y[batch]) / np.float32(len(batch))


def in_batches_mended(X, y, w0, lr, batch_size, orders):
    w, path = w0, [w0]
    for order in orders:
        for k in range(-(-len(y) // batch_size)):
            batch = order[k * batch_size : (k + 1) * batch_size]
            X_batch, y_batch = X[batch], y[batch]
            slope = X_batch.T @ (X_batch @ w - y_batch) / len(y_batch)
            w = w - lr * slope
            path.append(w)
    return np.array(path)


def in_batches_in_place(X, y, w0, lr, batch_size, orders):
    w, path = w0.copy(), [w0.copy()]
    for order in orders:
        for batch in batches_by_split(order, batch_size):
            w -= lr * batch_gradient_by_loop(X, y, w, batch)
            path.append(w.copy())
    return path


def in_batches_by_torch(X, y, w0, lr, batch_size, orders):
    X, y, w = torch.tensor(X), torch.tensor(y), torch.tensor(w0, requires_grad=True)
    path = [w.detach().clone()]
    for order in torch.tensor(orders):
        for batch in order.split(batch_size):
            loss = (X[batch] @ w - y[batch]).square().mean() / 2
            (slope,) = torch.autograd.grad(loss, w)
            with torch.no_grad():
                w -= lr * slope
            path.append(w.detach().clone())
    return torch.stack(path)


def in_batches_of_shuffled_copies(X, y, w0, lr, batch_size, orders):
    w = w0
    yield w
    for order in orders:
        shuffled, targets = X[order], y[order]
        for start in range(0, len(y), batch_size):
            some, their = (a[start : start + batch_size] for a in (shuffled, targets))
            w = w - lr * np.mean(some.T * (some @ w - their), axis=1)
            yield w


def in_batches_by_affine_maps(X, y, w0, lr, batch_size, orders):
    path = [w0]
    for order in orders:
        for start in range(0, len(order), batch_size):
            A, b = X[order[start:][:batch_size]], y[order[start:][:batch_size]]
            matrix = np.eye(len(w0)) - lr / len(b) * A.T @ A
            path.append(matrix @ path[-1] + lr / len(b) * A.T @ b)
    return np.stack(path)


def noise_by_sample_variance(X, y, w, batch_size):
    gradients = (X @ w - y)[:, None] * X
    return gradients.var(axis=0, ddof=1).sum() * (1 / batch_size - 1 / len(y))


def noise_by_covariance(X, y, w, batch_size):
    gradients, n = X * (X @ w - y).reshape(-1, 1), len(X)
    covariance = np.atleast_2d(np.cov(gradients, rowvar=False, ddof=0))
    return np.trace(covariance) / batch_size * (1 - (batch_size - 1) / (n - 1))


def noise_by_torch(X, y, w, batch_size):
    X, y, w = (torch.from_numpy(a) for a in (X, y, w))
    gradients, n = X * (X @ w - y).unsqueeze(1), len(y)
    variance = gradients.var(dim=0, unbiased=False).sum()
    return variance * (n - batch_size) / (batch_size * (n - 1))


def noise_by_second_moment(X, y, w, batch_size):
    n = len(y)
    gradients = X * (X @ w - y)[:, None]
    full = gradients.mean(axis=0)
    spread = (gradients**2).sum(axis=1).mean() - full @ full
    return spread * (n - batch_size) / (n - 1) / batch_size


def noise_by_loop(X, y, w, batch_size):
    full = X.T @ (X @ w - y) / len(y)
    squares = [
        np.linalg.norm(x * (x @ w - target) - full) ** 2
        for x, target in zip(X, y, strict=True)
    ]
    share = 1 - batch_size / len(y)
    return sum(squares) / (len(y) - 1) / batch_size * share


def noise_by_pairs(X, y, w, batch_size):
    # Var of the mean = (sum of variances + covariances of distinct draws) / B^2
    n, gradients = len(y), X * (X @ w - y)[:, None]
    centred = gradients - gradients.mean(axis=0)
    inner = centred @ centred.T
    own = np.trace(inner) / n
    between = (inner.sum() - np.trace(inner)) / (n * (n - 1))
    variance = (batch_size * own + batch_size * (batch_size - 1) * between) / (
        batch_size**2
    )
    return variance if batch_size < n else 0.0


def scale_by_two_equations(small, big, b_small, b_big):
    matrix = np.array([[1, 1 / b_small], [1, 1 / b_big]])
    seen = [np.mean(np.sum(g**2, axis=1)) for g in (small, big)]
    signal, noise = np.linalg.solve(matrix, seen)
    return noise / signal


def scale_by_line(small, big, b_small, b_big):
    seen = [(np.linalg.norm(g, axis=1) ** 2).mean() for g in (small, big)]
    slope, intercept = np.polyfit([1 / b_small, 1 / b_big], seen, 1)
    return slope / intercept


def scale_by_torch(small, big, b_small, b_big):
    at_small = torch.from_numpy(small).square().sum(1).mean()
    at_big = torch.from_numpy(big).square().sum(1).mean()
    noise = (at_small - at_big) * b_small * b_big / (b_big - b_small)
    return noise / (at_big - noise / b_big)


def scale_of_mean_entries(small, big, b_small, b_big):
    at_small, at_big = np.mean(small**2), np.mean(big**2)  # d cancels in the ratio
    noise = (at_small - at_big) / (1 / b_small - 1 / b_big)
    return noise / (at_small - noise / b_small)


def scale_by_loops(small, big, b_small, b_big):
    at_small = sum(g @ g for g in small) / len(small)
    at_big = sum(g @ g for g in big) / len(big)
    difference = at_small - at_big
    top = b_small * b_big * difference
    return top / (b_big * at_big - b_small * at_small)


def ball_in_place(curvatures, w0, lrs, momentum):
    w, velocity = w0.copy(), np.zeros(len(w0))
    path = np.empty((len(lrs) + 1, len(w0)))
    path[0] = w
    for k, lr in enumerate(lrs):
        velocity *= momentum
        velocity += curvatures * w
        w -= lr * velocity
        path[k + 1] = w
    return path


def ball_by_torch(curvatures, w0, lrs, momentum):
    h, w = torch.tensor(curvatures), torch.tensor(w0)
    velocity, path = torch.zeros_like(w), [w]
    for lr in lrs:
        velocity = momentum * velocity + h * w
        w = w - lr * velocity
        path.append(w)
    return torch.stack(path)


def ball_with_velocity_downhill(curvatures, w0, lrs, momentum):
    w, velocity, path = w0, 0 * w0, [w0]
    for lr in lrs:
        velocity = momentum * velocity - curvatures * w
        w = w + lr * velocity
        path.append(w)
    return path


def ball_by_all_gradients(curvatures, w0, lrs, momentum):
    w, slopes = w0, []
    yield w
    for lr in lrs:
        slopes.append(curvatures * w)
        fading = momentum ** np.arange(len(slopes))[::-1]
        w = w - lr * fading @ np.array(slopes)
        yield w


def ball_by_matrices(curvatures, w0, lrs, momentum):
    state = np.stack([w0, np.zeros_like(w0)])  # w and velocity of each weight
    path = [state[0]]
    for lr in lrs:
        w, velocity = state
        state = np.stack(
            [
                (1 - lr * curvatures) * w - lr * momentum * velocity,
                curvatures * w + momentum * velocity,
            ]
        )
        path.append(state[0])
    return np.array(path)


def ball_one_weight_at_a_time(curvatures, w0, lrs, momentum):
    columns = []
    for h, w in zip(curvatures, w0, strict=True):
        velocity, column = 0.0, [w]
        for lr in lrs:
            velocity = momentum * velocity + h * w
            w = w - lr * velocity
            column.append(w)
        columns.append(column)
    return np.array(columns).T


def nesterov_in_place(curvatures, w0, lrs, momentum):
    w, velocity, path = w0.copy(), np.zeros_like(w0), [w0.copy()]
    for lr in lrs:
        velocity *= momentum
        velocity += curvatures * (w - lr * velocity)
        w -= lr * velocity
        path.append(w.copy())
    return path


def nesterov_gradient_step_from_ahead(curvatures, w0, lrs, momentum):
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        ahead = w - lr * momentum * velocity
        slope = curvatures * ahead
        w, velocity = ahead - lr * slope, momentum * velocity + slope
        path.append(w)
    return np.array(path)


def nesterov_by_torch(curvatures, w0, lrs, momentum):
    h, w = torch.tensor(curvatures), torch.tensor(w0)
    velocity, path = torch.zeros_like(w), [w]
    for lr in lrs:
        ahead = (w - lr * momentum * velocity).requires_grad_()
        (h * ahead**2 / 2).sum().backward()
        velocity = momentum * velocity + ahead.grad
        w = w - lr * velocity
        path.append(w)
    return torch.stack(path)


def nesterov_with_velocity_downhill(curvatures, w0, lrs, momentum):
    w, velocity = w0, np.zeros_like(w0)
    yield w
    for lr in lrs:
        velocity = momentum * velocity
        velocity = velocity - curvatures * (w + lr * velocity)
        w = w + lr * velocity
        yield w


def nesterov_expanded(curvatures, w0, lrs, momentum):
    w, velocity, path = list(w0), [0.0] * len(w0), [list(w0)]
    for lr in lrs:
        for i, h in enumerate(curvatures):
            velocity[i] = h * w[i] + momentum * velocity[i] * (1 - lr * h)
            w[i] -= lr * velocity[i]
        path.append(list(w))
    return path


ALTERNATIVES = {
    "epoch_batches": [
        batches_by_while,
        batches_by_split,
        batches_by_torch,
        batches_by_sampler,
        batches_by_generator,
        batches_by_appending,
    ],
    "batch_gradient": [
        batch_gradient_by_loop,
        batch_gradient_by_autograd,
        batch_gradient_by_mean,
        batch_gradient_by_take,
        batch_gradient_by_weights,
        batch_gradient_in_single_precision,
    ],
    "descend_in_batches": [
        in_batches_mended,
        in_batches_in_place,
        in_batches_by_torch,
        in_batches_of_shuffled_copies,
        in_batches_by_affine_maps,
    ],
    "gradient_noise": [
        noise_by_sample_variance,
        noise_by_covariance,
        noise_by_torch,
        noise_by_second_moment,
        noise_by_loop,
        noise_by_pairs,
    ],
    "noise_scale": [
        scale_by_two_equations,
        scale_by_line,
        scale_by_torch,
        scale_of_mean_entries,
        scale_by_loops,
    ],
    "heavy_ball": [
        ball_in_place,
        ball_by_torch,
        ball_with_velocity_downhill,
        ball_by_all_gradients,
        ball_by_matrices,
        ball_one_weight_at_a_time,
    ],
    "nesterov": [
        nesterov_in_place,
        nesterov_gradient_step_from_ahead,
        nesterov_by_torch,
        nesterov_with_velocity_downhill,
        nesterov_expanded,
    ],
    "best_lr": [
        0.6,
        0.1 * 9 / 1.5,
        Fraction(3, 5),
        np.float64(0.9) / 1.5,
        torch.tensor(0.6),
        np.array(0.6),
    ],
    "two_seeds_one_curve": ["c", "C", " c ", "(c)", "c."],
    "four_times_the_batch": ["a", "A", " a ", "(a)", "a."],
    "momentum_switched_on": ["c", "C", " c ", "(c)", "c."],
}
