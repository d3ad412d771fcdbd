"""Exercise 14: right answers written in other ways."""

from fractions import Fraction
from itertools import accumulate, cycle, islice

import numpy as np
import torch


def grad(X, y, w):
    return X.T @ (X @ w - y) / len(y)


def batched(items, size):
    return [items[i : i + size] for i in range(0, len(items), size)]


def train_on_shards_joined(X_shards, y_shards, w, lr, steps):
    X, y = np.concatenate(X_shards), np.concatenate(y_shards)
    for _ in range(steps):
        w = w - lr * grad(X, y, w)
    return w


def train_on_shards_with_a_copy_each(X_shards, y_shards, w, lr, steps):
    copies = [w.copy() for _ in X_shards]
    for _ in range(steps):
        places = zip(X_shards, y_shards, copies, strict=True)
        total = sum(grad(*place) for place in places)
        for copy in copies:
            copy -= lr * total / len(copies)
    return copies[-1]


def train_on_shards_by_autograd(X_shards, y_shards, w, lr, steps):
    X, y = torch.tensor(np.stack(X_shards)), torch.tensor(np.stack(y_shards))
    w = torch.tensor(w, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        (((X @ w - y) ** 2).mean() / 2).backward()
        optimizer.step()
    return w.detach()


def train_on_shards_by_averaging_weights_each_step(X_shards, y_shards, w, lr, steps):
    for _ in range(steps):
        pairs = zip(X_shards, y_shards, strict=True)
        w = np.mean([w - lr * grad(X, y, w) for X, y in pairs], axis=0)
    return w


def train_on_shards_by_sums(X_shards, y_shards, w, lr, steps):
    A = sum(X.T @ X for X in X_shards)
    b = sum(X.T @ y for X, y in zip(X_shards, y_shards, strict=True))
    rows = sum(map(len, y_shards))
    for _ in range(steps):
        w = w - lr * (A @ w - b) / rows
    return w.tolist()


def threads_per_rank_by_if(cores, ranks, workers):
    threads = cores // ranks - workers
    return threads if threads > 1 else 1


def threads_per_rank_by_what_is_left(cores, ranks, workers):
    return max(1, (cores - ranks * workers) // ranks)


def threads_per_rank_by_counting(cores, ranks, workers):
    threads = 1
    while ranks * (threads + 1 + workers) <= cores:
        threads += 1
    return threads


def threads_per_rank_as_a_float(cores, ranks, workers):
    return float(np.maximum(np.floor(cores / ranks) - workers, 1))


def threads_per_rank_by_divmod(cores, ranks, workers):
    own, _ = divmod(cores, ranks)
    return sorted([1, own - workers])[-1]


def ring_all_reduce_in_two_loops(arrays):
    p = len(arrays)
    chunks = [np.array_split(a.copy(), p) for a in arrays]
    sent = np.zeros(p)
    for step in range(1, p):
        leaving = [chunks[r][(r - step) % p].copy() for r in range(p)]
        for r in range(p):
            sent[r] += leaving[r].nbytes
            chunks[r][(r - step - 1) % p] += leaving[r - 1]
    for step in range(p - 1):
        leaving = [chunks[r][(r - step) % p].copy() for r in range(p)]
        for r in range(p):
            sent[r] += leaving[r].nbytes
            chunks[r][(r - step - 1) % p][:] = leaving[r - 1]
    return [np.concatenate(c) for c in chunks], sent


def ring_all_reduce_by_what_is_not_sent(arrays):
    p = len(arrays)
    sizes = [chunk.nbytes for chunk in np.array_split(arrays[0], p)]
    total = sum(arrays)
    sent = [2 * sum(sizes) - sizes[r] - sizes[(r + 1) % p] for r in range(p)]
    return [total] * p, sent


def ring_all_reduce_chunk_by_chunk(arrays):
    p = len(arrays)
    results, sent = [a.copy() for a in arrays], [0] * p
    bounds = [len(c) for c in np.array_split(arrays[0], p)]
    starts = [0, *accumulate(bounds)]
    for c in range(p):
        span = slice(starts[c], starts[c + 1])
        walking = arrays[(c + 1) % p][span].copy()
        for hop in range(1, p):
            sent[(c + hop) % p] += walking.nbytes
            walking = walking + arrays[(c + hop + 1) % p][span]
        for hop in range(p):
            results[(c + hop) % p][span] = walking
            sent[(c + hop) % p] += walking.nbytes if hop < p - 1 else 0
    return results, sent


def ring_all_reduce_in_torch(arrays):
    p = len(arrays)
    chunks = [list(torch.from_numpy(a).tensor_split(p)) for a in arrays]
    sent = [0] * p
    for t in range(2 * p - 2):
        out = [chunks[r][(r - 1 - t) % p] for r in range(p)]
        for r in range(p):
            sent[r] += out[r].numel() * out[r].element_size()
            i = (r - 2 - t) % p
            chunks[r][i] = out[r - 1] + chunks[r][i] if t < p - 1 else out[r - 1]
    return [torch.cat(c) for c in chunks], sent


def ring_all_reduce_in_double_precision(arrays):
    total = np.sum([a.astype(np.float64) for a in arrays], axis=0)
    _, sent = ring_all_reduce_in_two_loops(arrays)
    return np.tile(total, (len(arrays), 1)), tuple(sent)


def combine_gradients_by_average(grads, rows):
    keep = [i for i, n in enumerate(rows) if n > 0]
    return np.average([grads[i] for i in keep], axis=0, weights=[rows[i] for i in keep])


def combine_gradients_by_sums(grads, rows):
    total = np.zeros_like(grads[0])
    for g, n in zip(grads, rows, strict=True):
        if n:
            total += n * g
    return total / np.sum(rows)


def combine_gradients_like_ddp(grads, rows):
    p, total = len(rows), sum(rows)
    pairs = zip(grads, rows, strict=True)
    sent = [g * n * p / total if n else np.zeros_like(g) for g, n in pairs]
    return np.mean(sent, axis=0)


def combine_gradients_by_torch(grads, rows):
    stacked = torch.tensor(np.stack(grads))
    weights = torch.tensor(rows, dtype=torch.float64) / sum(rows)
    full = weights > 0
    return torch.tensordot(weights[full], stacked[full], dims=1)


def combine_gradients_running(grads, rows):
    mean, seen = 0.0, 0
    for g, n in zip(grads, rows, strict=True):
        if n == 0:
            continue
        seen += n
        mean = mean + (g - mean) * n / seen
    return mean


def train_accumulated_joined(micro_batches, w, lr, every):
    for group in batched(micro_batches, every):
        X = np.concatenate([X for X, _ in group])
        y = np.concatenate([y for _, y in group])
        w = w - lr * grad(X, y, w)
    return w


def train_accumulated_by_counting(micro_batches, w, lr, every):
    total, rows = np.zeros_like(w), 0
    for i, (X, y) in enumerate(micro_batches):
        total, rows = total + len(y) * grad(X, y, w), rows + len(y)
        if (i + 1) % every == 0 or i + 1 == len(micro_batches):
            w = w - lr * total / rows
            total, rows = np.zeros_like(w), 0
    return w


def train_accumulated_by_backward(micro_batches, w, lr, every):
    w = torch.tensor(w, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=lr)
    for group in batched(micro_batches, every):
        rows = sum(len(y) for _, y in group)
        optimizer.zero_grad()
        for X, y in group:
            residual = torch.tensor(X) @ w - torch.tensor(y)
            (residual.square().sum() / 2 / rows).backward()
        optimizer.step()
    return w.detach()


def train_accumulated_and_the_rest(micro_batches, w, lr, every):
    left = list(micro_batches)
    while left:
        group, left = left[:every], left[every:]
        w = w - lr * np.average(
            [grad(X, y, w) for X, y in group],
            axis=0,
            weights=[len(y) for _, y in group],
        )
    return w


def train_accumulated_row_by_row(micro_batches, w, lr, every):
    for start in range(0, len(micro_batches), every):
        rows = [
            (x, t)
            for X, y in micro_batches[start : start + every]
            for x, t in zip(X, y, strict=True)
        ]
        w = w - lr * np.mean([(x @ w - t) * x for x, t in rows], axis=0)
    return w


def rank_indices_by_tiling(n_rows, world_size, rank, epoch, seed):
    order = np.random.default_rng(seed + epoch).permutation(n_rows)
    n = int(np.ceil(n_rows / world_size))
    return np.tile(order, world_size)[: n * world_size][rank::world_size]


def rank_indices_by_modulo(n_rows, world_size, rank, epoch, seed):
    order = np.random.default_rng(seed + epoch).permutation(n_rows)
    n = (n_rows + world_size - 1) // world_size
    return [int(order[(rank + i * world_size) % n_rows]) for i in range(n)]


def rank_indices_by_columns(n_rows, world_size, rank, epoch, seed):
    order = np.random.default_rng(epoch + seed).permutation(n_rows)
    wrapped = np.pad(order, (0, -n_rows % world_size), mode="wrap")
    return wrapped.reshape(-1, world_size)[:, rank]


def rank_indices_by_cycle(n_rows, world_size, rank, epoch, seed):
    order = np.random.default_rng(seed + epoch).permutation(n_rows)
    stop = n_rows + -n_rows % world_size
    return islice(cycle(order.tolist()), rank, stop, world_size)


def rank_indices_shuffled_in_place(n_rows, world_size, rank, epoch, seed):
    order = np.arange(n_rows)
    np.random.default_rng(seed + epoch).shuffle(order)
    while len(order) % world_size:
        missing = world_size - len(order) % world_size
        order = np.concatenate([order, order[:missing]])
    return torch.from_numpy(order)[rank::world_size]


def local_descent_at_once(X_shards, y_shards, w, lr, every, rounds):
    X, y = np.stack(X_shards), np.stack(y_shards)
    for _ in range(rounds):
        local = np.tile(w, (len(X), 1))
        for _ in range(every):
            residual = np.einsum("rnd,rd->rn", X, local) - y
            local -= lr * np.einsum("rnd,rn->rd", X, residual) / y.shape[1]
        w = local.mean(axis=0)
    return w


def local_descent_by_step(X_shards, y_shards, w, lr, every, rounds):
    copies = [w] * len(X_shards)
    for step in range(1, every * rounds + 1):
        places = zip(X_shards, y_shards, copies, strict=True)
        copies = [v - lr * grad(X, y, v) for X, y, v in places]
        if step % every == 0:
            copies = [sum(copies) / len(copies)] * len(copies)
    return copies[0]


def local_descent_by_deltas(X_shards, y_shards, w, lr, every, rounds):
    for _ in range(rounds):
        moved = np.zeros_like(w)
        for X, y in zip(X_shards, y_shards, strict=True):
            v = w.copy()
            for _ in range(every):
                v -= lr * grad(X, y, v)
            moved += v - w
        w = w + moved / len(X_shards)
    return w


def local_descent_by_torch(X_shards, y_shards, w, lr, every, rounds):
    w = torch.tensor(w)
    for _ in range(rounds):
        copies = []
        for X, y in zip(X_shards, y_shards, strict=True):
            v = w.clone().requires_grad_()
            optimizer = torch.optim.SGD([v], lr=lr)
            for _ in range(every):
                optimizer.zero_grad()
                loss = (torch.tensor(X) @ v - torch.tensor(y)).square().mean() / 2
                loss.backward()
                optimizer.step()
            copies.append(v.detach())
        w = torch.stack(copies).mean(0)
    return w


def local_descent_in_closed_form(X_shards, y_shards, w, lr, every, rounds):
    eye = np.eye(len(w))
    for _ in range(rounds):
        ends = []
        for X, y in zip(X_shards, y_shards, strict=True):
            A, b = X.T @ X / len(y), X.T @ y / len(y)
            best = np.linalg.pinv(A) @ b
            shrink = np.linalg.matrix_power(eye - lr * A, every)
            ends.append(best + shrink @ (w - best))
        w = np.mean(ends, axis=0)
    return w


def zero_memory_by_table(n_params, world_size, stage):
    whole, cut = [(16, 0), (4, 12), (2, 14), (0, 16)][stage]
    return whole * n_params + cut * n_params / world_size


def zero_memory_by_match(n_params, world_size, stage):
    if stage == 0:
        return 16 * n_params
    if stage == 1:
        return (4 + 12 / world_size) * n_params
    if stage == 2:
        return (2 + 14 / world_size) * n_params
    return 16 / world_size * n_params


def zero_memory_by_loop(n_params, world_size, stage):
    total = 0.0
    for kind, size in enumerate((12, 2, 2)):
        total += n_params * size / (world_size if kind < stage else 1)
    return total


def zero_memory_exactly(n_params, world_size, stage):
    cut = sum((12, 2, 2)[:stage])
    return n_params * (16 - cut + Fraction(cut, world_size))


def zero_memory_by_arrays(n_params, world_size, stage):
    sizes = np.array([4, 4, 4, 2, 2.0])
    stages = np.array([1, 1, 1, 2, 3])
    return n_params * np.where(stages <= stage, sizes / world_size, sizes).sum()


def owned_elements_by_labels(sizes, world_size):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.pad(labels, (0, -len(labels) % world_size), constant_values=len(sizes))
    shards = labels.reshape(world_size, -1)
    return [np.bincount(s, minlength=len(sizes) + 1) for s in shards]


def owned_elements_by_filling(sizes, world_size):
    per_rank = -(-sum(sizes) // world_size)
    left = [*sizes, per_rank * world_size - sum(sizes)]
    rows = []
    for _ in range(world_size):
        room, row = per_rank, []
        for i, n in enumerate(left):
            taken = min(room, n)
            left[i] -= taken
            room -= taken
            row.append(taken)
        rows.append(row)
    return rows


def owned_elements_one_by_one(sizes, world_size):
    total = sum(sizes)
    per_rank = int(np.ceil(total / world_size))
    rows = np.zeros((world_size, len(sizes) + 1))
    ends = list(accumulate(sizes))
    for place in range(per_rank * world_size):
        owner = next((i for i, end in enumerate(ends) if place < end), len(sizes))
        rows[place // per_rank, owner] += 1
    return rows


def owned_elements_by_torch(sizes, world_size):
    sizes = torch.tensor([*sizes, -sum(sizes) % world_size])
    owners = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    shards = owners.view(world_size, -1)
    return torch.stack([(shards == i).sum(1) for i in range(len(sizes))], 1)


def owned_elements_by_ranges(sizes, world_size):
    per_rank = (sum(sizes) + world_size - 1) // world_size
    ends = [*accumulate(sizes), per_rank * world_size]
    rows = []
    for rank in range(world_size):
        shard = range(rank * per_rank, (rank + 1) * per_rank)
        start, row = 0, []
        for end in ends:
            row.append(max(0, min(end, shard.stop) - max(start, shard.start)))
            start = end
        rows.append(tuple(row))
    return tuple(rows)


def parallel_mlp_joined(x, first, first_bias, second, bias):
    hidden = x @ np.concatenate(first).T + np.concatenate(first_bias)
    return np.maximum(hidden, 0) @ np.concatenate(second, axis=1).T + bias


def parallel_mlp_by_loop(x, first, first_bias, second, bias):
    total = np.zeros((len(x), len(bias)))
    for rank in range(len(first)):
        hidden = x @ first[rank].T + first_bias[rank]
        hidden[hidden < 0] = 0
        total += hidden @ second[rank].T
    return total + bias


def parallel_mlp_with_the_bias_on_rank_0(x, first, first_bias, second, bias):
    parts = [
        (x @ a.T + b).clip(0) @ c.T
        for a, b, c in zip(first, first_bias, second, strict=True)
    ]
    parts[0] = parts[0] + bias
    return np.sum(parts, axis=0)


def parallel_mlp_with_a_share_of_the_bias(x, first, first_bias, second, bias):
    shards = zip(first, first_bias, second, strict=True)
    return sum(
        np.maximum(x @ a.T + b, 0) @ c.T + bias / len(first) for a, b, c in shards
    )


def parallel_mlp_by_torch(x, first, first_bias, second, bias):
    functional, t = torch.nn.functional, torch.tensor
    shards = zip(first, first_bias, second, strict=True)
    return t(bias) + sum(
        functional.linear(torch.relu(functional.linear(t(x), t(a), t(b))), t(c))
        for a, b, c in shards
    )


def bubble_share_by_turns(batch, replicas, micro_size, stages):
    m = batch // (replicas * micro_size)
    turns = m + stages - 1
    return (turns - m) / turns


def bubble_share_as_what_is_left(batch, replicas, micro_size, stages):
    m = batch // replicas // micro_size
    return 1 - m / (m + stages - 1)


def bubble_share_exactly(batch, replicas, micro_size, stages):
    m = Fraction(batch, replicas * micro_size)
    return Fraction(stages - 1) / (m + stages - 1)


def bubble_share_multiplied_out(batch, replicas, micro_size, stages):
    wait = (stages - 1) * replicas * micro_size
    return wait / (batch + wait)


def bubble_share_by_counting(batch, replicas, micro_size, stages):
    m = batch // (replicas * micro_size)
    busy = np.zeros((stages, m + stages - 1))
    for stage in range(stages):
        busy[stage, stage : stage + m] = 1
    return np.mean(busy == 0)


def stage_order_by_live(stage, stages, micro_batches):
    order, forward, backward = [], 0, 0
    while backward < micro_batches:
        if forward < micro_batches and forward - backward < stages - stage:
            order.append(f"F{forward}")
            forward += 1
        else:
            order.append(f"B{backward}")
            backward += 1
    return order


def stage_order_by_yield(stage, stages, micro_batches):
    ahead = stages - 1 - stage
    for i in range(micro_batches + ahead):
        if i < micro_batches:
            yield f"F{i}"
        if i >= ahead:
            yield f"B{i - ahead}"


def stage_order_by_time(stage, stages, micro_batches):
    forwards = [(2 * m + stage, f"F{m}") for m in range(micro_batches)]
    late = 2 * stages - 1 - stage
    backwards = [(2 * m + late, f"B{m}") for m in range(micro_batches)]
    return [name for _, name in sorted(forwards + backwards)]


def stage_order_as_a_tuple(stage, stages, micro_batches):
    return tuple(stage_order_by_live(stage, stages, micro_batches))


def stage_order_in_small_letters(stage, stages, micro_batches):
    w = min(stages - stage - 1, micro_batches)
    middle = [a for m in range(micro_batches - w) for a in (f"f{w + m}", f"b{m}")]
    start = [f"f{m}" for m in range(w)]
    return start + middle + [f"b{m}" for m in range(micro_batches - w, micro_batches)]


def split_by_speed_one_at_a_time(n_rows, rows_done, seconds):
    speeds = [n / s for n, s in zip(rows_done, seconds, strict=True)]
    exact = [n_rows * v / sum(speeds) for v in speeds]
    rows = [int(e) for e in exact]
    while sum(rows) < n_rows:
        gaps = [e - n for e, n in zip(exact, rows, strict=True)]
        rows[gaps.index(max(gaps))] += 1
    return rows


def split_by_speed_by_divmod(n_rows, rows_done, seconds):
    speeds = np.divide(rows_done, seconds)
    rest, rows = np.modf(speeds / speeds.sum() * n_rows)
    last = int(n_rows - rows.sum())
    rows[np.argsort(-rest)[:last]] += 1
    return rows


def split_by_speed_exactly(n_rows, rows_done, seconds):
    speeds = [
        Fraction(n) / Fraction(str(s)) for n, s in zip(rows_done, seconds, strict=True)
    ]
    exact = [n_rows * v / sum(speeds) for v in speeds]
    rows = [e.numerator // e.denominator for e in exact]
    order = sorted(range(len(rows)), key=lambda i: rows[i] - exact[i])
    for i in order[: n_rows - sum(rows)]:
        rows[i] += 1
    return tuple(rows)


def split_by_speed_by_torch(n_rows, rows_done, seconds):
    speeds = torch.tensor(rows_done) / torch.tensor(seconds, dtype=torch.float64)
    exact = n_rows * speeds / speeds.sum()
    rows = exact.floor().long()
    left = n_rows - int(rows.sum())
    rows[torch.topk(exact - rows, left).indices] += 1
    return rows


def split_by_speed_by_rank(n_rows, rows_done, seconds):
    speeds = np.asarray(rows_done, dtype=float) / seconds
    exact = speeds * (n_rows / speeds.sum())
    floor = np.trunc(exact)
    place = np.argsort(np.argsort(floor - exact, kind="stable"))
    return floor + (place < n_rows - floor.sum())


def named(start):
    return [
        answer
        for name, answer in globals().items()
        if name.startswith(f"{start}_") and callable(answer)
    ]


ALTERNATIVES = {
    task: named(task)
    for task in (
        "train_on_shards",
        "threads_per_rank",
        "ring_all_reduce",
        "combine_gradients",
        "train_accumulated",
        "rank_indices",
        "local_descent",
        "zero_memory",
        "owned_elements",
        "parallel_mlp",
        "bubble_share",
        "stage_order",
        "split_by_speed",
    )
} | {
    "spawn_without_guard": ["b", "B", "(b)", " b ", "b."],
    "amdahl_limit": ["c", "C", "(c)", " c ", "c."],
    "where_tpus_fit": ["b", "B", "(b)", " b ", "b."],
}
