"""Right answers to exercise 07, written in other ways."""

import math

import numpy as np
import torch
from scipy.special import log_softmax, logsumexp


def soft_threshold_by_clamp(x, threshold):
    return x - np.clip(x, -threshold, threshold)


def soft_threshold_by_where(x, threshold):
    return np.where(
        x > threshold, x - threshold, np.where(x < -threshold, x + threshold, 0)
    )


def soft_threshold_by_two_ramps(x, threshold):
    return np.maximum(x - threshold, 0) - np.maximum(-x - threshold, 0)


def soft_threshold_on_a_copy(x, threshold):
    result = x.copy()
    small = abs(result) <= threshold
    result[small] = 0
    result[~small] -= threshold * np.sign(result[~small])
    return result


def soft_threshold_entry_by_entry(x, threshold):
    entries = [math.copysign(max(abs(v) - threshold, 0.0), v) for v in x.flat]
    return np.array(entries).reshape(x.shape)


def soft_threshold_by_torch(x, threshold):
    x = torch.from_numpy(x)
    return x.sign() * torch.relu(x.abs() - threshold)


def soft_threshold_by_a_factor(x, threshold):
    size = np.abs(x)
    safe = np.where(size > 0, size, 1)
    return x * np.maximum(1 - threshold / safe, 0)


def soft_threshold_in_single_precision(x, threshold):
    x = x.astype(np.float32)
    return np.sign(x) * np.maximum(np.abs(x) - np.float32(threshold), 0)


def proximal_in_place(X, y, w0, lr, strength, steps):
    w, path = w0.copy(), np.empty((steps + 1, len(w0)))
    path[0] = w
    for k in range(steps):
        w -= lr * (X.T @ (X @ w - y)) / len(X)
        w -= np.clip(w, -lr * strength, lr * strength)
        path[k + 1] = w
    return path


def proximal_with_the_gram_matrix(X, y, w0, lr, strength, steps):
    gram, target = X.T @ X / len(y), X.T @ y / len(y)
    path = [w0]
    while len(path) <= steps:
        path.append(
            soft_threshold_by_where(
                path[-1] - lr * (gram @ path[-1] - target), strength * lr
            )
        )
    return path


def proximal_by_autograd(X, y, w0, lr, strength, steps):
    X, y, w = torch.tensor(X), torch.tensor(y), torch.tensor(w0, requires_grad=True)
    path = [w.detach().clone()]
    for _ in range(steps):
        (slope,) = torch.autograd.grad((X @ w - y).square().mean() / 2, w)
        with torch.no_grad():
            w -= lr * slope
            w.copy_(torch.relu(w - lr * strength) - torch.relu(-w - lr * strength))
        path.append(w.detach().clone())
    return torch.stack(path)


def proximal_by_recursion(X, y, w0, lr, strength, steps):
    if steps == 0:
        return [w0]
    moved = w0 + lr * np.mean((y - X @ w0)[:, None] * X, axis=0)
    shrunk = np.sign(moved) * np.maximum(np.abs(moved) - lr * strength, 0)
    return [w0, *proximal_by_recursion(X, y, shrunk, lr, strength, steps - 1)]


def proximal_by_yield(X, y, w0, lr, strength, steps):
    yield w0
    for _ in range(steps):
        moved = w0 - lr / len(y) * ((X @ w0 - y) @ X)
        w0 = np.where(
            np.abs(moved) > lr * strength, moved - lr * strength * np.sign(moved), 0
        )
        yield w0


def proximal_in_single_precision(X, y, w0, lr, strength, steps):
    X, y, w = (torch.tensor(a).float() for a in (X, y, w0))
    path = [w]
    for _ in range(steps):
        w = w - lr * X.T @ (X @ w - y) / len(y)
        w = w.sign() * (w.abs() - lr * strength).clamp(min=0)
        path.append(w)
    return torch.stack(path)


def dropout_by_multiplying(x, keep_mask, p, training):
    return x * keep_mask / (1 - p) if training else x


def dropout_by_a_scaled_mask(x, keep_mask, p, training):
    scale = keep_mask.astype(float) * (1 / (1 - p)) if training else 1.0
    return scale * x


def dropout_on_a_copy(x, keep_mask, p, training):
    y = x.copy()
    if training:
        y[~np.broadcast_to(keep_mask, x.shape)] = 0
        y /= 1 - p
    return y


def dropout_by_where(x, keep_mask, p, training):
    if training is False:
        return x
    return np.where(keep_mask, x / (1 - p), 0)


