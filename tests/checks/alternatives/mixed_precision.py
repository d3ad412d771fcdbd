"""Right answers to exercise 16, written in other ways."""

import math
import struct
from functools import reduce
from itertools import accumulate

import numpy as np
import torch


def bfloat16_by_comparing_the_lower_half(x):
    bits = x.view(np.uint32)
    low, high = bits & 0xFFFF, bits >> 16
    up = (low > 0x8000) | ((low == 0x8000) & (high % 2 == 1))
    return ((high + up) << 16).astype(np.uint32).view(np.float32)


def bfloat16_by_rounding_the_bits(x):
    # The bits of positive floats are in the order of the floats: round them as numbers.
    bits = np.abs(x).view(np.uint32)
    rounded = (np.rint(bits / 2.0**16) * 2.0**16).astype(np.uint32)
    return np.copysign(rounded.view(np.float32), x)


def bfloat16_by_the_exponent(x):
    wide = x.astype(np.float64)
    _, exponent = np.frexp(np.where(np.isfinite(wide), wide, 1))
    spacing = np.ldexp(1.0, np.maximum(exponent, -125) - 8)
    rounded = np.rint(wide / spacing) * spacing
    return np.where(np.abs(rounded) >= 2.0**128, np.sign(x) * np.inf, rounded)


def bfloat16_one_by_one(x):
    def rounded(one):
        (bits,) = struct.unpack("<I", struct.pack("<f", one))
        bits += 0x7FFF + (bits >> 16 & 1)
        return struct.unpack("<f", struct.pack("<I", bits & 0xFFFF0000))[0]

    return np.array([rounded(one) for one in x.ravel()]).reshape(x.shape)


def bfloat16_by_torch(x):
    return torch.from_numpy(x).to(torch.bfloat16)


