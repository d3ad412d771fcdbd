"""Right answers to exercise 03, written in other ways."""

import math

import numpy as np
import torch


def adagrad_in_place(param, grads, lr, eps):
    w, total = param.copy(), np.zeros_like(param)
    path = np.empty((len(grads) + 1, len(param)))
    path[0] = w
    for k, grad in enumerate(grads):
        total += grad * grad
        w -= lr * grad / (total**0.5 + eps)
        path[k + 1] = w
    return path


def adagrad_at_once(param, grads, lr, eps):
    directions = grads / (np.sqrt(np.cumsum(grads**2, axis=0)) + eps)
    return np.vstack([param[None], param - lr * np.cumsum(directions, axis=0)])


def adagrad_by_norm_of_history(param, grads, lr, eps):
    path = [param]
    for k in range(len(grads)):
        size = np.linalg.norm(grads[: k + 1], axis=0)
        path.append(path[k] - lr / (size + eps) * grads[k])
    return path


def adagrad_by_torch(param, grads, lr, eps):
    w, grads = torch.tensor(param), torch.tensor(grads)
    total = torch.zeros_like(w)
    path = [w.clone()]
    for grad in grads:
        total.addcmul_(grad, grad)
        w.addcdiv_(grad, total.sqrt().add_(eps), value=-lr)
        path.append(w.clone())
    return torch.stack(path)


def adagrad_weight_by_weight(param, grads, lr, eps):
    columns = []
    for j, w in enumerate(param):
        total, column = 0.0, [w]
        for grad in grads[:, j]:
            total += grad**2
            w = w - lr * grad / (math.sqrt(total) + eps)
            column.append(w)
        columns.append(column)
    return np.array(columns).T


def adagrad_in_single_precision(param, grads, lr, eps):
    w, grads = param.astype(np.float32), grads.astype(np.float32)
    total = np.zeros_like(w)
    yield w
    for grad in grads:
        total = total + grad**2
        w = w - np.float32(lr) * grad / (np.sqrt(total) + np.float32(eps))
        yield w


def rmsprop_by_difference(param, grads, lr, beta, eps):
    average = np.zeros(len(param))
    path = [np.array(param)]
    for grad in grads:
        average += (1 - beta) * (grad**2 - average)
        path.append(path[-1] - lr * grad / (np.sqrt(average) + eps))
    return np.stack(path)


def rmsprop_by_weights_of_the_past(param, grads, lr, beta, eps):
    w, path = param, [param]
    for k in range(len(grads)):
        weights = (1 - beta) * beta ** np.arange(k, -1, -1.0)
        w = w - lr * grads[k] / (np.sqrt(weights @ grads[: k + 1] ** 2) + eps)
        path.append(w)
    return path


def rmsprop_by_torch(param, grads, lr, beta, eps):
    w, grads = torch.from_numpy(param), torch.from_numpy(grads)
    average = torch.zeros_like(w)
    path = [w]
    for grad in grads:
        average = torch.lerp(grad.square(), average, beta)
        w = w - lr * grad / (average.sqrt() + eps)
        path.append(w)
    return torch.stack(path)


def rmsprop_by_recursion(param, grads, lr, beta, eps):
    def run(w, average, rest):
        if len(rest) == 0:
            return [w]
        average = beta * average + (1 - beta) * rest[0] ** 2
        step = lr * rest[0] / (np.sqrt(average) + eps)
        return [w, *run(w - step, average, rest[1:])]

    return run(param, 0 * param, grads)


def rmsprop_in_single_precision(param, grads, lr, beta, eps):
    w, grads = torch.tensor(param).float(), torch.tensor(grads).float()
    average, path = torch.zeros_like(w), [w.clone()]
    for grad in grads:
        average.mul_(beta).addcmul_(grad, grad, value=1 - beta)
        w.addcdiv_(grad, average.sqrt().add_(eps), value=-lr)
        path.append(w.clone())
    return torch.stack(path)


