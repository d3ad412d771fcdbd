"""Pipelines on real ranks: equal to one process, in the order of the schedule."""

import copy
import time

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleGPipe,
)
from torch.nn import functional

from mlopt_edu.parallel import launch
from mlopt_edu.parallel.pipeline import HEADER_BYTES, balance, train_step
from mlopt_edu.parallel.schedule import (
    bubble_fraction,
    bubble_of,
    gpipe,
    one_f_one_b,
)

MAKE = {"gpipe": gpipe, "1f1b": one_f_one_b}
P, M, BATCH = 3, 4, 10  # micro-batches of 3, 3, 2 and 2 samples


def net():
    torch.manual_seed(0)
    layers = [
        nn.Linear(5, 9),
        nn.Tanh(),
        nn.LayerNorm(9),
        nn.Linear(9, 7, bias=False),
        nn.GELU(),
        nn.Linear(7, 4),
    ]
    return nn.Sequential(*layers).double()


def batches(steps, batch=BATCH):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(batch, 5, generator=generator, dtype=torch.float64)
        yield x, torch.randint(4, (batch,), generator=generator)


def alone(steps):
    """Train in one process; return losses and the weights by name."""
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1)
    losses = []
    for x, y in batches(steps):
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model.state_dict()


def stage_of(rank):
    """Return this rank's layers, under the names that they have in the whole."""
    model = net()
    layers = balance([1] * len(model), P)[rank]
    return nn.Sequential(*model[layers.start : layers.stop]), layers.start


def count_bytes(sent):
    """Add to `sent` what `dist.isend` is given, by rank of the receiver."""
    isend = dist.isend

    def counted(tensor, *, group, group_dst):
        sent[group_dst] = sent.get(group_dst, 0) + tensor.nbytes
        return isend(tensor, group=group, group_dst=group_dst)

    dist.isend = counted
    return isend


def train(steps):
    """Both schedules, step by step; weights, losses, order and bytes of a rank."""
    rank = dist.get_rank()
    results = {}
    for name, make in MAKE.items():
        stage, first = stage_of(rank)
        optimizer = torch.optim.AdamW(stage.parameters(), lr=0.05, weight_decay=0.1)
        sent, reports = {}, []
        isend = count_bytes(sent)
        for x, y in batches(steps):
            optimizer.zero_grad()
            report = train_step(
                stage,
                make(P, M),
                inputs=x if rank == 0 else None,
                targets=y if rank == P - 1 else None,
                loss_fn=functional.cross_entropy,
            )
            optimizer.step()
            reports.append(report)
        dist.isend = isend
        weights = {
            f"{first + int(key.split('.')[0])}.{key.split('.')[1]}": value
            for key, value in stage.state_dict().items()
        }
        results[name] = (weights, reports, sent)
    return results


def torchs(steps):
    """Gradients of torch's pipelining beside ours, both schedules."""
    rank = dist.get_rank()
    differences = {}
    for name, theirs in (("gpipe", ScheduleGPipe), ("1f1b", Schedule1F1B)):
        for x, y in batches(steps, batch=12):  # torch wants equal micro-batches
            ours, _ = stage_of(rank)
            stage = copy.deepcopy(ours)
            schedule = theirs(
                PipelineStage(stage, rank, P, torch.device("cpu")),
                n_microbatches=M,
                loss_fn=functional.cross_entropy,
            )
            if rank == 0:
                schedule.step(x)
            elif rank == P - 1:
                schedule.step(target=y)
            else:
                schedule.step()
            train_step(
                ours,
                MAKE[name](P, M),
                inputs=x,
                targets=y,
                loss_fn=functional.cross_entropy,
            )
            differences[name] = max(
                (a.grad - b.grad).abs().max().item()
                for a, b in zip(ours.parameters(), stage.parameters(), strict=True)
            )
    return differences


@pytest.fixture(scope="module")
def trained():
    return launch(train, P, 5)