def bfloat16_by_remainder(x):
    bits = x.view(np.uint32).astype(np.int64)
    rest = bits % 0x20000  # the lower half, and the bit that says odd
    up = ((rest > 0x8000) & (rest < 0x10000)) | (rest >= 0x18000)
    return ((bits // 0x10000 + up) * 0x10000).astype(np.uint32).view(np.float32)


def lost_by_casting(gradients, scale):
    rest = gradients[gradients != 0]
    return np.mean((rest * scale).astype(np.float16) == 0) if rest.size else 0.0


def lost_by_torch(gradients, scale):
    gradients = torch.from_numpy(gradients)
    alive = gradients != 0
    lost = alive & ((gradients.double() * scale).half() == 0)
    return lost.sum() / alive.sum().clamp(min=1)


def lost_one_by_one(gradients, scale):
    alive = lost = 0
    for one in gradients.ravel().tolist():
        alive += one != 0
        lost += one != 0 and abs(one * scale) <= 2**-25
    return lost / max(alive, 1)


def lost_by_the_limit_unscaled(gradients, scale):
    limit = 2.0**-25 / scale
    small = np.count_nonzero(np.abs(gradients.astype(float)) <= limit)
    zeros = np.count_nonzero(gradients == 0)
    return (small - zeros) / (gradients.size - zeros or 1)


def lost_by_counting_survivors(gradients, scale):
    before = np.count_nonzero(gradients)
    with np.errstate(over="ignore"):
        after = np.count_nonzero(np.float16(scale * gradients.astype(np.float64)))
    return 1 - after / before if before else 0


def scale_by_torch(
    overflows, init_scale, growth_factor, backoff_factor, growth_interval
):
    scale, good = torch.tensor(init_scale), torch.tensor(0, dtype=torch.int32)
    factors, path = (growth_factor, backoff_factor), []
    for overflow in overflows:
        found = torch.tensor(float(overflow))
        torch._amp_update_scale_(scale, good, found, *factors, growth_interval)
        path.append(scale.item())
    return np.float32(path)


def scale_by_accumulate(
    overflows, init_scale, growth_factor, backoff_factor, growth_interval
):
    def after(state, overflow):
        scale, good = state
        if overflow:
            return scale * backoff_factor, 0
        if good + 1 == growth_interval:
            return scale * growth_factor, 0
        return scale, good + 1

    states = accumulate(overflows, after, initial=(init_scale, 0))
    return [scale for scale, _ in states][1:]


def scale_by_runs(
    overflows, init_scale, growth_factor, backoff_factor, growth_interval
):
    path, scale = [], init_scale
    for run in "".join("x" if flag else "." for flag in overflows).split("x"):
        path += [
            scale * growth_factor ** (step // growth_interval)
            for step in range(1, len(run) + 1)
        ]
        scale *= growth_factor ** (len(run) // growth_interval) * backoff_factor
        path.append(scale)
    return path[:-1]


def scale_counting_down(
    overflows, init_scale, growth_factor, backoff_factor, growth_interval
):
    left, scales = growth_interval, np.empty(len(overflows))
    for step, overflow in enumerate(overflows):
        left -= 1
        if overflow or left == 0:
            init_scale *= backoff_factor if overflow else growth_factor
            left = growth_interval
        scales[step] = init_scale
    return scales


def scale_by_logarithms(
    overflows, init_scale, growth_factor, backoff_factor, growth_interval
):
    path, grown, fallen, since = [], 0, 0, 0
    for overflow in overflows:
        since = 0 if overflow else since + 1
        fallen += overflow
        grown += since > 0 and since % growth_interval == 0
        path.append(init_scale * growth_factor**grown * backoff_factor**fallen)
    return tuple(path)


def training_with_else(X, y, w0, lr, max_norm, scale, steps):
    w = w0.copy()
    for _ in range(steps):
        half = np.float16(scale * (X.T @ (X @ w - y) / len(y)))
        if np.isfinite(half).all():
            grad = half.astype(np.float64) / scale
            w -= lr * grad * min(1.0, max_norm / (np.linalg.norm(grad) or 1e-300))
        else:
            scale *= 0.5
    return w, scale


def training_with_the_limit_scaled(X, y, w0, lr, max_norm, scale, steps):
    w = w0
    for _ in range(steps):
        half = np.float16(scale * (X.T @ (X @ w - y) / len(y))).astype(np.float64)
        norm = np.sqrt(half @ half)
        if norm > max_norm * scale:  # scaling the limit is as good as unscaling
            half = half * (max_norm * scale / norm) if np.isfinite(norm) else half
        if np.isinf(norm):
            scale /= 2
        else:
            w = w - lr / scale * half
    return w, scale


def training_by_torch(X, y, w0, lr, max_norm, scale, steps):
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    w = torch.from_numpy(w0)
    for _ in range(steps):
        half = (scale * X.T @ (X @ w - y) / len(y)).half()
        if half.isfinite().all():
            grad = half.double().div(scale)
            norm = torch.linalg.vector_norm(grad)
            w = w - lr * grad * (max_norm / norm).clamp(max=1)
        else:
            scale /= 2
    return w, scale


def training_by_recursion(X, y, w0, lr, max_norm, scale, steps):
    if steps == 0:
        return w0, scale
    half = np.float16(scale * X.T @ (X @ w0 - y) / len(y))
    w, grad = w0, np.float64(half) / scale
    if np.abs(half).max() == np.inf:
        scale /= 2
    else:
        w = w - lr * grad / max(1.0, np.linalg.norm(grad) / max_norm)
    return training_by_recursion(X, y, w, lr, max_norm, scale, steps - 1)


def training_by_reduce(X, y, w0, lr, max_norm, scale, steps):
    def step(state, _):
        w, scale = state
        errors = [np.dot(row, w) - one for row, one in zip(X, y, strict=True)]
        half = np.float16(scale * np.mean(X * np.array(errors)[:, None], axis=0))
        if not np.all(np.abs(half) <= 65504):
            return w, scale / 2
        grad = half / np.float64(scale)
        norm = math.hypot(*grad)
        return w - lr * grad * (max_norm / norm if norm > max_norm else 1), scale

    return reduce(step, range(steps), (w0, scale))


def master_in_double(w0, gradients, lr):
    steps = lr * np.cumsum(gradients.astype(np.float64), axis=0)
    return (w0.astype(np.float64) - steps).astype(np.float16).astype(np.float64)


def master_in_place(w0, gradients, lr):
    master = np.array(w0, dtype=np.float32)
    rows = np.empty(gradients.shape, dtype=np.float32)
    for row, grad in zip(rows, gradients, strict=True):
        master -= np.float32(lr) * grad
        row[...] = np.float16(master)
    return rows


def master_by_torch(w0, gradients, lr):
    master, seen = torch.from_numpy(w0).float(), []
    for grad in torch.from_numpy(gradients):
        master = torch.sub(master, grad.float(), alpha=lr)
        seen.append(master.half().float())
    return torch.stack(seen)


def master_returning_halves(w0, gradients, lr):
    masters = accumulate(
        gradients, lambda w, g: w - lr * np.float32(g), initial=np.float32(w0)
    )
    return [w.astype(np.float16) for w in masters][1:]


def master_by_generator(w0, gradients, lr):
    w = w0.astype(np.float64)
    for grad in gradients.astype(np.float64):
        w = w - lr * grad
        yield w.astype(np.float16).astype(np.float32)


def bfloat16_as_lists(x):
    return bfloat16_by_remainder(x).tolist()


def scale_in_single_precision(
    overflows, init_scale, growth_factor, backoff_factor, growth_interval
):
    scale, run, path = torch.tensor(init_scale), 0, []
    for overflow in overflows:
        run = 0 if overflow else run + 1
        if overflow:
            scale = scale * backoff_factor
        elif run % growth_interval == 0:
            scale = scale * growth_factor
        path.append(scale.item())
    return path


ALTERNATIVES = {
    "to_bfloat16": [
        bfloat16_by_comparing_the_lower_half,
        bfloat16_by_rounding_the_bits,
        bfloat16_by_the_exponent,
        bfloat16_one_by_one,
        bfloat16_by_torch,
        bfloat16_by_remainder,
        bfloat16_as_lists,
    ],
    "lost_share": [
        lost_by_casting,
        lost_by_torch,
        lost_one_by_one,
        lost_by_the_limit_unscaled,
        lost_by_counting_survivors,
    ],
    "loss_scale_path": [
        scale_by_torch,
        scale_by_accumulate,
        scale_by_runs,
        scale_counting_down,
        scale_by_logarithms,
        scale_in_single_precision,
    ],
    "scaled_training": [
        training_with_else,
        training_with_the_limit_scaled,
        training_by_torch,
        training_by_recursion,
        training_by_reduce,
    ],
    "train_with_master": [
        master_in_double,
        master_in_place,
        master_by_torch,
        master_returning_halves,
        master_by_generator,
    ],
    "stays_in_fp32": ["b", "B", " b ", "(b)", "b."],
    "bf16_or_fp16": ["a", "A", " a ", "(a)", "a."],
    "clip_when": ["b", "B", " b ", "(b)", "b."],
    "scaler_for_bf16": ["a", "A", " a ", "(a)", "a."],
}