class AdamClass:
    """An optimizer object, as a learner who knows torch writes it."""

    def __init__(self, lr, betas, eps):
        self.lr, self.betas, self.eps = lr, betas, eps
        self.m = self.v = 0.0
        self.t = 0

    def step(self, w, grad):
        self.t += 1
        self.m = self.betas[0] * self.m + (1 - self.betas[0]) * grad
        self.v = self.betas[1] * self.v + (1 - self.betas[1]) * np.square(grad)
        m_hat = self.m / (1 - np.power(self.betas[0], self.t))
        v_hat = self.v / (1 - np.power(self.betas[1], self.t))
        return w - self.lr * m_hat / (v_hat**0.5 + self.eps)


def adam_by_class(param, grads, lr, betas, eps):
    optimizer = AdamClass(lr, betas, eps)
    path = [param]
    for grad in grads:
        path.append(optimizer.step(path[-1], grad))
    return path


def adam_with_a_corrected_rate(param, grads, lr, betas, eps):
    b1, b2 = betas
    m, v, w = np.zeros_like(param), np.zeros_like(param), param.copy()
    path = np.tile(param, (len(grads) + 1, 1))
    for t in range(1, len(grads) + 1):
        m += (1 - b1) * (grads[t - 1] - m)
        v += (1 - b2) * (grads[t - 1] ** 2 - v)
        root = math.sqrt(1 - b2**t)
        w -= lr * root / (1 - b1**t) * m / (np.sqrt(v) + eps * root)
        path[t] = w
    return path


def adam_as_weighted_means(param, grads, lr, betas, eps):
    path = [param]
    for t in range(1, len(grads) + 1):
        ages = np.arange(t - 1, -1, -1.0)
        mean = np.average(grads[:t], axis=0, weights=betas[0] ** ages)
        mean_sq = np.average(grads[:t] ** 2, axis=0, weights=betas[1] ** ages)
        path.append(path[-1] - lr * mean / (np.sqrt(mean_sq) + eps))
    return path


def adam_by_torch(param, grads, lr, betas, eps):
    w, grads = torch.tensor(param), torch.tensor(grads)
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    path = [w.clone()]
    for t, grad in enumerate(grads, 1):
        m.lerp_(grad, 1 - betas[0])
        v.mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])
        size = v.div(1 - betas[1] ** t).sqrt_().add_(eps)
        w.addcdiv_(m, size, value=-lr / (1 - betas[0] ** t))
        path.append(w.clone())
    return torch.stack(path)


def adam_with_running_products(param, grads, lr, betas, eps):
    m = v = np.zeros(param.shape)
    left1 = left2 = 1.0
    yield param
    for grad in grads:
        left1, left2 = left1 * betas[0], left2 * betas[1]
        m = betas[0] * m + (1 - betas[0]) * grad
        v = betas[1] * v + (1 - betas[1]) * grad**2
        param = param - lr * (m / (1 - left1)) / (np.sqrt(v / (1 - left2)) + eps)
        yield param


def adam_in_single_precision(param, grads, lr, betas, eps):
    return adam_by_class(
        torch.tensor(param).float(), torch.tensor(grads).float(), lr, betas, eps
    )


def train_with_a_class(X, y, batch_size, epochs, lr):
    optimizer = AdamClass(lr, (0.9, 0.999), 1e-8)
    w = np.zeros(X.shape[1])
    losses = [np.mean((X @ w - y) ** 2)]
    for _ in range(epochs):
        for first in range(0, len(y), batch_size):
            X_batch, y_batch = (a[first : first + batch_size] for a in (X, y))
            residual = X_batch @ w - y_batch
            w = optimizer.step(w, 2 * X_batch.T @ residual / len(residual))
        losses.append(np.mean((X @ w - y) ** 2))
    return losses


