"""Right answers to exercise 11, written in other ways."""

import heapq
import math
from collections import Counter
from fractions import Fraction
from functools import cache
from itertools import pairwise, product

import numpy as np
import torch


def scale_and_zero_point_by_conditions(low, high, bits):
    low = low if low < 0 else 0.0
    high = high if high > 0 else 0.0
    if low == high:
        return 1.0, -(2 ** (bits - 1))
    scale = (high - low) / (2**bits - 1)
    return scale, round(-(2 ** (bits - 1)) - low / scale)


def scale_and_zero_point_from_above(low, high, bits):
    low, high = np.minimum(low, 0), np.maximum(high, 0)
    scale = (high - low) / (2**bits - 1) or 1.0
    return scale, 2 ** (bits - 1) - 1 - np.round(high / scale) if high > low else -(
        2 ** (bits - 1)
    )


def scale_and_zero_point_by_torch(low, high, bits):
    ends = torch.tensor([low, 0.0, high], dtype=torch.float64)
    low, high = ends.min(), ends.max()
    scale = (high - low) / (2**bits - 1)
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return scale, torch.round(-(2 ** (bits - 1)) - low / scale)


def scale_and_zero_point_in_fractions(low, high, bits):
    low, high = Fraction(min(low, 0)), Fraction(max(high, 0))
    scale = (high - low) / (2**bits - 1) or Fraction(1)
    return scale, -(2 ** (bits - 1)) - round(low / scale)


def scale_and_zero_point_by_sorting(low, high, bits):
    low, _, _, high = sorted([low, high, 0, 0])
    scale = 1 if low == high else (high - low) / (2**bits - 1)
    return np.array([scale, np.rint(-(2 ** (bits - 1)) - low / scale)])


def quantize_by_minimum(x, scale, zero_point, bits):
    q = np.rint(x / scale).astype(int) + zero_point
    return np.minimum(np.maximum(q, -(1 << (bits - 1))), (1 << (bits - 1)) - 1)


def quantize_by_torch(x, scale, zero_point, bits):
    half = 2 ** (bits - 1)
    q = torch.round(torch.from_numpy(x) / scale) + zero_point
    return q.clamp(-half, half - 1).to(torch.int32)


def quantize_in_floats(x, scale, zero_point, bits):
    half = 2.0 ** (bits - 1)
    return np.clip(np.round(x / scale + zero_point), -half, half - 1)


def quantize_one_at_a_time(x, scale, zero_point, bits):
    q = np.empty(x.shape, dtype=np.int16)
    for place, value in np.ndenumerate(x):
        whole = round(value / scale) + zero_point
        q[place] = sorted([-(2 ** (bits - 1)), whole, 2 ** (bits - 1) - 1])[1]
    return q


def quantize_by_adding_one_half(x, scale, zero_point, bits):
    q = np.floor(x / scale + 0.5) + zero_point
    return q.clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def quantize_per_channel_by_loop(weight, bits):
    q, scales = np.zeros(weight.shape), []
    for i, channel in enumerate(weight):
        scale = np.max(np.abs(channel)) / (2 ** (bits - 1) - 1)
        scales.append(scale if scale > 0 else 1.0)
        q[i] = np.round(channel / scales[-1])
    return q, scales


def quantize_per_channel_by_keepdims(weight, bits):
    axes = tuple(range(1, weight.ndim))
    scale = np.abs(weight).max(axis=axes, keepdims=True) / (2 ** (bits - 1) - 1)
    scale = np.where(scale > 0, scale, 1)
    return np.rint(weight / scale).astype(np.int32), scale.squeeze(axes)


def quantize_per_channel_by_torch(weight, bits):
    weight = torch.from_numpy(weight)
    scale = weight.flatten(1).abs().amax(dim=1) / (2 ** (bits - 1) - 1)
    scale[scale == 0] = 1
    shaped = scale.reshape(-1, *[1] * (weight.dim() - 1))
    return torch.round(weight / shaped).to(torch.int32), scale


def quantize_per_channel_by_transposing(weight, bits):
    highest = 2 ** (bits - 1) - 1
    scale = np.array([np.ptp([0, np.abs(c).max()]) / highest or 1 for c in weight])
    return np.round(weight.T / scale).T, scale


