"""Right answers to exercise 04, written in other ways."""

import math
from functools import reduce
from itertools import accumulate, count

import numpy as np
import torch


def inverse_sqrt_by_power(step):
    return (np.asarray(step) + 1.0) ** -0.5


def inverse_sqrt_by_logarithm(step):
    return np.exp(-0.5 * np.log1p(step))


def inverse_sqrt_by_torch(step):
    return torch.as_tensor(step, dtype=torch.float64).add(1).rsqrt()


def inverse_sqrt_in_single_precision(step):
    return np.float32(1) / np.sqrt(np.asarray(step, dtype=np.float32) + 1)


def inverse_sqrt_one_by_one(step):
    return np.vectorize(lambda one: 1 / math.sqrt(one + 1))(step)


def inverse_sqrt_as_list(step):
    if isinstance(step, int):
        return (step + 1) ** -0.5
    rows = step if isinstance(step, list) else step.tolist()
    return [inverse_sqrt_as_list(one) for one in rows]


def decay_by_multiplying(step, every, factor):
    result = 1.0
    for _ in range(every, step + 1, every):
        result *= factor
    return result


def decay_by_floor(step, every, factor):
    return np.power(factor, np.floor(step / every))


def decay_by_divmod(step, every, factor):
    drops, _ = divmod(step, every)
    return math.pow(factor, drops)


def decay_by_recursion(step, every, factor):
    if step < every:
        return 1
    return factor * decay_by_recursion(step - every, every, factor)


def decay_by_int(step, every, factor):
    return math.exp(math.log(factor) * int(step / every))