def dropout_by_torch(x, keep_mask, p, training):
    x, keep_mask = torch.from_numpy(x), torch.from_numpy(keep_mask)
    return x.masked_fill(~keep_mask, 0.0).div(1 - p) if training else x


def dropout_in_single_precision(x, keep_mask, p, training):
    x = torch.tensor(x, dtype=torch.float32)
    return x * torch.tensor(keep_mask) / (1 - p) if training else x


def decayed_with_two_parts(X, y, param, lr, weight_decay, steps):
    w, b = param[:-1].copy(), param[-1]
    m_w, v_w, m_b, v_b = np.zeros(len(w)), np.zeros(len(w)), 0.0, 0.0
    path = [param]
    for t in range(1, steps + 1):
        residual = X @ w + b - y
        g_w, g_b = X.T @ residual / len(y), residual.mean()
        m_w, m_b = 0.9 * m_w + 0.1 * g_w, 0.9 * m_b + 0.1 * g_b
        v_w, v_b = 0.999 * v_w + 0.001 * g_w**2, 0.999 * v_b + 0.001 * g_b**2
        w = w * (1 - lr * weight_decay)
        w -= lr * m_w / (1 - 0.9**t) / (np.sqrt(v_w / (1 - 0.999**t)) + 1e-8)
        b -= lr * m_b / (1 - 0.9**t) / (np.sqrt(v_b / (1 - 0.999**t)) + 1e-8)
        path.append(np.append(w, b))
    return np.array(path)


def decayed_in_place(X, y, param, lr, weight_decay, steps):
    features = np.hstack([X, np.ones((len(X), 1))])
    m, v, w = np.zeros_like(param), np.zeros_like(param), param.copy()
    path = np.tile(param, (steps + 1, 1))
    for t in range(1, steps + 1):
        grad = (features @ w - y) @ features / len(features)
        m += 0.1 * (grad - m)
        v += 0.001 * (grad**2 - v)
        w[:-1] *= 1 - lr * weight_decay
        w -= lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        path[t] = w
    return path


def decayed_with_a_corrected_rate(X, y, param, lr, weight_decay, steps):
    features = np.c_[X, np.ones(len(X))]
    decays = np.arange(len(param)) < len(param) - 1
    m = v = 0 * param
    path = [param]
    for t in range(steps):
        grad = features.T @ (features @ path[-1] - y) / len(y)
        m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad * grad
        root = math.sqrt(1 - 0.999 ** (t + 1))
        step = m / (1 - 0.9 ** (t + 1)) * root / (np.sqrt(v) + 1e-8 * root)
        path.append(path[-1] - lr * step - lr * weight_decay * decays * path[-1])
    return path


def decayed_from_all_gradients(X, y, param, lr, weight_decay, steps):
    features = np.c_[X, np.ones(len(X))]
    shrink = np.r_[np.full(len(param) - 1, 1 - lr * weight_decay), 1]
    seen, path = [], [param]
    for t in range(1, steps + 1):
        seen.append(features.T @ (features @ path[-1] - y) / len(y))
        ages = np.arange(t - 1, -1, -1.0)
        mean = np.average(seen, axis=0, weights=0.9**ages)
        mean_sq = np.average(np.square(seen), axis=0, weights=0.999**ages)
        path.append(shrink * path[-1] - lr * mean / (np.sqrt(mean_sq) + 1e-8))
    return np.array(path)


def decayed_by_torch(X, y, param, lr, weight_decay, steps):
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    w = torch.tensor(param, requires_grad=True)
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    path = [w.detach().clone()]
    for t in range(1, steps + 1):
        loss = (X @ w[:-1] + w[-1] - y).square().mean() / 2
        (grad,) = torch.autograd.grad(loss, w)
        with torch.no_grad():
            m.lerp_(grad, 0.1)
            v.mul_(0.999).addcmul_(grad, grad, value=0.001)
            w[:-1] -= lr * weight_decay * w[:-1].clone()
            size = (v / (1 - 0.999**t)).sqrt() + 1e-8
            w.addcdiv_(m, size, value=-lr / (1 - 0.9**t))
        path.append(w.detach().clone())
    return torch.stack(path)


def decayed_in_single_precision(X, y, param, lr, weight_decay, steps):
    X, y, param = (a.astype(np.float32) for a in (X, y, param))
    features = np.c_[X, np.ones(len(X), np.float32)]
    decay = np.float32(weight_decay) * np.r_[np.ones(len(param) - 1), 0]
    decay = decay.astype(np.float32)
    m = v = np.zeros(len(param), np.float32)
    path = [param]
    for t in range(1, steps + 1):
        grad = features.T @ (features @ path[-1] - y) / np.float32(len(y))
        m = np.float32(0.9) * m + np.float32(0.1) * grad
        v = np.float32(0.999) * v + np.float32(0.001) * grad**2
        size = np.sqrt(v / np.float32(1 - 0.999**t)) + np.float32(1e-8)
        step = m / np.float32(1 - 0.9**t) / size + decay * path[-1]
        path.append(path[-1] - np.float32(lr) * step)
    return np.array(path)


