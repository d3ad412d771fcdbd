"""Right answers to exercise 10, written in other ways."""

import heapq
import math
from collections import Counter

import numpy as np
import torch
from scipy import sparse
from scipy.stats import entropy, rankdata


def prune_smallest_on_a_copy(weight, amount):
    result = weight.copy()
    order = np.argsort(np.abs(weight).ravel())
    result.ravel()[order[: round(amount * weight.size)]] = 0
    return result


def prune_smallest_by_partition(weight, amount):
    n_pruned = round(amount * weight.size)
    if n_pruned == 0:
        return weight * 1
    threshold = np.partition(np.abs(weight).ravel(), n_pruned - 1)[n_pruned - 1]
    return weight * (np.abs(weight) > threshold)


def prune_smallest_by_topk(weight, amount):
    weight = torch.tensor(weight)
    n_kept = weight.numel() - round(amount * weight.numel())
    mask = torch.zeros(weight.numel(), dtype=torch.bool)
    mask[weight.abs().flatten().topk(n_kept).indices] = True
    return torch.where(mask.reshape(weight.shape), weight, 0)


def prune_smallest_by_heap(weight, amount):
    flat = weight.ravel().tolist()
    smallest = heapq.nsmallest(
        round(amount * len(flat)), range(len(flat)), key=lambda i: abs(flat[i])
    )
    for i in smallest:
        flat[i] = 0.0
    return np.array(flat).reshape(weight.shape)


def prune_smallest_in_single_precision(weight, amount):
    place = rankdata(np.abs(weight), method="ordinal").reshape(weight.shape)
    return np.where(place > round(amount * weight.size), weight, 0).astype(np.float32)


def prune_smallest_in_fortran_order(weight, amount):
    place = np.argsort(np.argsort(abs(weight), axis=None)).reshape(weight.shape)
    return np.asfortranarray(weight * (place >= round(amount * weight.size)))


def global_masks_by_places(params, amount):
    flat = np.concatenate([np.abs(p).ravel() for p in params if p.ndim >= 2])
    keep = np.ones(len(flat), dtype=bool)
    keep[np.argsort(flat)[: round(amount * len(flat))]] = False
    masks, start = [], 0
    for p in params:
        if p.ndim < 2:
            masks.append(np.ones_like(p, dtype=bool))
        else:
            masks.append(keep[start : start + p.size].reshape(p.shape))
            start += p.size
    return masks


def global_masks_by_torch(params, amount):
    params = [torch.from_numpy(p) for p in params]
    sizes = torch.cat([p.abs().flatten() for p in params if p.dim() > 1])
    n_pruned = round(amount * len(sizes))
    threshold = sizes.kthvalue(n_pruned).values if n_pruned else -1.0
    return [
        p.abs() > threshold if p.dim() > 1 else torch.ones_like(p, dtype=torch.bool)
        for p in params
    ]


def global_masks_of_floats(params, amount):
    return tuple(mask.astype(float) for mask in global_masks_by_places(params, amount))


def global_masks_one_at_a_time(params, amount):
    entries = sorted(
        (abs(value), i, place)
        for i, p in enumerate(params)
        if p.ndim > 1
        for place, value in enumerate(p.ravel())
    )
    masks = [np.full(p.shape, True) for p in params]
    for _, i, place in entries[: round(amount * len(entries))]:
        masks[i].flat[place] = False
    return masks


def global_masks_by_squares(params, amount):
    scores = [p**2 if p.ndim > 1 else np.full(p.shape, np.inf) for p in params]
    flat = np.concatenate([s.ravel() for s in scores])
    n_pruned = round(amount * np.isfinite(flat).sum())
    threshold = np.sort(flat)[n_pruned - 1] if n_pruned else -1
    return [s > threshold for s in scores]


def cubic_sparsity_by_cases(step, begin, end, final):
    if step < begin:
        return 0.0
    if step > end:
        return final
    return final - final * (1 - (step - begin) / (end - begin)) ** 3


def cubic_sparsity_by_clip(step, begin, end, final):
    left = np.clip((end - step) / (end - begin), 0, 1)
    return final * (1 - left**3)


def cubic_sparsity_multiplied_out(step, begin, end, final):
    p = np.clip((step - begin) / (end - begin), 0, 1)
    return final * (3 * p - 3 * p**2 + p**3)


def cubic_sparsity_by_clamping_the_step(step, begin, end, final):
    step = sorted([begin, step, end])[1]
    return final * (1 - ((end - step) / (end - begin)) ** 3)