def quantize_per_channel_with_a_clamp(weight, bits):
    highest = 2 ** (bits - 1) - 1
    rows = weight.reshape(weight.shape[0], -1)
    scale = np.maximum(rows.max(axis=1), -rows.min(axis=1)) / highest
    scale += scale == 0
    q = np.clip(np.round(rows / scale.reshape(-1, 1)), -highest, highest)
    return q.astype(np.int16).reshape(weight.shape), scale


def int_linear_in_python(x_q, x_zero, w_q, bias_q, multiplier, shift, y_zero):
    rows = []
    for x in x_q.tolist():
        row = []
        for w, bias in zip(w_q.tolist(), bias_q.tolist(), strict=True):
            total = sum((a - x_zero) * b for a, b in zip(x, w, strict=True)) + bias
            y = ((total * multiplier + (1 << (shift - 1))) >> shift) + y_zero
            row.append(max(-128, min(127, y)))
        rows.append(row)
    return rows


def int_linear_with_sums_of_weights(
    x_q, x_zero, w_q, bias_q, multiplier, shift, y_zero
):
    w = w_q.astype(np.int32)
    total = x_q.astype(np.int32) @ w.T + bias_q - x_zero * w.sum(axis=1)
    y = (total.astype(np.int64) * multiplier + 2 ** (shift - 1)) // 2**shift
    return (y + y_zero).clip(-128, 127).astype(np.int8)


def int_linear_by_torch(x_q, x_zero, w_q, bias_q, multiplier, shift, y_zero):
    x, w = torch.from_numpy(x_q).long() - x_zero, torch.from_numpy(w_q).long()
    total = x @ w.T + torch.from_numpy(bias_q)
    y = (total * multiplier + (1 << (shift - 1))) >> shift
    return torch.clamp(y + y_zero, -128, 127).to(torch.int8)


def int_linear_by_floor(x_q, x_zero, w_q, bias_q, multiplier, shift, y_zero):
    # The sum is exact in float64; the product of 58 bits needs integers.
    total = (x_q.astype(float) - x_zero) @ w_q.astype(float).T + bias_q
    total = total.astype(np.int64).astype(object)
    y = (2 * total * multiplier + 2**shift) // 2 ** (shift + 1) + y_zero
    return np.minimum(np.maximum(y.astype(float), -128), 127)


def int_linear_by_einsum(x_q, x_zero, w_q, bias_q, multiplier, shift, y_zero):
    x = np.subtract(x_q, x_zero, dtype=np.int64)
    total = np.einsum("nk,ok->no", x, w_q.astype(np.int64)) + bias_q
    whole, rest = np.divmod(total * multiplier, 2**shift)
    return np.clip(whole + (2 * rest >= 2**shift) + y_zero, -128, 127)


def unpack_int4_by_xor(packed, n):
    halves = np.stack([packed & 15, packed >> 4], axis=1).ravel().astype(np.int8)
    return ((halves ^ 8) - 8)[:n]


def unpack_int4_by_shifts(packed, n):
    wide = packed.astype(np.int8)
    return np.column_stack([(wide << 4) >> 4, wide >> 4]).reshape(-1)[:n]


def unpack_int4_in_python(packed, n):
    values = []
    for byte in packed.tolist():
        high, low = divmod(byte, 16)
        values += [v - 16 if v > 7 else v for v in (low, high)]
    return values[:n]