def smoothing_in_two_terms(logits, labels, smoothing):
    log_probs = log_softmax(logits, axis=1)
    hard = -log_probs[np.arange(len(labels)), labels]
    return np.mean((1 - smoothing) * hard - smoothing * log_probs.mean(axis=1))


def smoothing_with_one_hot_targets(logits, labels, smoothing):
    n_classes = logits.shape[1]
    targets = (1 - smoothing) * np.eye(n_classes)[labels] + smoothing / n_classes
    top = logits.max(1)[:, None]
    log_sum = top + np.log(np.exp(logits - top).sum(1))[:, None]
    return (targets * (log_sum - logits)).sum() / len(labels)


def smoothing_from_logits_alone(logits, labels, smoothing):
    right = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    wanted = (1 - smoothing) * right + smoothing * logits.mean(axis=1)
    return (logsumexp(logits, axis=1) - wanted).mean()


def smoothing_example_by_example(logits, labels, smoothing):
    total = 0.0
    for row, label in zip(logits.tolist(), labels, strict=True):
        top = max(row)
        log_sum = top + math.log(sum(math.exp(z - top) for z in row))
        for k, z in enumerate(row):
            target = smoothing / len(row) + (1 - smoothing) * (k == label)
            total += target * (log_sum - z)
    return total / len(labels)


def smoothing_by_margins(logits, labels, smoothing):
    rows = np.arange(len(labels))
    margins = logits - logits[rows, labels][:, None]
    hard = np.logaddexp.reduce(margins, axis=1)
    return np.mean(hard - smoothing * margins.mean(axis=1))


def smoothing_by_torch(logits, labels, smoothing):
    log_probs = torch.from_numpy(logits).log_softmax(dim=-1)
    targets = torch.full_like(log_probs, smoothing / log_probs.shape[1])
    rows = torch.arange(len(labels))
    targets[rows, torch.from_numpy(labels)] += 1 - smoothing
    return -(targets * log_probs).sum(dim=-1).mean()


def smoothing_in_single_precision(logits, labels, smoothing):
    log_probs = torch.tensor(logits).float().log_softmax(dim=1)
    hard = -log_probs.gather(1, torch.tensor(labels)[:, None]).mean()
    return (1 - smoothing) * hard - smoothing * log_probs.mean()


def clip_with_one_long_vector(grads, max_norm):
    norm = np.linalg.norm(np.concatenate([grad.ravel() for grad in grads]))
    return [grad * (max_norm / max(norm, max_norm)) for grad in grads]


def clip_by_minimum(grads, max_norm):
    norm = math.sqrt(sum(float((grad * grad).sum()) for grad in grads))
    factor = 1.0 if norm == 0 else min(1.0, max_norm / norm)
    return [factor * grad for grad in grads]


def clip_by_norm_of_norms(grads, max_norm):
    norm = np.hypot.reduce([np.linalg.norm(grad.ravel()) for grad in grads])
    if norm <= max_norm:
        return grads
    return [grad / norm * max_norm for grad in grads]


def clip_on_copies(grads, max_norm):
    result = [np.array(grad) for grad in grads]
    norm = sum(np.vdot(grad, grad) for grad in grads) ** 0.5
    if norm > max_norm:
        for grad in result:
            grad *= max_norm / norm
    return result


def clip_by_yield(grads, max_norm):
    squares = [v * v for grad in grads for v in grad.flat]
    ratio = math.sqrt(math.fsum(squares)) / max_norm
    for grad in grads:
        yield grad / max(ratio, 1)


def clip_by_torch(grads, max_norm):
    tensors = [torch.from_numpy(grad.copy()) for grad in grads]
    norm = torch.stack([tensor.norm() for tensor in tensors]).norm()
    factor = (max_norm / norm).clamp(max=1)
    return [tensor * factor for tensor in tensors]


def clip_in_single_precision(grads, max_norm):
    narrow = [grad.astype(np.float32) for grad in grads]
    norm = np.sqrt(sum(np.square(grad).sum() for grad in narrow))
    if norm <= max_norm * (1 + 1e-6):
        return narrow
    return tuple(grad * np.float32(max_norm / norm) for grad in narrow)