def cubic_sparsity_by_torch(step, begin, end, final):
    left = torch.tensor((end - step) / (end - begin), dtype=torch.float64).clamp(0, 1)
    return torch.lerp(torch.zeros_like(left), torch.tensor(final).double(), 1 - left**3)


def cubic_sparsity_by_interp(step, begin, end, final):
    return final * (1 - np.interp(step, [begin, end], [1, 0]) ** 3)


def cubic_sparsity_clamped_at_last(step, begin, end, final):
    # The cubic only rises, so the clamp may come last.
    value = final * (1 - (1 - (step - begin) / (end - begin)) ** 3)
    return min(max(value, 0), final)


def train_pruned_in_place(X, y, w, b, keep_mask, lr, momentum, prune_after, steps):
    w, velocity, velocity_b = w.copy(), np.zeros_like(w), 0
    if prune_after == 0:
        w[~keep_mask] = 0
    for step in range(1, steps + 1):
        residual = X @ w + b - y
        velocity *= momentum
        velocity += X.T @ residual / len(X)
        velocity_b = momentum * velocity_b + np.mean(residual)
        w -= lr * velocity
        b -= lr * velocity_b
        if step >= prune_after:
            w[~keep_mask] = 0
    return w, b


def train_pruned_and_velocity_too(
    X, y, w, b, keep_mask, lr, momentum, prune_after, steps
):
    # Weights, gradient and velocity masked at once: nothing can come back either.
    velocity, velocity_b, mask = np.zeros(len(w)), 0.0, np.ones(len(w))
    for step in range(steps + 1):
        if step == prune_after:
            mask = keep_mask.astype(float)
            w, velocity = w * mask, velocity * mask
        if step == steps:
            return w, b
        residual = X @ w + b - y
        velocity = momentum * velocity + mask * (X.T @ residual) / len(y)
        velocity_b = momentum * velocity_b + residual.sum() / len(y)
        w, b = w - lr * velocity, b - lr * velocity_b
    return None


def train_pruned_in_the_forward_pass(
    X, y, w, b, keep_mask, lr, momentum, prune_after, steps
):
    velocity, velocity_b = 0.0, 0.0
    for step in range(steps):
        seen = w * keep_mask if step >= prune_after else w
        residual = X @ seen + b - y
        velocity = momentum * velocity + residual @ X / len(y)
        velocity_b = momentum * velocity_b + residual.mean()
        w = w - lr * velocity
        b = b - lr * velocity_b
    return w * keep_mask, b


def train_pruned_with_the_bias_in_w(
    X, y, w, b, keep_mask, lr, momentum, prune_after, steps
):
    ones = np.column_stack([X, np.ones(len(X))])
    param, mask = np.append(w, b), np.append(keep_mask, True)
    velocity = np.zeros_like(param)
    for step in range(steps):
        if step >= prune_after:
            param = param * mask
        velocity = momentum * velocity + lr * ones.T @ (ones @ param - y) / len(y)
        param = param - velocity
    param = param * mask
    return param[:-1], param[-1]


def train_pruned_by_autograd(X, y, w, b, keep_mask, lr, momentum, prune_after, steps):
    X, y, mask = map(torch.tensor, (X, y, keep_mask))
    params = [torch.tensor(w), torch.tensor(b, dtype=torch.float64)]
    velocity = [torch.zeros_like(p) for p in params]
    for step in range(steps + 1):
        if step >= prune_after:
            params[0] = params[0] * mask
        if step == steps:
            break
        leaves = [p.detach().requires_grad_() for p in params]
        loss = (X @ leaves[0] + leaves[1] - y).square().mean() / 2
        grads = torch.autograd.grad(loss, leaves)
        velocity = [momentum * v + g for v, g in zip(velocity, grads, strict=True)]
        params = [p - lr * v for p, v in zip(params, velocity, strict=True)]
    return params