def unpack_int4_by_table(packed, n):
    table = np.array([0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1])
    return np.array([table[[b % 16, b // 16]] for b in packed]).reshape(-1)[:n]


def unpack_int4_by_torch(packed, n):
    packed = torch.from_numpy(packed).int()
    halves = torch.stack([packed & 15, packed >> 4], dim=-1).flatten()
    return torch.where(halves > 7, halves - 16, halves)[:n]


def binarize_by_loop(weight):
    channels = [np.where(c < 0, -1, 1) * np.mean(np.abs(c)) for c in weight]
    return np.array(channels)


def binarize_by_torch(weight):
    weight = torch.from_numpy(weight)
    scale = weight.abs().flatten(1).mean(dim=1)
    sign = 2.0 * (weight >= 0) - 1
    return sign * scale.reshape(-1, *[1] * (weight.dim() - 1))


def binarize_by_copysign(weight):
    axes = tuple(range(1, weight.ndim))
    scale = np.abs(weight).mean(axis=axes, keepdims=True)
    return np.copysign(scale, weight + 0.0)


def binarize_by_transposing(weight):
    scale = np.abs(weight).reshape(len(weight), -1).sum(1) / weight[0].size
    return (np.where(weight >= 0, 1.0, -1.0).T * scale).T


def binarize_by_sign_and_zero(weight):
    sign = np.sign(weight) + (weight == 0)
    axes = tuple(np.arange(1, weight.ndim))
    return sign * np.mean(sign * weight, axis=axes, keepdims=True)


def bits_needed_by_while(weight, tolerance):
    bits = 2
    while True:
        scale = np.abs(weight).max() / (2 ** (bits - 1) - 1)
        error = scale * np.round(weight / scale) - weight
        if np.sqrt(np.sum(error**2)) <= tolerance * np.sqrt(np.sum(weight**2)):
            return bits
        bits += 1


def bits_needed_by_next(weight, tolerance):
    def share(bits):
        unit = weight / np.abs(weight).max() * (2 ** (bits - 1) - 1)
        return np.linalg.norm(unit - np.round(unit)) / np.linalg.norm(unit)

    return next(bits for bits in range(2, 40) if share(bits) <= tolerance)


def bits_needed_by_mean_squares(weight, tolerance):
    for highest in (2**k - 1 for k in range(1, 32)):
        scale = np.abs(weight).max() / highest
        error = weight - np.clip(np.rint(weight / scale), -highest, highest) * scale
        if np.mean(error**2) <= tolerance**2 * np.mean(weight**2):
            return highest.bit_length() + 1
    return None


def bits_needed_by_torch(weight, tolerance):
    weight = torch.from_numpy(weight)
    for bits in range(2, 33):
        scale = weight.abs().max() / (2 ** (bits - 1) - 1)
        error = (weight - scale * torch.round(weight / scale)).norm()
        if error <= tolerance * weight.norm():
            return torch.tensor(bits)
    return None


def bits_needed_by_recursion(weight, tolerance, bits=2):
    scale = np.abs(weight).max() / (2 ** (bits - 1) - 1)
    error = np.linalg.norm(weight - scale * np.round(weight / scale))
    if error <= tolerance * np.linalg.norm(weight):
        return bits
    return bits_needed_by_recursion(weight, tolerance, bits + 1)


def allocate_bits_by_min(errors, sizes, choices, budget):
    rows = range(len(sizes))
    fits = [
        places
        for places in product(range(len(choices)), repeat=len(sizes))
        if sum(choices[p] * s for p, s in zip(places, sizes, strict=True)) <= budget
    ]
    best = min(fits, key=lambda places: sum(errors[i, places[i]] for i in rows))
    return [choices[place] for place in best]


def allocate_bits_by_dynamic_programming(errors, sizes, choices, budget):
    best = {0: (0.0, ())}
    for row, size in zip(errors, sizes, strict=True):
        further = {}
        for spent, (error, bits) in best.items():
            for b, more in zip(choices, row, strict=True):
                cost, total = spent + b * int(size), error + more
                if cost <= budget and total < further.get(cost, (math.inf,))[0]:
                    further[cost] = total, (*bits, b)
        best = further
    return min(best.values())[1]


def allocate_bits_by_recursion(errors, sizes, choices, budget):
    @cache
    def best(i, left):
        if i == len(sizes):
            return 0.0, ()
        found = [(math.inf, ())]
        for b, error in zip(choices, errors[i], strict=True):
            if b * sizes[i] <= left:
                rest, bits = best(i + 1, left - b * sizes[i])
                found.append((error + rest, (b, *bits)))
        return min(found)

    return np.array(best(0, budget)[1])


def allocate_bits_by_arrays(errors, sizes, choices, budget):
    grid = np.meshgrid(*[range(len(choices))] * len(sizes), indexing="ij")
    places = np.stack(grid, axis=-1).reshape(-1, len(sizes))
    bits = np.array(choices)[places]
    lost = errors[np.arange(len(sizes)), places].sum(axis=1)
    return bits[np.argmin(np.where(bits @ sizes <= budget, lost, np.inf))]


def allocate_bits_by_torch(errors, sizes, choices, budget):
    columns = [torch.arange(len(choices))] * len(sizes)
    places = torch.cartesian_prod(*columns).reshape(-1, len(sizes))
    bits = torch.tensor(choices)[places]
    lost = torch.from_numpy(errors)[torch.arange(len(sizes)), places].sum(1)
    lost[(bits * torch.from_numpy(sizes)).sum(1) > budget] = torch.inf
    return bits[lost.argmin()]


def fake_quantize_by_where(x, scale, zero_point, bits, grad):
    half = 2 ** (bits - 1)
    q = np.rint(x / scale) + zero_point
    clipped = np.minimum(np.maximum(q, -half), half - 1)
    return (clipped - zero_point) * scale, np.where(clipped == q, grad, 0)


def fake_quantize_by_detach(x, scale, zero_point, bits, grad):
    x = torch.tensor(x, requires_grad=True)
    steps = x / scale
    q = steps + (torch.round(steps) - steps).detach() + zero_point
    half = 2 ** (bits - 1)
    # Adding and taking away leaves a rounding error at the ends: allow for it.
    inside = ((q > -half - 0.5) & (q < half - 0.5)).detach()
    q = torch.where(inside, q, q.detach().clamp(-half, half - 1))
    value = scale * (q - zero_point)
    value.backward(torch.from_numpy(grad))
    return value, x.grad


def fake_quantize_by_autograd(x, scale, zero_point, bits, grad):
    half = 2 ** (bits - 1)

    class Straight(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            q = torch.round(x / scale) + zero_point
            ctx.save_for_backward((q >= -half) & (q < half))
            return scale * (q.clamp(-half, half - 1) - zero_point)

        @staticmethod
        def backward(ctx, grad):
            return grad * ctx.saved_tensors[0]

    x = torch.tensor(x, requires_grad=True)
    value = Straight.apply(x)
    value.backward(torch.tensor(grad))
    return value, x.grad


def fake_quantize_with_clamped_zero(x, scale, zero_point, bits, grad):
    lowest = -(2 ** (bits - 1)) - zero_point
    highest = 2 ** (bits - 1) - 1 - zero_point
    steps = np.round(x / scale)
    outside = (steps < lowest) | (steps > highest)
    passed = grad.copy()
    passed[outside] = 0
    return scale * steps.clip(lowest, highest), passed


def fake_quantize_one_at_a_time(x, scale, zero_point, bits, grad):
    value, passed = np.zeros(x.shape), np.zeros(x.shape)
    for place, number in np.ndenumerate(x):
        q = round(number / scale) + zero_point
        if q < -(2 ** (bits - 1)):
            q = -(2 ** (bits - 1))
        elif q > 2 ** (bits - 1) - 1:
            q = 2 ** (bits - 1) - 1
        else:
            passed[place] = grad[place]
        value[place] = scale * (q - zero_point)
    return [value, passed]


def fold_and_quantize_by_reshaping(weight, norm, eps, bits):
    gamma, beta, mean, variance = norm
    factor = gamma / np.sqrt(variance + eps)
    folded = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    highest = 2 ** (bits - 1) - 1
    scale = np.abs(folded).max() / highest
    q = np.clip(np.round(folded / scale), -highest, highest)
    return q * scale, beta - factor * mean


def fold_and_quantize_by_torch(weight, norm, eps, bits):
    gamma, beta, mean, variance = (torch.from_numpy(v) for v in norm)
    factor = gamma * torch.rsqrt(variance + eps)
    folded = torch.einsum("o...,o->o...", torch.from_numpy(weight), factor)
    scale = folded.abs().max() / (2 ** (bits - 1) - 1)
    return scale * torch.round(folded / scale), torch.addcmul(
        beta, mean, factor, value=-1
    )


def fold_and_quantize_by_loop(weight, norm, eps, bits):
    folded, bias = np.empty(weight.shape), []
    for i, (g, b, m, v) in enumerate(zip(*norm, strict=True)):
        factor = g / math.sqrt(v + eps)
        folded[i] = weight[i] * factor
        bias.append(b - m * factor)
    scale = max(folded.max(), -folded.min()) / (2 ** (bits - 1) - 1)
    return np.rint(folded / scale) * scale, bias


def fold_and_quantize_by_einsum(weight, norm, eps, bits):
    factor = norm[0] * (norm[3] + eps) ** -0.5
    folded = np.einsum("i...,i->i...", weight, factor)
    steps = folded * (2 ** (bits - 1) - 1) / np.max(np.abs(folded))
    return np.round(steps) * np.max(np.abs(folded)) / (2 ** (bits - 1) - 1), norm[
        1
    ] - norm[2] * factor


def fold_and_quantize_by_matrix(weight, norm, eps, bits):
    factor = np.diag(norm[0] / np.sqrt(norm[3] + eps))
    folded = np.tensordot(factor, weight, axes=1)
    scale = np.linalg.norm(folded.ravel(), np.inf) / (2 ** (bits - 1) - 1)
    return scale * np.round(folded / scale), norm[1] - factor @ norm[2]


def gptq_round_by_dropping_rows(weight, hessian, scale):
    weight, inverse = weight.copy(), np.linalg.inv(hessian)
    for j in range(weight.shape[1]):
        rounded = scale * np.round(weight[:, j] / scale)
        error = (weight[:, j] - rounded) / inverse[j, j]
        weight[:, j:] -= np.outer(error, inverse[j, j:])
        weight[:, j] = rounded
        inverse = inverse - np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
    return weight


def gptq_round_by_cholesky(weight, hessian, scale):
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
    left, result = weight.copy(), np.zeros(weight.shape)
    for j in range(weight.shape[1]):
        result[:, j] = scale * np.round(left[:, j] / scale)
        error = (left[:, j] - result[:, j]) / upper[j, j]
        left[:, j:] -= np.outer(error, upper[j, j:])
    return result


def gptq_round_by_inverses(weight, hessian, scale):
    weight = np.array(weight)
    for j in range(len(hessian)):
        inverse = np.linalg.inv(hessian[j:, j:])
        rounded = np.rint(weight[:, j] / scale) * scale
        gap = weight[:, j] - rounded
        weight[:, j:] -= gap[:, None] * inverse[0] / inverse[0, 0]
        weight[:, j] = rounded
    return weight


def gptq_round_row_by_row(weight, hessian, scale):
    rows = []
    for row, step in zip(weight.tolist(), scale.tolist(), strict=True):
        row = np.array(row)
        for j in range(len(row)):
            rounded = step * round(row[j] / step)
            free = slice(j + 1, None)
            move = np.linalg.pinv(hessian[free, free]) @ hessian[free, j]
            row[free] += (row[j] - rounded) * move
            row[j] = rounded
        rows.append(row)
    return np.array(rows)


def gptq_round_from_the_start(weight, hessian, scale):
    result = weight.copy()
    for j in range(len(hessian)):
        # The best that column j can be, given all the columns rounded so far.
        fixed = result[:, :j] - weight[:, :j]
        free = np.linalg.solve(hessian[j:, j:], hessian[j:, :j] @ fixed.T).T
        result[:, j] = scale * np.round((weight[:, j] - free[:, 0]) / scale)
    return result


def gptq_round_by_torch(weight, hessian, scale):
    weight, hessian = torch.tensor(weight), torch.from_numpy(hessian)
    scale = torch.from_numpy(scale)
    for j in range(len(hessian)):
        rounded = scale * torch.round(weight[:, j] / scale)
        error = rounded - weight[:, j]
        weight[:, j] = rounded
        if j + 1 < len(hessian):
            move = torch.linalg.solve(hessian[j + 1 :, j + 1 :], hessian[j + 1 :, j])
            weight[:, j + 1 :] -= torch.outer(error, move)
    return weight


def _by_sorting(symbols):
    counts, total = sorted(Counter(symbols).values()), 0
    if len(counts) == 1:
        return counts[0]
    while len(counts) > 1:
        a, b, *rest = counts
        counts, total = sorted([a + b, *rest]), total + a + b
    return total


def compressed_bits_by_sorting(codes, n_values):
    values = [int(c) for c in codes if c]
    places = [-1, *[i for i, c in enumerate(codes) if c]]
    gaps = [b - a for a, b in pairwise(places)]
    return _by_sorting(values) + _by_sorting(gaps) + 32 * n_values


def _lengths(symbols):
    """The length of each symbol's code, as a tree is built."""
    heap = [(n, i, [s]) for i, (s, n) in enumerate(Counter(symbols).items())]
    lengths = dict.fromkeys(symbols, 1 if len(heap) == 1 else 0)
    heapq.heapify(heap)
    tie = len(heap)
    while len(heap) > 1:
        n, _, some = heapq.heappop(heap)
        m, _, others = heapq.heappop(heap)
        for s in some + others:
            lengths[s] += 1
        heapq.heappush(heap, (n + m, tie, some + others))
        tie += 1
    return lengths


def compressed_bits_by_a_tree(codes, n_values):
    total, places = n_values * 32, np.nonzero(codes)[0]
    for symbols in (codes[codes > 0].tolist(), np.diff([-1, *places]).tolist()):
        lengths = _lengths(symbols)
        total += sum(lengths[s] for s in symbols)
    return total


def compressed_bits_by_two_queues(codes, n_values):
    def bits(symbols):
        _, leaves = np.unique(symbols, return_counts=True)
        leaves, joined, total = sorted(leaves.tolist()), [], 0
        if len(leaves) == 1:
            return leaves[0]
        for _ in range(len(leaves) - 1):
            pair = []
            for _ in range(2):
                take = not joined or (leaves and leaves[0] <= joined[0])
                pair.append((leaves if take else joined).pop(0))
            joined.append(sum(pair))
            total += sum(pair)
        return total

    kept = np.flatnonzero(codes)
    gaps = np.ediff1d(kept, to_begin=kept[:1] + 1)
    return bits(codes[kept]) + bits(gaps) + 32 * n_values


def compressed_bits_walking(codes, n_values):
    values, gaps, gap = [], [], 0
    for code in codes.tolist():
        gap += 1
        if code:
            values.append(code)
            gaps.append(gap)
            gap = 0
    total = 32.0 * n_values
    for symbols in (values, gaps):
        total += sum(_lengths(symbols)[s] for s in symbols)
    return total


def compressed_bits_by_torch(codes, n_values):
    places = torch.from_numpy(codes).nonzero().flatten()
    gaps = torch.diff(places, prepend=torch.tensor([-1]))
    values = torch.from_numpy(codes)[places]
    bits = _by_sorting(values.tolist()) + _by_sorting(gaps.tolist())
    return torch.tensor(bits + 32 * n_values)


def quantized_report_of_the_stored(X, labels, weight, bias, bits):
    q, scale = quantize_per_channel_by_loop(weight, bits)
    logits = X @ (q * np.array(scale)[:, None]).T + bias
    accuracy = np.mean(logits.argmax(axis=1) == labels)
    return accuracy, bits * weight.size + 32 * len(scale) + 32 * len(bias)


def quantized_report_by_torch(X, labels, weight, bias, bits):
    q, scale = quantize_per_channel_by_torch(weight, bits)
    stored = torch.from_numpy(bias)
    logits = torch.nn.functional.linear(torch.from_numpy(X), q * scale[:, None], stored)
    accuracy = (logits.argmax(1).numpy() == labels).mean()
    return accuracy, q.numel() * bits + 32 * (scale.numel() + stored.numel())


def quantized_report_one_example_at_a_time(X, labels, weight, bias, bits):
    q, scale = quantize_per_channel_by_keepdims(weight, bits)
    hits = 0
    for x, label in zip(X, labels, strict=True):
        hits += int(np.argmax(scale * (q @ x) + bias) == label)
    return hits / len(X), weight.size * bits + 64 * len(weight)


def quantized_report_by_counting(X, labels, weight, bias, bits):
    q, scale = quantize_per_channel_by_transposing(weight, bits)
    predicted = np.argmax(np.einsum("nd,cd,c->nc", X, q, scale) + bias, axis=1)
    n_bits = sum(n * b for n, b in ((q.size, bits), (scale.size + bias.size, 32)))
    return np.count_nonzero(predicted == labels) / len(labels), float(n_bits)


def quantized_report_with_bias_as_a_column(X, labels, weight, bias, bits):
    q, scale = quantize_per_channel_with_a_clamp(weight, bits)
    stored = np.column_stack([scale[:, None] * q, bias])
    logits = np.column_stack([X, np.ones(len(X))]) @ stored.T
    return 1 - np.mean(logits.argmax(1) != labels), q.size * bits + 32 * 2 * len(bias)


ALTERNATIVES = {
    "scale_and_zero_point": [
        scale_and_zero_point_by_conditions,
        scale_and_zero_point_from_above,
        scale_and_zero_point_by_torch,
        scale_and_zero_point_in_fractions,
        scale_and_zero_point_by_sorting,
    ],
    "quantize": [
        quantize_by_minimum,
        quantize_by_torch,
        quantize_in_floats,
        quantize_one_at_a_time,
        quantize_by_adding_one_half,
    ],
    "quantize_per_channel": [
        quantize_per_channel_by_loop,
        quantize_per_channel_by_keepdims,
        quantize_per_channel_by_torch,
        quantize_per_channel_by_transposing,
        quantize_per_channel_with_a_clamp,
    ],
    "int_linear": [
        int_linear_in_python,
        int_linear_with_sums_of_weights,
        int_linear_by_torch,
        int_linear_by_floor,
        int_linear_by_einsum,
    ],
    "unpack_int4": [
        unpack_int4_by_xor,
        unpack_int4_by_shifts,
        unpack_int4_in_python,
        unpack_int4_by_table,
        unpack_int4_by_torch,
    ],
    "binarize": [
        binarize_by_loop,
        binarize_by_torch,
        binarize_by_copysign,
        binarize_by_transposing,
        binarize_by_sign_and_zero,
    ],
    "bits_needed": [
        bits_needed_by_while,
        bits_needed_by_next,
        bits_needed_by_mean_squares,
        bits_needed_by_torch,
        bits_needed_by_recursion,
    ],
    "allocate_bits": [
        allocate_bits_by_min,
        allocate_bits_by_dynamic_programming,
        allocate_bits_by_recursion,
        allocate_bits_by_arrays,
        allocate_bits_by_torch,
    ],
    "fake_quantize": [
        fake_quantize_by_where,
        fake_quantize_by_detach,
        fake_quantize_by_autograd,
        fake_quantize_with_clamped_zero,
        fake_quantize_one_at_a_time,
    ],
    "fold_and_quantize": [
        fold_and_quantize_by_reshaping,
        fold_and_quantize_by_torch,
        fold_and_quantize_by_loop,
        fold_and_quantize_by_einsum,
        fold_and_quantize_by_matrix,
    ],
    "gptq_round": [
        gptq_round_by_dropping_rows,
        gptq_round_by_cholesky,
        gptq_round_by_inverses,
        gptq_round_row_by_row,
        gptq_round_from_the_start,
        gptq_round_by_torch,
    ],
    "compressed_bits": [
        compressed_bits_by_sorting,
        compressed_bits_by_a_tree,
        compressed_bits_by_two_queues,
        compressed_bits_walking,
        compressed_bits_by_torch,
    ],
    "quantized_report": [
        quantized_report_of_the_stored,
        quantized_report_by_torch,
        quantized_report_one_example_at_a_time,
        quantized_report_by_counting,
        quantized_report_with_bias_as_a_column,
    ],
    "longest_int8_sum": ["b", "B", "(b)", " b ", "b."],
    "smoothed_outlier": ["a", "A", "(a)", " a ", "a."],
    "mixed_by_name": ["c", "C", "(c)", " c ", "c."],
}