def stopping_with_a_counter(validation_losses, test_losses, patience, min_delta):
    best_loss, best, waited = float("inf"), 0, 0
    for epoch, loss in enumerate(validation_losses):
        if best_loss - loss > min_delta:
            best_loss, best, waited = loss, epoch, 0
        else:
            waited += 1
            if waited >= patience:
                return epoch, best, test_losses[best]
    return len(validation_losses) - 1, best, test_losses[best]


def stopping_with_while(validation_losses, test_losses, patience, min_delta):
    epoch = best = 0
    last = len(validation_losses) - 1
    while epoch < last and epoch < best + patience:
        epoch += 1
        if validation_losses[epoch] + min_delta < validation_losses[best]:
            best = epoch
    return [epoch, best, test_losses[best]]


def stopping_by_windows(validation_losses, test_losses, patience, min_delta):
    best = 0
    while True:
        window = validation_losses[best + 1 : best + 1 + patience]
        better = np.flatnonzero(window < validation_losses[best] - min_delta)
        if len(better) == 0:
            return best + len(window), best, float(test_losses[best])
        best = best + 1 + int(better[0])


def stopping_by_class(validation_losses, test_losses, patience, min_delta):
    class Watch:
        def __init__(self):
            self.left, self.kept, self.loss = patience, None, None

        def stops(self, epoch, loss):
            self.left -= 1
            if self.kept is None or loss < self.loss - min_delta:
                self.left, self.kept, self.loss = patience, epoch, loss
            return self.left == 0

    watch = Watch()
    for epoch in range(len(validation_losses)):
        if watch.stops(epoch, validation_losses[epoch]):
            break
    return np.int64(epoch), watch.kept, test_losses[watch.kept]


def stopping_by_recursion(validation_losses, test_losses, patience, min_delta):
    losses = validation_losses.tolist()

    def go_on(epoch, best):
        if epoch == len(losses):
            return epoch - 1, best
        if losses[epoch] < losses[best] - min_delta:
            return go_on(epoch + 1, epoch)
        return (epoch, best) if epoch >= best + patience else go_on(epoch + 1, best)

    stop, best = go_on(1, 0)
    return stop, best, torch.tensor(test_losses)[best]


def dropout_as_lists(x, keep_mask, p, training):
    return (x * (keep_mask / (1 - p) if training else 1)).tolist()


def clipped_lists(grads, max_norm):
    norm = math.hypot(*(one for grad in grads for one in grad.ravel()))
    return [(grad / max(norm / max_norm, 1)).tolist() for grad in grads]


ALTERNATIVES = {
    "soft_threshold": [
        soft_threshold_by_clamp,
        soft_threshold_by_where,
        soft_threshold_by_two_ramps,
        soft_threshold_on_a_copy,
        soft_threshold_entry_by_entry,
        soft_threshold_by_torch,
        soft_threshold_by_a_factor,
        soft_threshold_in_single_precision,
    ],
    "proximal_descent": [
        proximal_in_place,
        proximal_with_the_gram_matrix,
        proximal_by_autograd,
        proximal_by_recursion,
        proximal_by_yield,
        proximal_in_single_precision,
    ],
    "dropout": [
        dropout_by_multiplying,
        dropout_by_a_scaled_mask,
        dropout_on_a_copy,
        dropout_by_where,
        dropout_by_torch,
        dropout_in_single_precision,
        dropout_as_lists,
    ],
    "decayed_adam": [
        decayed_with_two_parts,
        decayed_in_place,
        decayed_with_a_corrected_rate,
        decayed_from_all_gradients,
        decayed_by_torch,
        decayed_in_single_precision,
    ],
    "label_smoothing_loss": [
        smoothing_in_two_terms,
        smoothing_with_one_hot_targets,
        smoothing_from_logits_alone,
        smoothing_example_by_example,
        smoothing_by_margins,
        smoothing_by_torch,
        smoothing_in_single_precision,
    ],
    "clip_by_global_norm": [
        clip_with_one_long_vector,
        clip_by_minimum,
        clip_by_norm_of_norms,
        clip_on_copies,
        clip_by_yield,
        clip_by_torch,
        clip_in_single_precision,
        clipped_lists,
    ],
    "early_stopping": [
        stopping_with_a_counter,
        stopping_with_while,
        stopping_by_windows,
        stopping_by_class,
        stopping_by_recursion,
    ],
    "no_exact_zeros": ["d", "D", " d ", "(d)", "d."],
    "forgotten_eval": ["b", "B", " b ", "(b)", "b."],
    "smoothed_minimum": ["b", "B", " b ", "(b)", "b."],
    "stopped_on_test": ["c", "C", " c ", "(c)", "c."],
}