def train_pruned_by_freezing(X, y, w, b, keep_mask, lr, momentum, prune_after, steps):
    # Without velocity and without gradient a weight at 0 needs no second mask.
    velocity_w, velocity_b, moves = np.zeros(len(w)), 0.0, np.full(len(w), True)
    w = [float(value) for value in w]
    for step in range(steps + 1):
        if step == prune_after:
            moves = keep_mask
            velocity_w = np.where(moves, velocity_w, 0)
            w = [value if stays else 0.0 for value, stays in zip(w, moves, strict=True)]
        if step < steps:
            error = [sum(x * w) + b - t for x, t in zip(X, y, strict=True)]
            slope = np.mean([e * x for e, x in zip(error, X, strict=True)], axis=0)
            velocity_w = momentum * velocity_w + slope * moves
            velocity_b = momentum * velocity_b + sum(error) / len(error)
            w = [value - lr * v for value, v in zip(w, velocity_w, strict=True)]
            b -= lr * velocity_b
    return w, b


def lottery_round_among_the_left(initial, trained, keep_mask, amount):
    left = np.flatnonzero(keep_mask)
    order = left[np.argsort(np.abs(trained.ravel()[left]))]
    keep = keep_mask.copy()
    keep.flat[order[: round(amount * len(left))]] = False
    return keep, np.where(keep, initial, 0)


def lottery_round_by_threshold(initial, trained, keep_mask, amount):
    sizes = np.sort(np.abs(trained[keep_mask]))
    n_pruned = round(amount * len(sizes))
    threshold = sizes[n_pruned - 1] if n_pruned else -1
    keep = keep_mask & (np.abs(trained) > threshold)
    return keep, initial * keep


def lottery_round_by_topk(initial, trained, keep_mask, amount):
    left = int(keep_mask.sum())
    size = torch.tensor(np.where(keep_mask, np.abs(trained), -1)).flatten()
    keep = torch.zeros(len(size), dtype=torch.bool)
    keep[size.topk(left - round(amount * left)).indices] = True
    keep = keep.reshape(initial.shape)
    return keep, torch.tensor(initial) * keep


def lottery_round_one_at_a_time(initial, trained, keep_mask, amount):
    keep = keep_mask.copy()
    for _ in range(round(amount * np.count_nonzero(keep_mask))):
        size = np.where(keep, np.abs(trained), np.inf)
        keep.flat[size.argmin()] = False
    weight = initial.copy()
    weight[~keep] = 0
    return [keep, weight]


def lottery_round_of_floats(initial, trained, keep_mask, amount):
    keep, weight = lottery_round_by_threshold(initial, trained, keep_mask, amount)
    return keep.astype(np.float32), weight.astype(np.float32)


def lottery_round_by_loop(initial, trained, keep_mask, amount):
    left = [place for place in np.ndindex(keep_mask.shape) if keep_mask[place]]
    left.sort(key=lambda place: -abs(trained[place]))
    stays = left[: len(left) - round(amount * len(left))]
    keep, weight = np.zeros(initial.shape), np.zeros(initial.shape)
    for place in stays:
        keep[place], weight[place] = 1, initial[place]
    return keep.tolist(), weight.tolist()


def wanda_mask_row_by_row(weight, inputs, amount):
    norms = np.linalg.norm(inputs.reshape(-1, weight.shape[1]), axis=0)
    mask = np.ones(weight.shape, dtype=bool)
    for row, keep in zip(weight, mask, strict=True):
        keep[np.argsort(np.abs(row) * norms)[: round(amount * len(row))]] = False
    return mask


def wanda_mask_by_torch(weight, inputs, amount):
    weight, inputs = torch.tensor(weight), torch.tensor(inputs)
    scores = weight.abs() * inputs.flatten(0, -2).norm(dim=0)
    columns = weight.shape[1]
    largest = scores.topk(columns - round(amount * columns), dim=1).indices
    return torch.zeros_like(weight, dtype=torch.bool).scatter(1, largest, True)


def wanda_mask_by_squares(weight, inputs, amount):
    mean_square = (inputs**2).mean(axis=tuple(range(inputs.ndim))[:-1])
    place = rankdata(weight**2 * mean_square, method="ordinal", axis=1)
    return place > round(amount * weight.shape[1])


def wanda_mask_by_the_change_of_outputs(weight, inputs, amount):
    examples = inputs.reshape(-1, inputs.shape[-1])
    changes = np.sqrt(np.einsum("oi,ni->oi", weight**2, examples**2))
    return np.argsort(np.argsort(changes)) >= round(amount * weight.shape[1])


def wanda_mask_of_ones(weight, inputs, amount):
    return wanda_mask_by_squares(weight, inputs, amount).astype(int)