def decay_by_torch(step, every, factor):
    return torch.tensor(factor, dtype=torch.float64) ** (step // every)


def cosine_by_half_angle(step, warmup_steps, total_steps, final_factor):
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    height = math.cos(math.pi / 2 * min(progress, 1)) ** 2
    return final_factor + (1 - final_factor) * height


def cosine_by_three_branches(step, warmup_steps, total_steps, final_factor):
    if step >= total_steps:
        return final_factor
    if step >= warmup_steps:
        turn = math.pi * (step - warmup_steps) / (total_steps - warmup_steps)
        return (1 + final_factor) / 2 + (1 - final_factor) / 2 * math.cos(turn)
    return 1 / (1 + warmup_steps) * (step + 1)


def cosine_by_torch(step, warmup_steps, total_steps, final_factor):
    if step < warmup_steps:
        return torch.tensor((step + 1) / (warmup_steps + 1))
    share = torch.tensor((step - warmup_steps) / (total_steps - warmup_steps))
    fall = (1 + torch.cos(torch.pi * share.clamp(max=1))) / 2
    return torch.lerp(torch.tensor(final_factor), torch.tensor(1.0), fall)


def cosine_from_the_end(step, warmup_steps, total_steps, final_factor):
    left = max(total_steps - step, 0) / (total_steps - warmup_steps)
    fall = (1 - np.cos(np.pi * left)) / 2
    rise = (step + 1) / (warmup_steps + 1)
    factor = final_factor * (1 - fall) + fall
    return np.where(step < warmup_steps, rise, factor)


def cosine_in_degrees(step, warmup_steps, total_steps, final_factor):
    if step <= warmup_steps:
        return (1 + step) / (1 + warmup_steps)
    share = np.clip((step - warmup_steps) / (total_steps - warmup_steps), 0, 1)
    half = (1 + math.cos(math.radians(180 * share))) / 2
    return half + final_factor * (1 - half)


def restarts_by_while(step, first_period, multiplier):
    start, period = 0, first_period
    while start + period <= step:
        start += period
        period *= multiplier
    return 0.5 * (1 + math.cos(math.pi * (step - start) / period))


def restarts_by_ends(step, first_period, multiplier):
    ends = accumulate(first_period * multiplier**k for k in count())
    start = 0
    for end in ends:
        if step < end:
            return math.cos(math.pi / 2 * (step - start) / (end - start)) ** 2
        start = end


def restarts_by_formula(step, first_period, multiplier):
    if multiplier == 1:
        done, start = divmod(step, first_period)[0], step - step % first_period
    else:
        ratio = step * (multiplier - 1) // first_period + 1
        done = 0
        while multiplier ** (done + 1) <= ratio:
            done += 1
        start = first_period * (multiplier**done - 1) // (multiplier - 1)
    return (1 + np.cos(np.pi * (step - start) / first_period / multiplier**done)) / 2


def restarts_by_rounded_logarithm(step, first_period, multiplier):
    if multiplier == 1:
        left, period = step % first_period, first_period
    else:
        ratio = 1 + (multiplier - 1) * step / first_period
        done = math.floor(math.log(ratio) / math.log(multiplier) + 1e-9)
        period = first_period * multiplier**done
        left = step - first_period * (multiplier**done - 1) / (multiplier - 1)
    return 0.5 + 0.5 * np.cos(np.pi * left / period)


def restarts_by_torch(step, first_period, multiplier):
    left, period = torch.tensor(step), first_period
    while left >= period:
        left, period = left - period, period * multiplier
    return (1 + torch.cos(torch.pi * left / period)) / 2


def cycle_by_branches(step, half_cycle, total_steps, start_factor, final_factor):
    if step < half_cycle:
        return start_factor + step / half_cycle * (1 - start_factor)
    if step < 2 * half_cycle:
        down = 2 - step / half_cycle
        return start_factor + down * (1 - start_factor)
    if step < total_steps:
        left = (total_steps - step) / (total_steps - 2 * half_cycle)
        return final_factor + left * (start_factor - final_factor)
    return final_factor


def cycle_by_distance_from_the_top(
    step, half_cycle, total_steps, start_factor, final_factor
):
    if step <= 2 * half_cycle:
        away = abs(step - half_cycle) / half_cycle
        return 1 - away * (1 - start_factor)
    tail = total_steps - 2 * half_cycle
    share = np.clip((step - 2 * half_cycle) / tail, 0, 1)
    return (1 - share) * start_factor + share * final_factor


def cycle_by_whole_table(step, half_cycle, total_steps, start_factor, final_factor):
    table = np.concatenate(
        [
            np.linspace(start_factor, 1, half_cycle, endpoint=False),
            np.linspace(1, start_factor, half_cycle, endpoint=False),
            np.linspace(start_factor, final_factor, total_steps - 2 * half_cycle + 1),
        ]
    )
    return table[min(step, total_steps)]


def cycle_by_torch(step, half_cycle, total_steps, start_factor, final_factor):
    heights = torch.tensor([start_factor, 1.0, start_factor, final_factor])
    lengths = [half_cycle, half_cycle, total_steps - 2 * half_cycle]
    for part, length in enumerate(lengths):
        if step <= length:
            return torch.lerp(heights[part], heights[part + 1], step / length)
        step -= length
    return heights[3]


def cycle_by_clipped_shares(step, half_cycle, total_steps, start_factor, final_factor):
    tail = total_steps - 2 * half_cycle
    up = np.clip(step / half_cycle, 0, 1)
    down = np.clip(step / half_cycle - 1, 0, 1)
    out = np.clip((step - 2 * half_cycle) / tail, 0, 1)
    swing = 1 - start_factor
    return start_factor + swing * (up - down) + (final_factor - start_factor) * out


def pick_by_average(lrs, losses, beta):
    average, best, smoothed = 0.0, float("inf"), []
    for step, loss in enumerate(losses):
        average = beta * average + (1 - beta) * loss
        now = average / (1 - beta ** (step + 1))
        best = min(best, now)
        if math.isnan(now) or now > 4 * best:
            break
        smoothed.append(now)
    steepest, pick = float("inf"), None
    for i in range(len(smoothed) - 1):
        slope = (smoothed[i + 1] - smoothed[i]) / math.log10(lrs[i + 1] / lrs[i])
        if slope < steepest:
            steepest, pick = slope, lrs[i]
    return pick


def pick_by_arrays(lrs, losses, beta):
    steps = np.arange(len(losses))
    weights = np.tril(beta ** np.abs(steps[:, None] - steps))
    finite = np.nan_to_num(losses, nan=1e300, posinf=1e300)
    smoothed = weights @ finite / weights.sum(axis=1)
    over = smoothed > 4 * np.minimum.accumulate(smoothed)
    n = int(np.argmax(over)) if over.any() else len(losses)
    return lrs[np.argmin(np.diff(smoothed[:n]) / np.diff(np.log10(lrs[:n])))]


def pick_by_accumulate(lrs, losses, beta):
    def updated(average, loss):
        return average + (1 - beta) * (loss - average)

    averages = list(accumulate([0.0, *losses], updated))[1:]
    smoothed = [a / (1 - beta ** (k + 1)) for k, a in enumerate(averages)]
    n = 1
    while n < len(smoothed) and smoothed[n] <= 4 * min(smoothed[:n]):
        n += 1
    x = np.log2(lrs)
    slopes = [(smoothed[i + 1] - smoothed[i]) / (x[i + 1] - x[i]) for i in range(n - 1)]
    return float(lrs[slopes.index(min(slopes))])


def pick_with_nan_ignored(lrs, losses, beta):
    total, weight, smoothed = 0.0, 0.0, []
    for loss in losses:
        total, weight = beta * total + loss, beta * weight + 1
        smoothed.append(total / weight)
    smoothed = np.array(smoothed)
    best = np.fmin.accumulate(smoothed)
    beyond = np.flatnonzero((smoothed > 4 * best) | ~np.isfinite(smoothed))
    n = beyond[0] if len(beyond) else len(losses)
    slopes = (smoothed[1:n] - smoothed[: n - 1]) / np.log(lrs[1:n] / lrs[: n - 1])
    return lrs[: n - 1][slopes == slopes.min()][0]


def pick_by_torch(lrs, losses, beta):
    lrs, losses = torch.tensor(lrs), torch.tensor(losses)
    average, kept = torch.zeros((), dtype=torch.float64), []
    for step in range(len(losses)):
        average = beta * average + (1 - beta) * losses[step]
        now = average / (1 - beta ** (step + 1))
        if kept and not now <= 4 * torch.stack(kept).min():
            break
        kept.append(now)
    slopes = torch.stack(kept).diff() / lrs[: len(kept)].log().diff()
    return lrs[slopes.argmin()]


def descent_by_norm(H, w0, steps):
    path = np.empty((steps + 1, len(w0)))
    path[0] = w0
    for k in range(steps):
        lr = 1 / (np.linalg.norm(H, 2) * math.sqrt(k + 1))
        path[k + 1] = path[k] - lr * (H @ path[k])
    return path


def descent_by_torch(H, w0, steps):
    H, path = torch.tensor(H), [torch.tensor(w0)]
    base_lr = 1 / torch.linalg.eigvalsh(H).max()
    for step in range(1, steps + 1):
        path.append(path[-1] - base_lr * step**-0.5 * H @ path[-1])
    return torch.stack(path)


def descent_by_eigenvectors(H, w0, steps):
    curvatures, axes = np.linalg.eigh(H)
    roots = np.sqrt(np.arange(1, steps + 1))[:, None]
    factors = 1 - curvatures / curvatures.max() / roots
    errors = np.vstack([np.ones(len(w0)), np.cumprod(factors, axis=0)])
    return errors * (axes.T @ w0) @ axes.T


def descent_by_reduce(H, w0, steps):
    base_lr = 1 / np.linalg.svd(H, compute_uv=False)[0]

    def walk(path, step):
        return [*path, path[-1] - base_lr / np.sqrt(step + 1) * path[-1] @ H]

    return reduce(walk, range(steps), [w0])


def descent_by_generator(H, w0, steps):
    w, base_lr = w0.copy(), 1 / max(np.linalg.eigvals(H).real)
    yield w.copy()
    for t in range(steps):
        w -= base_lr * H.dot(w) / (t + 1) ** 0.5
        yield w.copy()


def _cosine(step, warmup_steps, total_steps):
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * progress))


