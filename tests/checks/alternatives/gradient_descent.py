"""Right answers to exercise 01, written in other ways."""

import math

import numpy as np
import torch


def gradient_by_loop(X, y, w):
    result = np.zeros(len(w))
    for row, target in zip(X, y, strict=True):
        for j in range(len(w)):
            result[j] += (sum(row * w) - target) * row[j]
    return result / len(X)


def gradient_by_autograd(X, y, w):
    X, y = torch.from_numpy(X.copy()), torch.from_numpy(y)
    w = torch.from_numpy(w).requires_grad_()
    (((X @ w - y) ** 2).mean() / 2).backward()
    return w.grad


def gradient_by_normal_matrix(X, y, w):
    n = X.shape[0]
    return (X.T @ X) @ w / n - X.T @ y / n


def gradient_by_einsum(X, y, w):
    return np.einsum("nd,n->d", X, np.einsum("nd,d->n", X, w) - y) / y.size


def gradient_in_single_precision(X, y, w):
    X, y, w = (np.asarray(a, dtype=np.float32) for a in (X, y, w))
    return (X.T @ (X @ w - y)) / np.float32(len(y))


def gradient_as_list(X, y, w):
    residual = X @ w - y
    return [float(np.mean(residual * X[:, j])) for j in range(X.shape[1])]


def descend_in_place(X, y, w0, lr, steps):
    w = w0.copy()
    path = np.empty((steps + 1, len(w0)))
    path[0] = w
    for k in range(steps):
        w -= lr * X.T @ (X @ w - y) / len(y)
        path[k + 1] = w
    return path


def descend_by_torch(X, y, w0, lr, steps):
    X, y, w = (torch.tensor(a) for a in (X, y, w0))
    path = [w]
    for _ in range(steps):
        w = w - lr * X.T @ (X @ w - y) / len(y)
        path.append(w)
    return torch.stack(path)


def descend_by_recursion(X, y, w0, lr, steps):
    if steps == 0:
        return w0[None]
    before = descend_by_recursion(X, y, w0, lr, steps - 1)
    w = before[-1]
    return np.vstack([before, w - lr * X.T @ (X @ w - y) / len(X)])


def descend_affine(X, y, w0, lr, steps):
    step_matrix = np.eye(len(w0)) - lr * X.T @ X / len(X)
    offset = lr * X.T @ y / len(X)
    path = [w0]
    while len(path) <= steps:
        path.append(step_matrix @ path[-1] + offset)
    return path


def descend_closed_form(X, y, w0, lr, steps):
    curvatures, directions = np.linalg.eigh(X.T @ X / len(X))
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    error = directions.T @ (w0 - best)
    factors = (1 - lr * curvatures) ** np.arange(steps + 1)[:, None]
    return best + factors * error @ directions.T


def descend_by_generator(X, y, w0, lr, steps):
    w = np.array(w0, dtype=float)
    for _ in range(steps):
        yield w
        w = w - lr * (X @ w - y) @ X / len(y)
    yield w


def largest_lr_by_norm(X):
    return 2 * len(X) / np.linalg.norm(X, 2) ** 2


def largest_lr_by_svd(X):
    return 2 / (np.linalg.svd(X, compute_uv=False)[0] ** 2 / X.shape[0])


def largest_lr_by_torch(X):
    X = torch.from_numpy(X)
    return 2 / torch.linalg.eigvalsh(X.T @ X / len(X)).max()


def largest_lr_by_power_iteration(X):
    H = X.T @ X / len(X)
    v = np.random.default_rng(0).normal(size=len(H))
    for _ in range(5000):
        v = H @ v
        v /= np.linalg.norm(v)
    return 2 / (v @ H @ v)


def largest_lr_by_covariance(X):
    second_moment = sum(np.outer(row, row) for row in X) / len(X)
    return 2 / max(np.linalg.eigvals(second_moment).real)


def largest_lr_by_gram(X):
    return 2 * len(X) / np.linalg.eigvalsh(X @ X.T).max()


def contraction_by_norm(X, lr):
    return np.linalg.norm(np.eye(X.shape[1]) - lr * X.T @ X / len(X), 2)


def contraction_by_both_ends(X, lr):
    ends = np.linalg.eigvalsh(X.T @ X / len(X))[[0, -1]]
    return max(abs(1 - lr * ends[0]), abs(1 - lr * ends[1]))


def contraction_by_spectral_radius(X, lr):
    step = np.identity(X.shape[1]) - lr / X.shape[0] * X.T.dot(X)
    return max(abs(np.linalg.eigvals(step)))


def contraction_by_torch(X, lr):
    X = torch.from_numpy(X)
    return (1 - lr * torch.linalg.eigvalsh(X.T @ X / len(X))).abs().max()