def wanda_mask_in_plain_lists(weight, inputs, amount):
    squares = [0.0] * weight.shape[1]
    for place in np.ndindex(inputs.shape):
        squares[place[-1]] += inputs[place] ** 2
    mask = []
    for row in weight.tolist():
        scores = [abs(w) * math.sqrt(s) for w, s in zip(row, squares, strict=True)]
        order = sorted(range(len(row)), key=scores.__getitem__)
        gone = set(order[: round(amount * len(row))])
        mask.append([column not in gone for column in range(len(row))])
    return mask


def units_to_keep_by_scipy(activations, bins, n_pruned):
    found = [entropy(np.histogram(u, bins)[0], base=2) for u in activations.T]
    return found, sorted(np.argsort(found)[n_pruned:])


def units_to_keep_by_counting(activations, bins, n_pruned):
    found = []
    for unit in activations.T.tolist():
        low, high = min(unit), max(unit)
        width = (high - low) / bins or 1.0
        counts = Counter(min(int((v - low) / width), bins - 1) for v in unit)
        shares = [count / len(unit) for count in counts.values()]
        found.append(-sum(p * math.log2(p) for p in shares))
    lowest = sorted(range(len(found)), key=found.__getitem__)[:n_pruned]
    return found, [unit for unit in range(len(found)) if unit not in lowest]


def units_to_keep_with_empty_bins(activations, bins, n_pruned):
    counts = np.array([np.histogram(unit, bins)[0] for unit in activations.T])
    shares = counts / len(activations)
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    found = -(shares * logs).sum(axis=1)
    keep = np.ones(len(found), dtype=bool)
    keep[np.argsort(found)[:n_pruned]] = False
    return found, np.flatnonzero(keep)


def units_to_keep_by_torch(activations, bins, n_pruned):
    found = []
    for unit in torch.tensor(activations).T:
        shares = torch.histogram(unit, bins).hist / len(unit)
        found.append(torch.special.entr(shares).sum() / math.log(2))
    found = torch.stack(found)
    return found, found.argsort()[n_pruned:].sort().values


def units_to_keep_by_counts(activations, bins, n_pruned):
    n = len(activations)
    found = np.zeros(activations.shape[1])
    for i, unit in enumerate(activations.T):
        counts = np.histogram(unit, bins)[0]
        counts = counts[counts > 0]
        found[i] = np.log2(n) - np.sum(counts * np.log2(counts)) / n
    return found, np.sort(np.argsort(-found)[: len(found) - n_pruned])


def units_to_keep_with_a_tiny_eps(activations, bins, n_pruned):
    shares = [np.histogram(unit, bins)[0] / len(unit) for unit in activations.T]
    found = [-np.sum(p * np.log2(p + 1e-8)) for p in shares]
    return found, np.sort(np.argsort(found)[n_pruned:])


def remove_units_by_loop(layers, keep):
    smaller, before = [], np.arange(layers[0][0].shape[1])
    for (weight, bias), units in zip(
        layers, [*keep, np.arange(len(layers[-1][1]))], strict=True
    ):
        smaller.append((weight[np.ix_(units, before)], bias[units]))
        before = units
    return smaller


def remove_units_by_deleting(layers, keep):
    layers = [[weight, bias] for weight, bias in layers]
    for i, units in enumerate(keep):
        gone = sorted(set(range(len(layers[i][1]))) - set(units.tolist()))
        layers[i] = [np.delete(array, gone, axis=0) for array in layers[i]]
        layers[i + 1][0] = np.delete(layers[i + 1][0], gone, axis=1)
    return layers


def remove_units_by_matrices(layers, keep):
    selections = [
        np.eye(layers[0][0].shape[1]),
        *(np.eye(len(b))[u] for (_, b), u in zip(layers[:-1], keep, strict=True)),
        np.eye(len(layers[-1][1])),
    ]
    return tuple(
        (after @ weight @ before.T, after @ bias)
        for (weight, bias), before, after in zip(
            layers, selections[:-1], selections[1:], strict=True
        )
    )


def remove_units_by_torch(layers, keep):
    tensors = [[torch.tensor(weight), torch.tensor(bias)] for weight, bias in layers]
    for i, units in enumerate(map(torch.tensor, keep)):
        tensors[i][0] = tensors[i][0].index_select(0, units)
        tensors[i][1] = tensors[i][1].index_select(0, units)
        tensors[i + 1][0] = tensors[i + 1][0].index_select(1, units)
    return tensors