@pytest.mark.parametrize("name", MAKE)
def test_every_step_equals_one_process_with_uneven_micro_batches(trained, name):
    losses, weights = alone(5)
    got = [report.loss for report in trained[-1][name][1]]
    torch.testing.assert_close(losses, got, rtol=1e-12, atol=1e-12)
    assert all(r.loss is None for rank in trained[:-1] for r in rank[name][1])
    pieces = {k: v for rank in trained for k, v in rank[name][0].items()}
    assert weights.keys() == pieces.keys()
    for key, weight in weights.items():
        torch.testing.assert_close(weight, pieces[key], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", MAKE)
def test_what_ran_is_the_schedule(trained, name):
    for rank, expected in enumerate(MAKE[name](P, M)):
        for report in trained[rank][name][1]:
            assert expected == [span.action for span in report.spans]
            times = [t for span in report.spans for t in (span.start, span.end)]
            assert sorted(times) == times


@pytest.mark.parametrize("name", MAKE)
def test_bytes_sent_are_activations_headers_and_gradients(trained, name):
    # Stage 0 ends after layer 1 and stage 1 after layer 3: 9 and 7 float64 a sample.
    first, second = 8 * BATCH * 9, 8 * BATCH * 7
    headers = M * HEADER_BYTES
    expected = [
        {1: 5 * (first + headers)},
        {2: 5 * (second + headers), 0: 5 * first},
        {1: 5 * second},
    ]
    assert expected == [rank[name][2] for rank in trained]


@pytest.mark.filterwarnings("ignore")
def test_gradients_are_those_of_torchs_pipelining():
    for differences in launch(torchs, P, 2):
        assert {"gpipe", "1f1b"} == set(differences)
        assert max(differences.values()) < 1e-12


class Sleep(torch.autograd.Function):
    """Work that takes 30 ms forward and 60 ms backward, on no processor."""

    @staticmethod
    def forward(ctx, x):
        time.sleep(0.030)
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        time.sleep(0.060)
        return grad


class Sleeper(nn.Module):
    def forward(self, x):
        return Sleep.apply(x)


def sleep_through(m, names):
    x = torch.ones(m, 1, requires_grad=True)
    spans = []
    for name in names:
        report = train_step(
            Sleeper(),
            MAKE[name](dist.get_world_size(), m),
            inputs=x,
            targets=x,
            loss_fn=lambda output, _: output.mean(),
        )
        spans.append(report.spans)
    return spans


def test_the_measured_bubble_is_the_formula():
    p, m = 3, 6
    # The first one connects the ranks; of each schedule the less disturbed run counts.
    measured = launch(sleep_through, p, m, ["1f1b", *MAKE, *MAKE])
    bubbles = [bubble_of([rank[run] for rank in measured]) for run in range(1, 5)]
    for bubble in map(min, bubbles[:2], bubbles[2:]):
        # A busy machine delays what waits, and so the bubble grows.
        assert bubble_fraction(p, m) - 0.05 < bubble < bubble_fraction(p, m) + 0.2


class Frozen(nn.Module):
    """Returns a constant: nothing of its input reaches the output."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.weight.expand(len(x), 2)


def awkward():
    """A first stage without gradients, then one that ignores its input."""
    rank = dist.get_rank()
    stage = Frozen() if rank else nn.Linear(2, 2)
    before = [p.clone() for p in stage.parameters()]
    stage.requires_grad_(rank == 1)
    x = torch.ones(3, 2)
    report = train_step(
        stage,
        one_f_one_b(2, 2),
        inputs=x,
        targets=x,
        loss_fn=lambda output, target: (output * target).sum(1).mean(),
    )
    assert all(torch.equal(a, b) for a, b in zip(before, stage.parameters(), strict=1))
    messages = []
    for wrong in (
        {"schedule": gpipe(3, 2)},
        {"schedule": gpipe(2, 4)},
        {"schedule": gpipe(2, 2), "inputs": None, "targets": None},
    ):
        options = {"inputs": x, "targets": x, "loss_fn": functional.mse_loss} | wrong
        try:
            train_step(stage, **options)
        except ValueError as error:
            messages.append(str(error))
    grads = [p.grad for p in stage.parameters()]
    return report.loss, grads, messages


def test_stages_without_gradients_do_not_hang_and_mistakes_are_named():
    (none, no_grads, messages), (loss, grads, last) = launch(awkward, 2)
    assert none is None
    assert no_grads == [None, None]
    assert pytest.approx(2.0) == loss
    torch.testing.assert_close([torch.ones(2)], grads)
    expected = [
        "schedule must have one stage a rank, 2, got 3",
        "inputs must hold a sample for each of 4 micro-batches, got 3",
        "inputs must be given on this rank, got None",
    ]
    assert expected == messages
    assert [m.replace("inputs", "targets") for m in expected] == last


def one_rank():
    stage = net()
    for x, y in batches(1):
        report = train_step(
            stage,
            gpipe(1, 3),
            inputs=x,
            targets=y,
            loss_fn=functional.cross_entropy,
        )
    return report.loss


def test_one_stage_is_gradient_accumulation():
    assert pytest.approx(alone(1)[0]) == launch(one_rank, 1)


def slowest(costs, cuts, speeds):
    return max(
        sum(costs[i] for i in layers) / speed
        for layers, speed in zip(cuts, speeds, strict=True)
    )


@pytest.mark.parametrize("seed", range(20))
def test_balance_is_as_good_as_the_best_of_all_cuts(seed):
    generator = torch.Generator().manual_seed(seed)
    costs = torch.rand(7, generator=generator).tolist()
    speeds = (0.2 + torch.rand(3, generator=generator)).tolist()
    found = balance(costs, 3, speeds=speeds)
    assert list(range(7)) == [i for layers in found for i in layers]
    best = min(
        slowest(costs, [range(a), range(a, b), range(b, 7)], speeds)
        for a in range(1, 6)
        for b in range(a + 1, 7)
    )
    assert pytest.approx(best) == slowest(costs, found, speeds)


def test_balance_refuses_what_can_not_be_cut():
    with pytest.raises(ValueError, match="from 1 to the number of layers, 2, got 3"):
        balance([1, 1], 3)
    with pytest.raises(ValueError, match="costs must each be at least 0, got -1"):
        balance([1, -1], 1)
    with pytest.raises(ValueError, match="speeds must be 2 numbers above 0"):
        balance([1, 1], 2, speeds=[1])