def training_with_a_counter(X, y, w0, lr, epochs, batch_size, warmup_steps):
    total_steps = epochs * math.ceil(len(X) / batch_size)
    w, lrs, step = w0.copy(), [], 0
    for _ in range(epochs):
        for start in range(0, len(X), batch_size):
            rows = slice(start, start + batch_size)
            slope = X[rows].T @ (X[rows] @ w - y[rows]) / len(y[rows])
            lrs.append(lr * _cosine(step, warmup_steps, total_steps))
            w -= lrs[-1] * slope
            step += 1
    return w, lrs


def training_by_epoch_and_batch(X, y, w0, lr, epochs, batch_size, warmup_steps):
    batches = -(-len(X) // batch_size)
    w, lrs = w0, np.empty(epochs * batches)
    for epoch in range(epochs):
        for batch in range(batches):
            step = epoch * batches + batch
            A = X[batch * batch_size :][:batch_size]
            b = y[batch * batch_size :][:batch_size]
            lrs[step] = lr * _cosine(step, warmup_steps, epochs * batches)
            w = w - lrs[step] * (A @ w - b) @ A / len(A)
    return w, lrs


def training_from_a_table(X, y, w0, lr, epochs, batch_size, warmup_steps):
    starts = list(range(0, len(X), batch_size)) * epochs
    lrs = [lr * _cosine(k, warmup_steps, len(starts)) for k in range(len(starts))]
    w = w0
    for start, now in zip(starts, lrs, strict=True):
        A, b = X[start : start + batch_size], y[start : start + batch_size]
        w = w - now * np.mean(A * (A @ w - b)[:, None], axis=0)
    return [w, lrs]


def training_by_torch(X, y, w0, lr, epochs, batch_size, warmup_steps):
    X, y, w = torch.tensor(X), torch.tensor(y), torch.tensor(w0)
    batches = list(zip(X.split(batch_size), y.split(batch_size), strict=True))
    lrs = []
    for _ in range(epochs):
        for A, b in batches:
            now = lr * _cosine(len(lrs), warmup_steps, epochs * len(batches))
            w = w - now * A.T @ (A @ w - b) / len(b)
            lrs.append(now)
    return w, torch.tensor(lrs, dtype=torch.float64)


def training_by_iterator(X, y, w0, lr, epochs, batch_size, warmup_steps):
    batches = (len(X) + batch_size - 1) // batch_size
    steps, w, lrs = iter(range(epochs * batches)), w0, []
    for _ in range(epochs):
        for rows in np.array_split(
            np.arange(len(X)), range(batch_size, len(X), batch_size)
        ):
            factor = _cosine(next(steps), warmup_steps, epochs * batches)
            w = w - lr * factor * np.linalg.multi_dot(
                [X[rows].T, np.c_[X[rows], -y[rows]], np.r_[w, 1]]
            ) / len(rows)
            lrs += [lr * factor]
    return w, np.array(lrs)


def decay_in_single_precision(step, every, factor):
    return torch.pow(torch.tensor(factor), step // every).item()


def warmup_in_single_precision(step, warmup_steps, total_steps, final_factor):
    if step < warmup_steps:
        return torch.tensor((step + 1) / (warmup_steps + 1)).item()
    progress = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
    height = (1 + torch.tensor(math.pi * progress).cos()) / 2
    return torch.lerp(torch.tensor(final_factor), torch.tensor(1.0), height).item()


def restarts_in_single_precision(step, first_period, multiplier):
    while step >= first_period:
        step, first_period = step - first_period, first_period * multiplier
    return ((1 + torch.tensor(math.pi * step / first_period).cos()) / 2).item()


def cycle_in_single_precision(
    step, half_cycle, total_steps, start_factor, final_factor
):
    start, end, top = map(torch.tensor, (start_factor, final_factor, 1.0))
    if step <= 2 * half_cycle:
        return torch.lerp(top, start, abs(step / half_cycle - 1)).item()
    out = (step - 2 * half_cycle) / (total_steps - 2 * half_cycle)
    return torch.lerp(start, end, min(out, 1.0)).item()


ALTERNATIVES = {
    "inverse_sqrt": [
        inverse_sqrt_by_power,
        inverse_sqrt_by_logarithm,
        inverse_sqrt_by_torch,
        inverse_sqrt_in_single_precision,
        inverse_sqrt_one_by_one,
        inverse_sqrt_as_list,
    ],
    "step_decay": [
        decay_by_multiplying,
        decay_by_floor,
        decay_by_divmod,
        decay_by_recursion,
        decay_by_int,
        decay_by_torch,
        decay_in_single_precision,
    ],
    "cosine_with_warmup": [
        cosine_by_half_angle,
        cosine_by_three_branches,
        cosine_by_torch,
        cosine_from_the_end,
        cosine_in_degrees,
        warmup_in_single_precision,
    ],
    "warm_restarts": [
        restarts_by_while,
        restarts_by_ends,
        restarts_by_formula,
        restarts_by_rounded_logarithm,
        restarts_by_torch,
        restarts_in_single_precision,
    ],
    "one_cycle": [
        cycle_by_branches,
        cycle_by_distance_from_the_top,
        cycle_by_whole_table,
        cycle_by_torch,
        cycle_by_clipped_shares,
        cycle_in_single_precision,
    ],
    "range_test_pick": [
        pick_by_average,
        pick_by_arrays,
        pick_by_accumulate,
        pick_with_nan_ignored,
        pick_by_torch,
    ],
    "decaying_descent": [
        descent_by_norm,
        descent_by_torch,
        descent_by_eigenvectors,
        descent_by_reduce,
        descent_by_generator,
    ],
    "scheduled_training": [
        training_with_a_counter,
        training_by_epoch_and_batch,
        training_from_a_table,
        training_by_torch,
        training_by_iterator,
    ],
    "which_is_adaptive": ["c", "C", " c ", "(c)", "c."],
    "mirror_step": ["b", "B", " b ", "(b)", "b."],
    "once_an_epoch": ["b", "B", " b ", "(b)", "b."],
    "where_to_stop": ["b", "B", " b ", "(b)", "b."],
}