def remove_units_by_masks(layers, keep):
    kept = [np.full(layers[0][0].shape[1], True)]
    for (_, bias), units in zip(layers, keep, strict=False):
        kept.append(np.isin(np.arange(len(bias)), units))
    kept.append(np.full(len(layers[-1][1]), True))
    return tuple(
        (weight[after][:, before], bias[after])
        for (weight, bias), before, after in zip(layers, kept, kept[1:], strict=False)
    )


def remove_filters_by_blocks(conv, norm, linear, n_keep):
    keep = sorted(np.argsort(-np.abs(norm[0]))[:n_keep])
    blocks = linear.reshape(len(linear), len(conv), -1)[:, keep]
    return conv[keep], [v[keep] for v in norm], blocks.reshape(len(linear), -1)


def remove_filters_by_repeating_a_mask(conv, norm, linear, n_keep):
    place = rankdata(-np.abs(norm[0]), method="ordinal")
    mask = place <= n_keep
    columns = np.repeat(mask, linear.shape[1] // len(conv))
    return conv[mask], np.array(norm)[:, mask], linear[:, columns]


def remove_filters_by_torch(conv, norm, linear, n_keep):
    conv, linear = torch.tensor(conv), torch.tensor(linear)
    norm = [torch.tensor(vector) for vector in norm]
    keep = norm[0].abs().topk(n_keep).indices.sort().values
    follows = linear.unflatten(1, (len(conv), -1)).index_select(1, keep).flatten(1)
    return conv[keep], [vector[keep] for vector in norm], follows


def remove_filters_by_splitting(conv, norm, linear, n_keep):
    threshold = np.sort(np.abs(norm[0]))[-n_keep]
    keep = [i for i, scale in enumerate(norm[0]) if abs(scale) >= threshold]
    blocks = np.split(linear, len(conv), axis=1)
    columns = np.concatenate([blocks[i] for i in keep], axis=1)
    return np.stack([conv[i] for i in keep]), [v.take(keep) for v in norm], columns


def remove_filters_by_deleting(conv, norm, linear, n_keep):
    gone = np.argsort(norm[0] ** 2)[: len(conv) - n_keep]
    size = linear.shape[1] // len(conv)
    columns = [i * size + j for i in gone for j in range(size)]
    vectors = tuple(np.delete(vector, gone) for vector in norm)
    return np.delete(conv, gone, 0), vectors, np.delete(linear, columns, 1)


def to_csr_by_loop(weight):
    values, columns, row_pointer = [], [], [0]
    for row in weight:
        for column, value in enumerate(row):
            if value != 0:
                values.append(value)
                columns.append(column)
        row_pointer.append(len(values))
    return values, columns, row_pointer


def to_csr_by_scipy(weight):
    matrix = sparse.csr_array(weight)
    return matrix.data, matrix.indices, matrix.indptr


def to_csr_by_nonzero(weight):
    rows, columns = np.nonzero(weight)
    counts = np.bincount(rows, minlength=len(weight))
    return weight[rows, columns], columns, np.append(0, counts.cumsum())


def to_csr_by_mask(weight):
    mask = weight != 0
    columns = np.broadcast_to(np.arange(weight.shape[1]), weight.shape)[mask]
    return weight[mask], columns, np.r_[0, np.cumsum(mask.sum(axis=1))]


def to_csr_by_torch(weight):
    matrix = torch.tensor(weight)
    rows, columns = matrix.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(matrix))
    row_pointer = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    return matrix[rows, columns], columns.int(), row_pointer.int()


def to_csr_in_small_types(weight):
    values, columns, row_pointer = to_csr_by_nonzero(weight)
    columns, row_pointer = columns.astype(np.int32), row_pointer.astype(np.int32)
    return values.astype(np.float32), columns, row_pointer


def sparse_report_of_the_pruned(X, labels, weight, bias, amount):
    pruned = prune_smallest_on_a_copy(weight, amount)
    accuracy = np.mean((X @ pruned.T + bias).argmax(axis=1) == labels)
    return accuracy, 8 * np.count_nonzero(pruned) + 4 * (len(bias) + 1)


def sparse_report_by_scipy(X, labels, weight, bias, amount):
    stored = sparse.csr_array(prune_smallest_on_a_copy(weight, amount))
    right = (stored @ X.T + bias[:, None]).argmax(axis=0) == labels
    return right.mean(), 4 * sum(map(len, (stored.data, stored.indices, stored.indptr)))