def contraction_by_sorted(X, lr):
    H = X.T @ X / len(X)
    return sorted(abs(lr * np.linalg.eigvalsh(H) - 1))[-1]


def start_by_svd(X, y, lr):
    return np.linalg.pinv(X) @ y - 7 * np.linalg.svd(X)[2][-1]


def start_by_solve(X, y, lr):
    best = np.linalg.solve(X.T @ X, X.T @ y)
    return best + 1.5 * np.linalg.eigh(X.T @ X)[1][:, 0]


def start_by_every_slow_direction(X, y, lr):
    curvatures, directions = np.linalg.eigh(X.T @ X / len(X))
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    for curvature, direction in zip(curvatures, directions.T, strict=True):
        if abs(1 - lr * curvature) < 1:
            best = best + 1.3 * direction
    return best


def start_by_projection(X, y, lr):
    steep = np.linalg.eigh(X.T @ X)[1][:, -1]
    w = 10 * np.random.default_rng(1).normal(size=X.shape[1])
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    error = w - best
    return best + error - steep * (steep @ error)


def start_by_torch(X, y, lr):
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    best = torch.linalg.lstsq(X, y[:, None]).solution[:, 0]
    return best + 3 * torch.linalg.eigh(X.T @ X).eigenvectors[:, 0]


def until_by_while(X, y, w0, lr, tolerance, max_steps):
    w, step = w0.copy(), 0
    while step < max_steps:
        slope = X.T @ (X @ w - y) / len(y)
        if (slope @ slope) ** 0.5 <= tolerance:
            break
        w -= lr * slope
        step += 1
    return w, step


def until_by_torch(X, y, w0, lr, tolerance, max_steps):
    X, y, w = (torch.tensor(a) for a in (X, y, w0))
    for step in range(max_steps + 1):
        slope = X.T @ (X @ w - y) / len(y)
        if step == max_steps or slope.norm() <= tolerance:
            return w, step
        w = w - lr * slope


def until_test_at_the_end(X, y, w0, lr, tolerance, max_steps):
    def slope_at(w):
        return X.T @ (X @ w - y) / len(X)

    w, slope, taken = w0, slope_at(w0), 0
    while taken < max_steps and not np.linalg.norm(slope) <= tolerance:
        w = w - lr * slope
        slope, taken = slope_at(w), taken + 1
    return [w, taken]


def until_by_recursion(X, y, w0, lr, tolerance, max_steps):
    slope = (X @ w0 - y) @ X / len(y)
    if max_steps == 0 or np.sqrt(np.sum(slope**2)) <= tolerance:
        return w0, 0
    w, more = until_by_recursion(X, y, w0 - lr * slope, lr, tolerance, max_steps - 1)
    return w, more + 1


def until_counts_as_float(X, y, w0, lr, tolerance, max_steps):
    H, g = X.T @ X / len(X), X.T @ y / len(X)
    w = w0
    for k in range(max_steps):
        if math.hypot(*(H @ w - g)) <= tolerance:
            return w, float(k)
        w = w - lr * (H @ w - g)
    return w, float(max_steps)


ALTERNATIVES = {
    "gradient": [
        gradient_by_loop,
        gradient_by_autograd,
        gradient_by_normal_matrix,
        gradient_by_einsum,
        gradient_in_single_precision,
        gradient_as_list,
    ],
    "descend": [
        descend_in_place,
        descend_by_torch,
        descend_by_recursion,
        descend_affine,
        descend_closed_form,
        descend_by_generator,
    ],
    "largest_lr": [
        largest_lr_by_norm,
        largest_lr_by_svd,
        largest_lr_by_torch,
        largest_lr_by_power_iteration,
        largest_lr_by_covariance,
        largest_lr_by_gram,
    ],
    "contraction": [
        contraction_by_norm,
        contraction_by_both_ends,
        contraction_by_spectral_radius,
        contraction_by_torch,
        contraction_by_sorted,
    ],
    "stubborn_start": [
        start_by_svd,
        start_by_solve,
        start_by_every_slow_direction,
        start_by_projection,
        start_by_torch,
    ],
    "descend_until": [
        until_by_while,
        until_by_torch,
        until_test_at_the_end,
        until_by_recursion,
        until_counts_as_float,
    ],
    "steps_needed": [
        346,
        346.0,
        np.int64(346),
        torch.tensor(346),
        math.ceil(math.log(1e3) / math.log(101 / 99)),
    ],
    "what_now": ["b", "B", " b ", "(b)", "b."],
    "nearly_the_bound": ["b", "B", " b ", "(b)", "b."],
    "scale_one_feature": ["c", "C", " c ", "(c)", "c."],
    "reading_a_curve": ["c", "C", " c ", "(c)", "c."],
}
