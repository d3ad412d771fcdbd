"""What p ranks save, q ranks restore; an interrupted save leaves the one before."""

import importlib
import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import mse_loss

from mlopt_edu.parallel import launch
from mlopt_edu.parallel.batches import ShardedBatches
from mlopt_edu.parallel.checkpoint import Checkpoint, Piece, save_checkpoint
from mlopt_edu.parallel.data_parallel import mean_over_ranks
from mlopt_edu.parallel.zero import Zero

ROWS = 12


class CountingSGD(torch.optim.Optimizer):
    """Momentum whose state has a Python count and a None beside the tensor."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for param in self.param_groups[0]["params"]:
            state = self.state[param]
            if not state:
                state.update(step=0, mean=torch.zeros_like(param), extra=None)
            state["step"] += 1
            state["mean"].lerp_(param.grad, 0.1)
            param.sub_(state["mean"], alpha=0.5 / state["step"])


OPTIMIZERS = {
    "adamw": lambda params: torch.optim.AdamW(params, lr=0.05, weight_decay=0.1),
    "sgd": lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9),
    "counting": lambda params: CountingSGD(params, lr=0.5),
}


def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 2, bias=False), nn.Linear(2, 1)
    ).double()


def train(zero, model, steps):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, 3, dtype=torch.float64, generator=draw)
    batches = [*ShardedBatches(ROWS, 5)] * 3
    for step in steps:
        zero.zero_grad()
        batch = batches[step]
        loss = mse_loss(model(x[batch]).sum(1), x[batch, 0], reduction="sum")
        mean_over_ranks(loss, len(batch)).backward()
        zero.step()


def weights(zero, model):
    with zero.gathered():
        return [param.detach().clone() for param in model.parameters()]


def run(folder, name, stage, units, steps, resume):
    model = build()
    chosen = None if units == "children" else []
    zero = Zero(model, OPTIMIZERS[name], stage=stage, units=chosen)
    start = 0
    if resume:
        with torch.no_grad():
            for unit in zero.units:
                unit.shard.fill_(-7.0)
        checkpoint = Checkpoint(folder)
        zero.load(checkpoint)
        start = checkpoint.values["step"]
    train(zero, model, range(start, steps))
    if folder is not None:
        save_checkpoint(folder, zero.pieces(), values={"step": steps})
    return weights(zero, model)


@pytest.mark.parametrize(
    ("name", "first", "then"),
    [
        ("adamw", (3, 3, "children"), (2, 1, "whole")),
        ("adamw", (1, 2, "whole"), (4, 3, "children")),
        ("sgd", (2, 1, "children"), (3, 2, "children")),
        ("counting", (4, 2, "whole"), (1, 3, "whole")),
    ],
)
def test_resumed_equals_uninterrupted(tmp_path, name, first, then):
    expected = launch(run, 1, None, name, 1, "whole", 8, False)[0]
    world_size, stage, units = first
    launch(run, world_size, tmp_path, name, stage, units, 5, False)
    world_size, stage, units = then
    for actual in launch(run, world_size, tmp_path, name, stage, units, 8, True):
        for one, other in zip(expected, actual, strict=True):
            torch.testing.assert_close(other, one, rtol=0, atol=1e-12)


def test_a_plain_model_reads_what_ranks_saved(tmp_path):
    saved = launch(run, 3, tmp_path, "adamw", 3, "children", 2, False)[0]
    checkpoint, model = Checkpoint(tmp_path), build()
    model.load_state_dict(
        {name: checkpoint.tensor(name) for name in model.state_dict()}
    )
    for one, other in zip(saved, model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert checkpoint.tensor("number/step/0.weight") == 2.0
    assert checkpoint.shapes["state/exp_avg/0.weight"] == (7, 3)


def save_ranges(folder, dtype, cuts):
    rank = dist.get_rank()
    numbers = torch.arange(24).reshape(2, 3, 4).to(dtype)
    flat = numbers.flatten()[cuts[rank] : cuts[rank + 1]]
    pieces = {"numbers": Piece(flat, cuts[rank], (2, 3, 4))}
    if rank == 0:
        pieces["count"] = Piece.whole(torch.tensor(7))
        pieces["empty"] = Piece.whole(torch.zeros(0, 2))
    save_checkpoint(folder, pieces, values={"seed": rank})


@pytest.mark.parametrize(
    ("dtype", "cuts"),
    [
        (torch.float64, (0, 24)),
        (torch.bfloat16, (0, 1, 24)),
        (torch.int32, (0, 10, 10, 24)),
    ],
)
def test_any_range_comes_back(tmp_path, dtype, cuts):
    launch(save_ranges, len(cuts) - 1, tmp_path, dtype, cuts)
    checkpoint, whole = Checkpoint(tmp_path), torch.arange(24).to(dtype)
    for start in range(0, 25, 3):
        for stop in range(start, 25):
            assert torch.equal(
                whole[start:stop], checkpoint.read("numbers", start, stop)
            )
    assert torch.equal(whole.reshape(2, 3, 4), checkpoint.tensor("numbers"))
    assert checkpoint.tensor("count") == 7
    assert checkpoint.tensor("empty").shape == (0, 2)
    assert checkpoint.values == {"seed": 0}
    assert [path.name for path in tmp_path.glob("save-*")] == ["save-1"]


def interrupted(folder):
    """Interrupt a second save at each place where it could be, one after the other."""
    module = importlib.import_module("mlopt_edu.parallel.checkpoint")
    save_checkpoint(folder, {"x": Piece.whole(torch.zeros(3))}, values={"save": 0})
    flush, rmtree, replace = module._flush, module.shutil.rmtree, Path.replace
    seen = []

    class Interrupted(BaseException):
        pass

    for moment in range(8):
        count = iter(range(100))

        def stop_here(original, count=count, moment=moment):
            def step(*args):
                if next(count) == moment:
                    raise Interrupted
                return original(*args)

            return step

        module._flush = stop_here(flush)
        module.shutil.rmtree = stop_here(rmtree)
        Path.replace = stop_here(replace)
        try:
            new = {"x": Piece.whole(torch.full((3,), moment + 1.0))}
            save_checkpoint(folder, new, values={"save": moment + 1})
            finished = True
        except Interrupted:
            finished = False
        finally:
            module._flush, module.shutil.rmtree = flush, rmtree
            Path.replace = replace
        found = Checkpoint(folder)
        seen.append((finished, found.values["save"], found.tensor("x").tolist()))
    save_checkpoint(folder, {"x": Piece.whole(torch.ones(3))}, values={"save": 99})
    return seen, sorted(path.name for path in Path(folder).iterdir())


def test_an_interrupted_save_leaves_the_one_before(tmp_path):
    [(seen, left)] = launch(interrupted, 1, tmp_path)
    # file, contents, folder, pointer; then the pointer is replaced, and what follows
    # (folder, removal of the old) comes too late to matter
    for moment, (finished, save, numbers) in enumerate(seen):
        assert numbers == [float(save)] * 3
        assert (save == moment + 1) == (moment >= 5), "new from the sixth moment on"
        assert not finished or save == moment + 1
    assert [finished for finished, *_ in seen].count(False) >= 6
    assert left == ["latest", "save-10"]


def one_rank_fails(folder):
    good = {"x": Piece.whole(torch.zeros(2))} if dist.get_rank() == 0 else {}
    save_checkpoint(folder, good, values={"good": True})
    bad = {"x": Piece("no tensor", 0, (2,))} if dist.get_rank() == 1 else good
    with pytest.raises(RuntimeError, match="rank 1 could not save its pieces: Attrib"):
        save_checkpoint(folder, bad)
    with pytest.raises(RuntimeError, match=r"rank 0 could not save its .* JSON"):
        save_checkpoint(folder, good, values={"unsavable": {1, 2}})
    unlike = {"x": Piece(torch.zeros(1), dist.get_rank(), (2 + dist.get_rank(),))}
    with pytest.raises(ValueError, match=r"'x' must have one shape on all ranks, got"):
        save_checkpoint(folder, unlike)


def test_all_ranks_hear_of_the_one_that_failed(tmp_path):
    launch(one_rank_fails, 2, tmp_path)
    assert Checkpoint(tmp_path).values == {"good": True}


def with_a_gap(folder):
    rank = dist.get_rank()
    piece = Piece(torch.full((2,), float(rank)), 3 * rank, (5,))
    save_checkpoint(folder, {"x": piece})


def test_errors_of_a_reader(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold a complete checkpoint"):
        Checkpoint(tmp_path)
    launch(with_a_gap, 2, tmp_path)
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.read("x", 3).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="got none of its entries from 2 on"):
        checkpoint.read("x", 1)
    with pytest.raises(KeyError, match="must be a tensor of the checkpoint, got 'y'"):
        checkpoint.read("y")
    for start, stop in ((-1, 2), (3, 2), (0, 6)):
        with pytest.raises(ValueError, match=r"must lie in order in \[0, 5\]"):
            checkpoint.read("x", start, stop)


def test_the_contents_are_text_that_anyone_can_read(tmp_path):
    launch(with_a_gap, 2, tmp_path)
    contents = json.loads((tmp_path / "save-1" / "contents.json").read_text())
    assert contents == {
        "values": {},
        "shapes": {"x": [5]},
        "parts": {"x": [[0, 2, "rank-0.safetensors"], [3, 2, "rank-1.safetensors"]]},
    }