def train_with_a_computed_step(X, y, batch_size, epochs, lr):
    w, m, v = np.zeros((3, X.shape[1]))
    batches = math.ceil(len(y) / batch_size)
    losses = [(y @ y) / len(y)]
    for epoch in range(epochs):
        for batch in range(batches):
            rows = np.arange(len(y))[batch * batch_size :][:batch_size]
            grad = 2 * X[rows].T @ (X[rows] @ w - y[rows]) / len(rows)
            m = 0.9 * m + 0.1 * grad
            v = 0.999 * v + 0.001 * grad**2
            t = epoch * batches + batch + 1
            w = w - lr * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        losses.append(((X @ w - y) ** 2).mean())
    return losses


def train_by_autograd(X, y, batch_size, epochs, lr):
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    w = torch.zeros(X.shape[1], dtype=X.dtype, requires_grad=True)
    m, v, t = torch.zeros_like(w), torch.zeros_like(w), 0

    def loss(inputs, targets):
        return (inputs @ w - targets).square().mean()

    losses = [loss(X, y).item()]
    for _ in range(epochs):
        for inputs, targets in zip(
            X.split(batch_size), y.split(batch_size), strict=True
        ):
            (grad,) = torch.autograd.grad(loss(inputs, targets), w)
            t += 1
            with torch.no_grad():
                m.lerp_(grad, 0.1)
                v.lerp_(grad**2, 0.001)
                w -= lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        losses.append(loss(X, y).item())
    return losses


def train_with_all_gradients_kept(X, y, batch_size, epochs, lr):
    w, seen = np.zeros(X.shape[1]), []
    losses = [np.mean((X @ w - y) ** 2)]
    for _ in range(epochs):
        for first in range(0, len(y), batch_size):
            rows = slice(first, first + batch_size)
            seen.append(2 * (X[rows] @ w - y[rows]) @ X[rows] / len(y[rows]))
            ages = np.arange(len(seen) - 1, -1, -1.0)
            mean = np.average(seen, axis=0, weights=0.9**ages)
            mean_sq = np.average(np.square(seen), axis=0, weights=0.999**ages)
            w = w - lr * mean / (np.sqrt(mean_sq) + 1e-8)
        losses.append(np.mean((X @ w - y) ** 2))
    return np.array(losses)


def train_in_single_precision(X, y, batch_size, epochs, lr):
    X, y = X.astype(np.float32), y.astype(np.float32)
    w, m, v = np.zeros((3, X.shape[1]), dtype=np.float32)
    losses, t = [np.mean((X @ w - y) ** 2)], 0
    for _ in range(epochs):
        for first in range(0, len(y), batch_size):
            rows = slice(first, first + batch_size)
            t += 1
            grad = 2 * (X[rows] @ w - y[rows]) @ X[rows] / np.float32(len(y[rows]))
            m = np.float32(0.9) * m + np.float32(0.1) * grad
            v = np.float32(0.999) * v + np.float32(0.001) * grad**2
            rate = np.float32(lr / (1 - 0.9**t))
            w = w - rate * m / (np.sqrt(v / np.float32(1 - 0.999**t)) + 1e-8)
        losses.append(np.mean((X @ w - y) ** 2))
    return np.array(losses, dtype=np.float32)


def adamw_shrinks_first(param, grads, lr, betas, eps, weight_decay):
    w, m, v = param.copy(), np.zeros_like(param), np.zeros_like(param)
    path = [w.copy()]
    for t, grad in enumerate(grads, start=1):
        w *= 1 - lr * weight_decay
        m = betas[0] * m + (1 - betas[0]) * grad
        v = betas[1] * v + (1 - betas[1]) * grad**2
        w -= lr * m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        path.append(w.copy())
    return path


def adamw_from_adam(param, grads, lr, betas, eps, weight_decay):
    steps = np.diff(adam_by_class(np.zeros_like(param), grads, 1.0, betas, eps), axis=0)
    path = [param]
    for step in steps:
        path.append(path[-1] + lr * (step - weight_decay * path[-1]))
    return path


