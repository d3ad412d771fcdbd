"""The right programs of exercise 14, proved by torch, brute force and simulation."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DistributedSampler

from mlopt_edu import parallel
from mlopt_edu.checks import find_task
from mlopt_edu.checks.parallel_training._bubble_share import bubble_share_reference
from mlopt_edu.checks.parallel_training._combine_gradients import (
    combine_gradients_reference,
)
from mlopt_edu.checks.parallel_training._local_descent import local_descent_reference
from mlopt_edu.checks.parallel_training._owned_elements import (
    owned_elements_reference,
)
from mlopt_edu.checks.parallel_training._parallel_mlp import parallel_mlp_reference
from mlopt_edu.checks.parallel_training._rank_indices import rank_indices_reference
from mlopt_edu.checks.parallel_training._ring_all_reduce import (
    ring_all_reduce_reference,
)
from mlopt_edu.checks.parallel_training._split_by_speed import (
    split_by_speed_reference,
)
from mlopt_edu.checks.parallel_training._stage_order import stage_order_reference
from mlopt_edu.checks.parallel_training._threads_per_rank import (
    threads_per_rank_reference,
)
from mlopt_edu.checks.parallel_training._train_accumulated import (
    train_accumulated_reference,
)
from mlopt_edu.checks.parallel_training._train_on_shards import (
    train_on_shards_reference,
)
from mlopt_edu.checks.parallel_training._zero_memory import zero_memory_reference
from mlopt_edu.parallel.traffic import ring_bytes
from tests.checks.references import cases

functional = torch.nn.functional


def mistake(task, name):
    (program,) = [m.program for m in find_task(task).mistakes if m.name == name]
    return program


def descend_in_torch(X, y, w, lr, steps):
    w = torch.tensor(w, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        (functional.mse_loss(torch.tensor(X) @ w, torch.tensor(y)) / 2).backward()
        optimizer.step()
    return w.detach().numpy()


@cases("train_on_shards")
def test_train_on_shards_is_sgd_of_torch_on_all_rows(case):
    X_shards, y_shards, w, lr, steps = case.inputs.values()
    rows = np.concatenate(X_shards), np.concatenate(y_shards)
    expected = descend_in_torch(*rows, w, lr, steps)
    actual = train_on_shards_reference(**case.inputs)
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


def test_the_broken_program_moves_all_weights_alike_whatever_the_data_say():
    for case in find_task("train_on_shards").cases(20):
        inputs = {**case.inputs, "steps": 1}  # after many it overflows
        moved = mistake("train_on_shards", "as_given")(**inputs) - inputs["w"]
        np.testing.assert_allclose(moved, moved[0])
        assert (moved < 0).all()


@cases("threads_per_rank")
def test_threads_per_rank_is_the_most_that_the_cores_hold(case):
    cores, ranks, workers = case.inputs.values()
    fits = [
        threads
        for threads in range(1, cores + 1)
        if ranks * (threads + workers) <= cores
    ]
    assert threads_per_rank_reference(**case.inputs) == max(fits, default=1)


@cases("ring_all_reduce")
def test_ring_all_reduce_sums_and_all_ranks_agree(case):
    (arrays,) = case.inputs.values()
    results, sent = ring_all_reduce_reference(arrays)
    for result in results:
        np.testing.assert_array_equal(result, np.sum(arrays, axis=0))
        assert result.dtype == arrays[0].dtype
    # Each chunk stays once at either end of its two walks around the ring.
    ranks = len(arrays)
    assert sum(sent) == 2 * (ranks - 1) * arrays[0].nbytes


def ring_and_bytes(numel):
    tensor = torch.arange(numel, dtype=torch.float64)
    with parallel.Traffic() as traffic:
        parallel.ring_all_reduce(tensor)
    return tensor, traffic.sent


def test_ring_all_reduce_sends_what_the_ring_of_the_library_sends():
    launched = parallel.launch(ring_and_bytes, 3, 11)
    expected = [sent for _, sent in launched]
    results, sent = ring_all_reduce_reference([np.arange(11.0)] * 3)
    assert sent == expected
    for (tensor, _), result in zip(launched, results, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), result)


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_with_equal_chunks_the_bytes_are_those_of_the_formula(ranks):
    arrays = [np.ones(24) for _ in range(ranks)]
    _, sent = ring_all_reduce_reference(arrays)
    assert sent == [2 * (ranks - 1) * 24 * 8 // ranks] * ranks


@pytest.mark.parametrize(("ranks", "numel"), [(3, 11), (5, 13), (6, 4), (1, 5)])
def test_ring_all_reduce_sends_the_bytes_that_the_library_counts(ranks, numel):
    _, sent = ring_all_reduce_reference([np.ones(numel, np.float32)] * ranks)
    assert sent == [ring_bytes(numel, 4, ranks, rank) for rank in range(ranks)]


@pytest.mark.parametrize("rows", [(3, 1), (5, 0, 2), (0, 0, 6, 1), (9,), (4, 4)])
def test_combine_gradients_is_the_gradient_of_the_whole_batch(rows):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(sum(rows), 3)), rng.normal(size=sum(rows))
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    loss = functional.mse_loss(torch.tensor(X) @ w, torch.tensor(y))
    (expected,) = torch.autograd.grad(loss, w)
    cuts = np.cumsum(rows)[:-1]
    shards = zip(np.split(X, cuts), np.split(y, cuts), strict=True)
    with np.errstate(invalid="ignore"):  # 0 / 0 on a rank without rows
        grads = [-2 * X.T @ y / np.float64(len(y)) for X, y in shards]
    assert [bool(np.isnan(g).all()) for g in grads] == [n == 0 for n in rows]
    actual = combine_gradients_reference(grads, list(rows))
    np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-12)


def test_combine_gradients_hides_no_nan_of_a_row():
    (case,) = [c for c in find_task("combine_gradients").cases(20) if "NaN" in c.label]
    w = torch.zeros(2, requires_grad=True)
    targets = torch.tensor([np.nan, 1.0, 2.0, 3.0])  # the first of four rows diverged
    functional.mse_loss(torch.ones(4, 2) @ w, targets).backward()
    actual = combine_gradients_reference(**case.inputs)
    np.testing.assert_array_equal(actual, w.grad.numpy())


@cases("train_accumulated")
def test_train_accumulated_is_sgd_of_torch_on_joined_groups(case):
    micro_batches, w, lr, every = case.inputs.values()
    expected = w
    for start in range(0, len(micro_batches), every):
        X, y = zip(*micro_batches[start : start + every], strict=True)
        joined = np.concatenate(X), np.concatenate(y)
        expected = descend_in_torch(*joined, expected, lr, 1)
    actual = train_accumulated_reference(**case.inputs)
    np.testing.assert_allclose(actual, expected, rtol=1e-10)


@cases("rank_indices")
def test_rank_indices_are_a_distributed_sampler_with_this_order(case):
    n_rows, world_size, rank, epoch, seed = case.inputs.values()
    order = np.random.default_rng(seed + epoch).permutation(n_rows)
    sampler = DistributedSampler(
        range(n_rows), num_replicas=world_size, rank=rank, shuffle=False
    )
    expected = [order[place] for place in sampler]
    np.testing.assert_array_equal(rank_indices_reference(**case.inputs), expected)


@cases("rank_indices")
def test_together_the_ranks_have_every_row_and_equally_many(case):
    n_rows, world_size, _, epoch, seed = case.inputs.values()
    ranks = [
        rank_indices_reference(n_rows, world_size, rank, epoch, seed)
        for rank in range(world_size)
    ]
    assert len(set(map(len, ranks))) == 1
    assert set(np.concatenate(ranks).tolist()) == set(range(n_rows))
    counts = np.bincount(np.concatenate(ranks))
    assert counts.max() - counts.min() <= 1


def test_epochs_differ_unless_set_epoch_is_forgotten():
    def orders(program):
        return [tuple(program(50, 2, 1, epoch, 3)) for epoch in range(5)]

    assert len(set(orders(rank_indices_reference))) == 5
    forgotten = mistake("rank_indices", "set_epoch_forgotten")
    assert len(set(orders(forgotten))) == 1


@cases("local_descent")
def test_local_descent_by_optimizers_of_torch(case):
    X_shards, y_shards, w, lr, every, rounds = case.inputs.values()
    expected = w
    for _ in range(rounds):
        pairs = zip(X_shards, y_shards, strict=True)
        ends = [descend_in_torch(X, y, expected, lr, every) for X, y in pairs]
        expected = sum(ends) / len(ends)
    actual = local_descent_reference(**case.inputs)
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


def test_local_descent_that_averages_in_each_step_is_data_parallelism():
    for case in find_task("local_descent").cases(20):
        X_shards, y_shards, w, lr, every, rounds = case.inputs.values()
        expected = train_on_shards_reference(X_shards, y_shards, w, lr, every * rounds)
        actual = mistake("local_descent", "averaged_in_each_step")(**case.inputs)
        np.testing.assert_allclose(actual, expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("stage", "gigabytes"), [(0, 120), (1, 31.4), (2, 16.6), (3, 1.88)]
)
def test_zero_memory_is_the_figure_of_the_paper(stage, gigabytes):
    actual = zero_memory_reference(7_500_000_000, 64, stage) / 1e9
    assert actual == pytest.approx(gigabytes, rel=3e-3)


@cases("zero_memory")
def test_zero_memory_is_counted_on_arrays(case):
    n_params, world_size, stage = case.inputs.values()
    small = {"n_params": 12 * world_size, "world_size": world_size, "stage": stage}
    cut = small["n_params"] // world_size
    half = torch.zeros(cut if stage == 3 else small["n_params"], dtype=torch.bfloat16)
    grad = torch.zeros(cut if stage >= 2 else small["n_params"], dtype=torch.bfloat16)
    state = torch.zeros(3, cut if stage >= 1 else small["n_params"])
    expected = half.nbytes + grad.nbytes + state.nbytes
    assert zero_memory_reference(**small) == pytest.approx(expected)
    expected = parallel.zero_bytes(n_params, world_size, stage=stage)
    assert zero_memory_reference(**case.inputs) == pytest.approx(expected)


@cases("owned_elements")
def test_owned_elements_by_cutting_a_buffer_in_torch(case):
    sizes, world_size = case.inputs.values()
    flat = torch.cat([torch.full((n,), i) for i, n in enumerate(sizes)])
    padded = functional.pad(flat, (0, -len(flat) % world_size), value=len(sizes))
    expected = [
        [int((shard == i).sum()) for i in range(len(sizes) + 1)]
        for shard in padded.chunk(world_size)
    ]
    actual = owned_elements_reference(sizes, world_size)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(actual.sum(axis=0)[:-1], sizes)
    assert len(set(actual.sum(axis=1))) == 1
    assert actual[:, -1].sum() < world_size


@cases("parallel_mlp")
def test_parallel_mlp_is_the_whole_network_in_torch(case):
    x, first, first_bias, second, bias = case.inputs.values()
    hidden = functional.linear(
        torch.tensor(x),
        torch.tensor(np.concatenate(first)),
        torch.tensor(np.concatenate(first_bias)),
    )
    weight = torch.tensor(np.concatenate(second, axis=1))
    expected = functional.linear(hidden.relu(), weight, torch.tensor(bias))
    actual = parallel_mlp_reference(**case.inputs)
    np.testing.assert_allclose(actual, expected.numpy(), atol=1e-12)


def order_of(actions):
    letter = {parallel.Forward: "F", parallel.Backward: "B"}
    return [f"{letter[type(action)]}{action.micro}" for action in actions]


@pytest.mark.parametrize(
    ("stages", "micro_batches"), list(itertools.product((1, 2, 3, 5), (1, 2, 3, 8)))
)
def test_stage_order_runs_keeps_little_and_wastes_what_the_formula_says(
    stages, micro_batches
):
    orders = [stage_order_reference(s, stages, micro_batches) for s in range(stages)]
    forward = [[None] * micro_batches for _ in range(stages)]
    backward = [[None] * micro_batches for _ in range(stages)]
    clock, left = [0] * stages, [list(order) for order in orders]
    live, most = [0] * stages, [0] * stages
    for _ in range(stages * 2 * micro_batches):
        ready = []
        for s, queue in enumerate(left):
            if not queue:
                continue
            kind, m = queue[0][0], int(queue[0][1:])
            if kind == "F":
                needs = 0 if s == 0 else forward[s - 1][m]
            elif s == stages - 1:
                needs = forward[s][m]
            else:
                needs = backward[s + 1][m]
            if needs is not None:
                ready.append((max(clock[s], needs), s))
        start, s = min(ready)  # an order that waits for itself leaves none
        action = left[s].pop(0)
        kind, m = action[0], int(action[1:])
        clock[s] = start + (1 if kind == "F" else 2)
        (forward if kind == "F" else backward)[s][m] = clock[s]
        live[s] += 1 if kind == "F" else -1
        most[s] = max(most[s], live[s])
    assert not any(left)
    wasted = 1 - 3 * micro_batches / max(clock)
    expected = bubble_share_reference(3 * micro_batches, 1, 3, stages)
    assert wasted == pytest.approx(expected)
    assert most == [min(stages - s, micro_batches) for s in range(stages)]


@cases("stage_order")
def test_stage_order_is_that_of_the_library(case):
    stage, stages, micro_batches = case.inputs.values()
    expected = order_of(parallel.one_f_one_b(stages, micro_batches)[stage])
    assert stage_order_reference(**case.inputs) == expected
    expected = order_of(parallel.gpipe(stages, micro_batches)[stage])
    first = mistake("stage_order", "all_forwards_first")(**case.inputs)
    assert first == expected


@cases("bubble_share")
def test_bubble_share_is_counted_in_a_drawn_schedule(case):
    batch, replicas, micro_size, stages = case.inputs.values()
    rows = np.arange(batch).reshape(replicas, -1)[0]
    micro_batches = [rows[i : i + micro_size] for i in range(0, len(rows), micro_size)]
    turns = len(micro_batches) + stages - 1
    works = [
        [0 <= turn - stage < len(micro_batches) for turn in range(turns)]
        for stage in range(stages)
    ]
    expected = 1 - np.mean(works)
    assert bubble_share_reference(**case.inputs) == pytest.approx(expected)


@cases("split_by_speed")
def test_split_by_speed_is_the_library_and_nearest_to_the_shares(case):
    n_rows, rows_done, seconds = case.inputs.values()
    speeds = [done / time for done, time in zip(rows_done, seconds, strict=True)]
    actual = split_by_speed_reference(**case.inputs)
    assert sum(actual) == n_rows
    assert actual.tolist() == parallel.split_rows(n_rows, speeds)
    exact = np.array(speeds) / sum(speeds) * n_rows
    if n_rows <= 10 and len(speeds) <= 4:  # no whole split lies nearer
        every = itertools.product(range(n_rows + 1), repeat=len(speeds))
        splits = np.array([split for split in every if sum(split) == n_rows])
        nearest = np.abs(splits - exact).sum(axis=1).min()
        assert np.abs(actual - exact).sum() == pytest.approx(nearest)


def test_an_equal_split_makes_the_fast_devices_wait():
    inputs = {"n_rows": 64, "rows_done": [32, 32], "seconds": [0.5, 2.0]}
    speeds = [64.0, 16.0]
    rows = split_by_speed_reference(**inputs)
    equal = mistake("split_by_speed", "equal_split")(**inputs)
    assert parallel.step_seconds(rows, speeds) < 1
    assert parallel.step_seconds(equal, speeds) == 2


def test_no_case_has_two_equal_remainders_that_matter():
    for seed in range(20):
        for case in find_task("split_by_speed").cases(seed):
            n_rows, rows_done, seconds = case.inputs.values()
            speeds = np.array(rows_done) / np.array(seconds)
            exact = n_rows * speeds / speeds.sum()
            left = n_rows - int(np.floor(exact + 1e-9).sum())
            rest = np.sort((exact + 1e-9) % 1)[::-1]
            if 0 < left < len(rest):
                assert rest[left - 1] - rest[left] > 1e-6


def test_the_numbers_of_the_quiz():
    step = 20 + 80 / 8
    assert f"{100 / step:.1f} {100 / step / 8:.0%}" == "3.3 42%"
    assert f"{0.8 * 8:.1f}" == "6.4"
    assert 100 / 20 == 5
    assert 5 / 8 == 0.625
    assert all(100 / (20 + 80 / ranks) < 5 for ranks in (10, 1000, 10**9))


def test_a_spawned_process_without_a_guard_is_stopped_by_python(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import multiprocessing\n"
        "def work():\n"
        "    pass\n"
        "process = multiprocessing.get_context('spawn').Process(target=work)\n"
        "process.start()\n"
        "process.join()\n"
        "print('rank ended with', process.exitcode)\n"
    )
    ended = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60
    )
    assert ended.stdout == "rank ended with 1\n"
    assert "RuntimeError" in ended.stderr
    assert "__main__" in ended.stderr
