"""Tensor parallelism on real ranks: equal to one process and to torch's DTensor."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn import functional

from mlopt_edu.models import CharGPT
from mlopt_edu.parallel import launch
from mlopt_edu.parallel.tensor import (
    ColumnParallelLinear,
    RowParallelLinear,
    shard_range,
)
from mlopt_edu.parallel.tensor_plan import (
    Column,
    Row,
    Vocabulary,
    full_state_dict,
    shard_,
)
from mlopt_edu.parallel.tensor_vocabulary import (
    VocabularyParallelEmbedding,
    vocabulary_parallel_cross_entropy,
)
from mlopt_edu.parallel.traffic import Traffic

P = 3
BATCH, TIME, WIDTH, HEADS, CHARACTERS = 2, 5, 12, 4, 11  # heads 2, 1, 1
PLAN = {
    "characters": Vocabulary(),
    "*.query_key_value": Column(blocks=3, multiple_of=WIDTH // HEADS),
    "*.attention_out": Row(multiple_of=WIDTH // HEADS),
    "*.mlp_in": Column(),
    "*.mlp_out": Row(),
    "head": Column(gather_output=True),
}


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 10), nn.GELU(), nn.Linear(10, 4)).double()


def gpt():
    generator = torch.Generator().manual_seed(0)
    options = {"width": WIDTH, "heads": HEADS, "layers": 2, "context": TIME}
    return CharGPT(CHARACTERS, **options, generator=generator).double()


def optimizer_of(model):
    # Decay and momentum act on single weights, and so do not see the cut.
    return torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)


def texts(steps):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        yield torch.randint(CHARACTERS, (BATCH, TIME + 1), generator=generator)


def train_gpt(model, steps):
    optimizer, losses = optimizer_of(model), []
    for ids in texts(steps):
        logits = model(ids[:, :-1]).flatten(0, 1)
        loss = functional.cross_entropy(logits, ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def gpt_worker(steps):
    model = gpt()
    shard_(model, PLAN)
    for block in model.blocks:
        block.heads = len(shard_range(HEADS, P, dist.get_rank()))
    with Traffic() as forward, torch.no_grad():
        model(next(texts(1))[:, :-1])
    losses = train_gpt(model, steps)
    sizes = sum(p.numel() for p in model.parameters())
    return losses, full_state_dict(model), sizes, dict(forward.by_operation)


@pytest.fixture(scope="module")
def trained():
    return launch(gpt_worker, P, 5)


def test_a_transformer_trains_as_in_one_process(trained):
    model = gpt()
    losses = train_gpt(model, 5)
    for rank in trained:
        torch.testing.assert_close(losses, rank[0], rtol=1e-11, atol=1e-12)
        state = model.state_dict()
        assert state.keys() == rank[1].keys()
        for name, value in state.items():
            torch.testing.assert_close(value, rank[1][name], rtol=1e-9, atol=1e-10)


def test_each_weight_but_norms_and_positions_is_on_one_rank_only(trained):
    model = gpt()
    total = sum(p.numel() for p in model.parameters())
    whole = model.positions.weight.numel() + 5 * WIDTH
    assert total + (P - 1) * whole == sum(rank[2] for rank in trained)


def test_a_block_sends_two_all_reduces_forward(trained):
    n = 8 * BATCH * TIME * WIDTH  # bytes of an activation
    all_reduces = 2 * 2 + 1  # two a block, one of the embedding
    # Logits are padded to the largest part: 4 of 11 characters.
    gathered = 8 * BATCH * TIME * 4 * (P - 1)
    for rank in trained:
        expected = {"all_reduce": all_reduces * 2 * (P - 1) / P * n}
        expected["all_gather"] = gathered
        assert pytest.approx(expected) == rank[3]


def mlp_worker():
    """Gradients, bytes of forward and backward, ranks with nothing, torch's DTensor."""
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(2)).double()
    x.requires_grad_()
    model = mlp()
    shard_(model, {"0": Column(), "2": Row()})
    with Traffic() as forward:
        y = model(x)
    with Traffic() as backward:
        (y**2).sum().backward()
    grads = {name: p.grad for name, p in model.named_parameters()}

    sent = [dict(t.by_operation) for t in (forward, backward)]
    if 10 % dist.get_world_size():  # torch 2.13 refuses these unequal parts
        return y.detach(), x.grad, grads, sent, None, None
    theirs = mlp()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    parallelize_module(theirs, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})
    their_x = x.detach().clone().requires_grad_()
    (theirs(their_x) ** 2).sum().backward()
    their_grads = {n: p.grad.full_tensor() for n, p in theirs.named_parameters()}
    return y.detach(), x.grad, grads, sent, their_x.grad, their_grads


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("p", [1, 2, 4])
def test_gradients_and_bytes_of_two_layers(p):
    model = mlp()
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(2)).double()
    x.requires_grad_()
    y = model(x)
    (y**2).sum().backward()
    for rank, got in enumerate(launch(mlp_worker, p)):
        got_y, got_x, grads, sent, their_x, theirs = got
        rows = shard_range(10, p, rank)
        whole = {name: param.grad for name, param in model.named_parameters()}
        part = slice(rows.start, rows.stop)
        expected = {
            "0.weight": whole["0.weight"][part],
            "0.bias": whole["0.bias"][part],
            "2.weight": whole["2.weight"][:, part],
            "2.bias": whole["2.bias"],
        }
        torch.testing.assert_close(y.detach(), got_y, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(x.grad, got_x, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(expected, grads, rtol=1e-12, atol=1e-13)
        if 10 % p == 0:
            torch.testing.assert_close(whole, theirs, rtol=1e-12, atol=1e-13)
            torch.testing.assert_close(x.grad, their_x, rtol=1e-12, atol=1e-13)
        ring = 2 * (p - 1) / p
        expected_bytes = [ring * 8 * 6 * 4, ring * 8 * 6 * 5]
        assert expected_bytes == pytest.approx([t.get("all_reduce", 0.0) for t in sent])


def single_layers(out_features, vocabulary):
    """Layers whose parts are unequal or empty, against the whole ones; all on a rank.

    Returns the largest difference of anything.
    """
    torch.manual_seed(3)
    ids, weights = torch.tensor([[0, 3], [4, 0]]) % vocabulary, torch.randn(2, 2, 3)
    linear, x = nn.Linear(6, out_features).double(), torch.randn(2, 6).double()
    embedding = nn.Embedding(vocabulary, 3).double()
    logits, labels = 30 * torch.randn(5, vocabulary).double(), torch.arange(5)
    labels = labels % vocabulary
    seen = []

    def compare(whole, part):
        torch.testing.assert_close(whole, part, rtol=1e-11, atol=1e-12)
        seen.append(tuple(part.shape))

    wide = ColumnParallelLinear(linear, gather_output=True)
    compare(linear(x), wide(x))
    target = torch.randn(2, out_features).double()
    (linear(x) * target).sum().backward()
    (wide(x) * target).sum().backward()
    rows = wide.rows[dist.get_rank()]
    compare(linear.weight.grad[rows], wide.weight.grad)
    compare(linear.bias.grad[rows], wide.bias.grad)

    tall = RowParallelLinear(linear)
    columns = tall.columns[dist.get_rank()]
    compare(linear(x), tall(x[:, columns]))

    cut = VocabularyParallelEmbedding(embedding)
    compare(embedding(ids), cut(ids))
    (embedding(ids) * weights).sum().backward()
    (cut(ids) * weights).sum().backward()
    if len(cut.ids):
        compare(embedding.weight.grad[cut.rows[dist.get_rank()]], cut.weight.grad)

    whole = logits.clone().requires_grad_()
    functional.cross_entropy(whole, labels).backward()
    mine = shard_range(vocabulary, dist.get_world_size(), dist.get_rank())
    part = logits[:, mine.start : mine.stop].clone().requires_grad_()
    loss = vocabulary_parallel_cross_entropy(part, labels, vocabulary)
    compare(functional.cross_entropy(logits, labels), loss.detach())
    loss.backward()
    if len(mine):
        compare(whole.grad[:, mine.start : mine.stop], part.grad)
    return seen


@pytest.mark.parametrize(
    ("p", "out_features", "vocabulary"), [(1, 7, 5), (3, 7, 5), (3, 2, 2)]
)
def test_parts_may_be_unequal_or_empty(p, out_features, vocabulary):
    assert [8, 8, 8][:p] == [
        len(seen) + 2 * (len(shard_range(vocabulary, p, rank)) == 0)
        for rank, seen in enumerate(launch(single_layers, p, out_features, vocabulary))
    ]


def mistakes():
    def message(function, *args, **options):
        with pytest.raises((ValueError, TypeError)) as caught:
            function(*args, **options)
        return str(caught.value)

    linear = nn.Linear(4, 6)
    return [
        message(ColumnParallelLinear, linear, blocks=4),
        message(ColumnParallelLinear, linear, blocks=2, gather_output=True),
        message(shard_, mlp(), {"7": Row()}),
        message(shard_, mlp(), {"1": Column()}),
        message(shard_, mlp(), {"0": Vocabulary()}),
        message(vocabulary_parallel_cross_entropy, torch.ones(2, 3), torch.ones(2), 4),
    ]


def test_mistakes_are_named():
    (got,) = launch(mistakes, 1)
    assert got == [
        "blocks must divide out_features 6, got 4",
        "gather_output must be False with 2 blocks",
        "plan must name layers of the model, but none is '7'",
        "plan must have Column for Linear layers, but '1' is GELU",
        "plan must have Vocabulary for Embedding layers, but '0' is Linear",
        "logits must have shape (n, 4) on this rank, got (2, 3)",
    ]


@pytest.mark.parametrize("size", [0, 1, 7, 24])
@pytest.mark.parametrize("p", [1, 2, 3, 5])
def test_ranges_cover_all_once_and_differ_by_one(size, p):
    parts = [shard_range(size, p, rank) for rank in range(p)]
    assert list(range(size)) == [i for part in parts for i in part]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    heads = [shard_range(4 * size, p, rank, multiple_of=4) for rank in range(p)]
    assert [4 * len(part) for part in parts] == [len(part) for part in heads]


def test_ranges_refuse_what_can_not_be():
    for wrong, match in [
        ((4, 0, 0), "world_size must be at least 1"),
        ((4, 2, 2), "rank must be from 0 to 1, got 2"),
    ]:
        with pytest.raises(ValueError, match=match):
            shard_range(*wrong)
    with pytest.raises(ValueError, match="multiple of multiple_of, got 4 and 3"):
        shard_range(4, 2, 0, multiple_of=3)
