"""After a rank is killed, torchrun's restart ends at the weights of a calm run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from mlopt_edu.parallel import RankError, launch
from mlopt_edu.parallel.elastic import check_finite, run_elastic, save_atomically
from tests.parallel.elastic_training import EVERY, WORLD_SIZE, train

NEVER = -1
REPOSITORY = Path(__file__).parents[2]


def torchrun(script, *arguments, ranks, restarts):
    """Run a script under torchrun and return its exit status and what it said."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(ranks), "--max-restarts", str(restarts)]
    result = subprocess.run(
        [*command, str(script), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    return result.returncode, result.stderr


def test_a_restart_after_a_kill_reaches_the_same_weights(tmp_path):
    script = Path(__file__).with_name("elastic_training.py")
    fatal_step = 6
    status, said = torchrun(script, tmp_path, fatal_step, ranks=WORLD_SIZE, restarts=1)
    assert status == 0, said
    assert "Signal 9 (SIGKILL)" in said or "exitcode: -9" in said
    results = torch.load(tmp_path / "results.pt")
    calm = launch(train, WORLD_SIZE, tmp_path / "calm.pt", NEVER)
    for (begin, weights), (calm_begin, calm_weights) in zip(results, calm, strict=True):
        assert [begin, calm_begin] == [EVERY, 0]
        for name, expected in calm_weights.items():
            torch.testing.assert_close(weights[name], expected, rtol=0, atol=0)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["calm.pt", "checkpoint.pt", "results.pt"]


def saves_of_a_counter(path, steps, every):
    counter = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(counter.weight)
    saved = []

    def step(number):
        saved.append(torch.load(path)["step"] if path.exists() else None)
        with torch.no_grad():
            counter.weight += number
        dist.barrier()

    begin = run_elastic(step, {"counter": counter}, steps=steps, path=path, every=every)
    return begin, saved, counter.weight.item(), torch.load(path)["step"]


def test_saves_come_every_so_many_steps_and_at_the_end(tmp_path):
    path = tmp_path / "counter.pt"
    # Begun, saved before each step, the sum of the steps, saved at the end.
    expected = [(0, [None, None, None, 3, 3, 3, 6], 21.0, 7)]
    assert expected == launch(saves_of_a_counter, 1, path, 7, 3)
    assert launch(saves_of_a_counter, 1, path, 9, 3) == [(7, [7, 7], 36.0, 9)]
    assert launch(saves_of_a_counter, 1, path, 9, 3) == [(9, [], 36.0, 9)]


def test_an_interrupted_save_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "weights.pt"
    save_atomically({"weight": torch.ones(3)}, path)

    class Interrupt:
        def __reduce__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_atomically({"weight": torch.zeros(3), "more": Interrupt()}, path)
    torch.testing.assert_close(torch.load(path)["weight"], torch.ones(3))
    save_atomically({"weight": torch.zeros(3)}, path)
    torch.testing.assert_close(torch.load(path)["weight"], torch.zeros(3))
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "steps must be at least 0, got -1"),
        ({"steps": 1, "every": 0}, "every must be at least 1, got 0"),
    ],
)
def test_a_wrong_argument_is_named(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run_elastic(print, {}, path=tmp_path / "never.pt", **options)


def gradients_with(value, guilty):
    """Return what each rank learns of a value in one gradient of one rank."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    model(torch.ones(1, 2)).sum().backward()
    if dist.get_rank() in guilty:
        model[1].weight.grad[0, 1] = value
    try:
        check_finite((name, p.grad) for name, p in model.named_parameters())
    except FloatingPointError as error:
        return str(error)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_is_reported_by_every_rank(value):
    messages = launch(gradients_with, 3, value, [1, 2])
    assert len(set(messages)) == 1
    assert messages[0].startswith("1.weight of rank 1 of 3 is not finite")


def test_finite_values_pass():
    assert launch(gradients_with, 2, 1e38, [0]) == [None, None]


def nan_in_the_loss():
    loss = torch.tensor(float("nan") if dist.get_rank() == 1 else 1.0)
    check_finite([("loss", loss)])


def test_the_launcher_reports_a_nan():
    with pytest.raises(RankError, match="loss of rank 1 of 2 is not finite"):
        launch(nan_in_the_loss, 2)