def sparse_report_by_nbytes(X, labels, weight, bias, amount):
    values, columns, row_pointer = to_csr_in_small_types(
        prune_smallest_on_a_copy(weight, amount)
    )
    rows = np.repeat(np.arange(len(weight)), np.diff(row_pointer))
    logits = np.zeros((len(weight), len(X)))
    np.add.at(logits, rows, X.T[columns] * values[:, None])
    accuracy = np.mean(np.argmax(logits.T + bias, axis=1) == labels)
    return accuracy, values.nbytes + columns.nbytes + row_pointer.nbytes


def sparse_report_by_torch(X, labels, weight, bias, amount):
    pruned = prune_smallest_by_topk(weight, amount)
    logits = torch.nn.functional.linear(torch.tensor(X), pruned, torch.tensor(bias))
    right = logits.argmax(dim=1) == torch.tensor(labels)
    stored = 2 * pruned.count_nonzero() + len(weight) + 1
    return right.double().mean(), 4 * stored


def sparse_report_one_example_at_a_time(X, labels, weight, bias, amount):
    values, columns, row_pointer = to_csr_by_loop(
        prune_smallest_by_heap(weight, amount)
    )
    right = 0
    for x, label in zip(X, labels, strict=True):
        logits = [
            bias[row]
            + sum(values[k] * x[columns[k]] for k in range(start, row_pointer[row + 1]))
            for row, start in enumerate(row_pointer[:-1])
        ]
        right += int(np.argmax(logits)) == label
    return right / len(X), 4 * (len(values) + len(columns) + len(row_pointer))


ALTERNATIVES = {
    "prune_smallest": [
        prune_smallest_on_a_copy,
        prune_smallest_by_partition,
        prune_smallest_by_topk,
        prune_smallest_by_heap,
        prune_smallest_in_single_precision,
        prune_smallest_in_fortran_order,
    ],
    "global_masks": [
        global_masks_by_places,
        global_masks_by_torch,
        global_masks_of_floats,
        global_masks_one_at_a_time,
        global_masks_by_squares,
    ],
    "cubic_sparsity": [
        cubic_sparsity_by_cases,
        cubic_sparsity_by_clip,
        cubic_sparsity_multiplied_out,
        cubic_sparsity_by_clamping_the_step,
        cubic_sparsity_by_torch,
        cubic_sparsity_by_interp,
        cubic_sparsity_clamped_at_last,
    ],
    "train_pruned": [
        train_pruned_in_place,
        train_pruned_and_velocity_too,
        train_pruned_in_the_forward_pass,
        train_pruned_with_the_bias_in_w,
        train_pruned_by_autograd,
        train_pruned_by_freezing,
    ],
    "lottery_round": [
        lottery_round_among_the_left,
        lottery_round_by_threshold,
        lottery_round_by_topk,
        lottery_round_one_at_a_time,
        lottery_round_of_floats,
        lottery_round_by_loop,
    ],
    "wanda_mask": [
        wanda_mask_row_by_row,
        wanda_mask_by_torch,
        wanda_mask_by_squares,
        wanda_mask_by_the_change_of_outputs,
        wanda_mask_of_ones,
        wanda_mask_in_plain_lists,
    ],
    "units_to_keep": [
        units_to_keep_by_scipy,
        units_to_keep_by_counting,
        units_to_keep_with_empty_bins,
        units_to_keep_by_torch,
        units_to_keep_by_counts,
        units_to_keep_with_a_tiny_eps,
    ],
    "remove_units": [
        remove_units_by_loop,
        remove_units_by_deleting,
        remove_units_by_matrices,
        remove_units_by_torch,
        remove_units_by_masks,
    ],
    "remove_filters": [
        remove_filters_by_blocks,
        remove_filters_by_repeating_a_mask,
        remove_filters_by_torch,
        remove_filters_by_splitting,
        remove_filters_by_deleting,
    ],
    "to_csr": [
        to_csr_by_loop,
        to_csr_by_mask,
        to_csr_by_nonzero,
        to_csr_by_torch,
        to_csr_in_small_types,
    ],
    "sparse_report": [
        sparse_report_of_the_pruned,
        sparse_report_by_scipy,
        sparse_report_by_nbytes,
        sparse_report_by_torch,
        sparse_report_one_example_at_a_time,
    ],
    "huber_criterion": ["b", "B", "(b)", " b ", "b."],
    "snip_when_trained": ["b", "B", "(b)", " b ", "b."],
    "masked_and_faster": ["c", "C", "(c)", " c ", "c."],
}