def adamw_closed_form(param, grads, lr, betas, eps, weight_decay):
    walk = np.array(adam_by_class(np.zeros_like(param), grads, lr, betas, eps))
    shrink = 1 - lr * weight_decay
    path = []
    for k in range(len(walk)):
        powers = shrink ** np.arange(k - 1, -1, -1.0)
        path.append(shrink**k * param + powers @ np.diff(walk[: k + 1], axis=0))
    return path


def adamw_by_torch(param, grads, lr, betas, eps, weight_decay):
    w, grads = torch.tensor(param), torch.tensor(grads)
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    path = [w.clone()]
    for t, grad in enumerate(grads, 1):
        w.mul_(1 - lr * weight_decay)
        m.lerp_(grad, 1 - betas[0])
        v.mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])
        size = v.sqrt().div_(math.sqrt(1 - betas[1] ** t)).add_(eps)
        w.addcdiv_(m, size, value=-lr / (1 - betas[0] ** t))
        path.append(w.clone())
    return torch.stack(path)


def adamw_in_single_precision(param, grads, lr, betas, eps, weight_decay):
    w, grads = param.astype(np.float32), grads.astype(np.float32)
    rows = adamw_shrinks_first(w, grads, lr, betas, eps, weight_decay)
    return np.array(rows, dtype=np.float32)


def lion_by_lerp(param, grads, lr, betas, weight_decay):
    w, grads = torch.tensor(param), torch.tensor(grads)
    momentum = torch.zeros_like(w)
    path = [w.clone()]
    for grad in grads:
        w.mul_(1 - lr * weight_decay)
        w.add_(torch.lerp(grad, momentum, betas[0]).sign_(), alpha=-lr)
        momentum.lerp_(grad, 1 - betas[1])
        path.append(w.clone())
    return torch.stack(path)


def lion_by_where(param, grads, lr, betas, weight_decay):
    m, w = np.zeros(param.shape), param
    yield w
    for grad in grads:
        c = m * betas[0] + grad * (1 - betas[0])
        w = w * (1 - lr * weight_decay) - np.where(c > 0, lr, np.where(c < 0, -lr, 0))
        m = m * betas[1] + grad * (1 - betas[1])
        yield w


def lion_with_the_momentum_of_the_next_step(param, grads, lr, betas, weight_decay):
    path, m = [param], 0 * param
    for k in range(len(grads)):
        if k > 0:
            m = betas[1] * m + (1 - betas[1]) * grads[k - 1]
        direction = np.sign(betas[0] * m + (1 - betas[0]) * grads[k])
        path.append(path[k] - lr * direction - lr * weight_decay * path[k])
    return np.array(path)


def lion_weight_by_weight(param, grads, lr, betas, weight_decay):
    path = np.empty((len(grads) + 1, len(param)))
    for j in range(len(param)):
        w, m = param[j], 0.0
        path[0, j] = w
        for k, grad in enumerate(grads[:, j]):
            c = betas[0] * m + (1 - betas[0]) * grad
            sign = 0 if c == 0 else math.copysign(1, c)
            w -= lr * (sign + weight_decay * w)
            m = betas[1] * m + (1 - betas[1]) * grad
            path[k + 1, j] = w
    return path


def lion_of_history(param, grads, lr, betas, weight_decay):
    path = [param]
    for k, grad in enumerate(grads):
        ages = np.arange(k - 1, -1, -1.0)
        momentum = (1 - betas[1]) * betas[1] ** ages @ grads[:k]
        direction = np.sign((1 - betas[0]) * grad + betas[0] * momentum)
        path.append((1 - lr * weight_decay) * path[-1] - lr * direction)
    return path


def lion_in_single_precision(param, grads, lr, betas, weight_decay):
    w, grads = torch.tensor(param).float(), torch.tensor(grads).float()
    return lion_with_the_momentum_of_the_next_step(
        w.numpy(), grads.numpy(), lr, betas, weight_decay
    )


A, B, C = 3.4445, -4.7750, 2.0315


def orthogonalize_the_small_side(matrix, steps):
    tall = matrix.shape[0] > matrix.shape[1]
    X = matrix.T if tall else matrix
    X = X / (np.linalg.norm(X) + 1e-7)
    for _ in range(steps):
        gram = X @ X.T
        X = A * X + (B * gram + C * gram @ gram) @ X
    return X.T if tall else X


def orthogonalize_from_the_right(matrix, steps):
    X = matrix / max(np.linalg.norm(matrix), 1e-12)
    for _ in range(steps):
        gram = X.T @ X
        X = X @ (A * np.eye(len(gram)) + B * gram + C * np.linalg.matrix_power(gram, 2))
    return X


def orthogonalize_by_svd(matrix, steps):
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    s = s / np.sqrt(np.sum(s**2)) if s.any() else s
    for _ in range(steps):
        s = A * s + B * s**3 + C * s**5
    return (u * s) @ vt


def orthogonalize_by_horner(matrix, steps):
    size = sum(entry**2 for entry in matrix.flat) ** 0.5
    X = matrix.copy() if size == 0 else matrix / size
    while steps > 0:
        gram = X @ X.T
        X = (A * np.eye(len(X)) + gram @ (B * np.eye(len(X)) + C * gram)) @ X
        steps -= 1
    return X


def orthogonalize_by_torch(matrix, steps):
    X = torch.from_numpy(matrix.copy())
    X /= X.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = X @ X.T
        X = torch.addmm(X, torch.addmm(gram, gram, gram, beta=B, alpha=C), X, beta=A)
    return X


def orthogonalize_by_five_factors(matrix, steps):
    if steps == 0:
        return matrix / (np.linalg.norm(matrix) or 1.0)
    X = orthogonalize_by_five_factors(matrix, steps - 1)
    cube = X @ X.T @ X
    return A * X + B * cube + C * (X @ X.T @ cube)


def orthogonalize_in_single_precision(matrix, steps):
    X = torch.from_numpy(matrix).float()
    X = X / (X.norm() + 1e-7)
    for _ in range(steps):
        gram = X @ X.T
        X = A * X + (B * gram + C * gram @ gram) @ X
    return X


ALTERNATIVES = {
    "adagrad": [
        adagrad_in_place,
        adagrad_at_once,
        adagrad_by_norm_of_history,
        adagrad_by_torch,
        adagrad_weight_by_weight,
        adagrad_in_single_precision,
    ],
    "rmsprop": [
        rmsprop_by_difference,
        rmsprop_by_weights_of_the_past,
        rmsprop_by_torch,
        rmsprop_by_recursion,
        rmsprop_in_single_precision,
    ],
    "adam": [
        adam_by_class,
        adam_with_a_corrected_rate,
        adam_as_weighted_means,
        adam_by_torch,
        adam_with_running_products,
        adam_in_single_precision,
    ],
    "train_with_adam": [
        train_with_a_class,
        train_with_a_computed_step,
        train_by_autograd,
        train_with_all_gradients_kept,
        train_in_single_precision,
    ],
    "adamw": [
        adamw_shrinks_first,
        adamw_from_adam,
        adamw_closed_form,
        adamw_by_torch,
        adamw_in_single_precision,
    ],
    "lion": [
        lion_by_lerp,
        lion_by_where,
        lion_with_the_momentum_of_the_next_step,
        lion_weight_by_weight,
        lion_of_history,
        lion_in_single_precision,
    ],
    "orthogonalize": [
        orthogonalize_the_small_side,
        orthogonalize_from_the_right,
        orthogonalize_by_svd,
        orthogonalize_by_horner,
        orthogonalize_by_torch,
        orthogonalize_by_five_factors,
        orthogonalize_in_single_precision,
    ],
    "what_eps_does": ["c", "C", " c ", "(c)", "c."],
    "uncorrected_start": ["a", "A", " a ", "(a)", "a."],
    "rare_word": ["c", "C", " c ", "(c)", "c."],
    "l2_under_adam": ["c", "C", " c ", "(c)", "c."],
}
