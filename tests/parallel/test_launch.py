"""The launcher: what it returns, and what it says and leaves when a rank fails."""

import os

import pytest
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from mlopt_edu.parallel import launch


def who_am_i(*args):
    return dist.get_rank(), dist.get_world_size(), torch.get_num_threads(), args


def sum_of_ranks():
    total = torch.tensor([dist.get_rank() + 1.0])
    dist.all_reduce(total)
    return total


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_results_come_back_in_the_order_of_the_ranks(world_size):
    expected = [(rank, world_size, 1, ("a", 2)) for rank in range(world_size)]
    assert expected == launch(who_am_i, world_size, "a", 2)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_can_talk(world_size):
    expected = torch.tensor([sum(range(1, world_size + 1)) * 1.0])
    for total in launch(sum_of_ranks, world_size):
        torch.testing.assert_close(total, expected)


def environment_and_folder():
    return os.environ.get("MLOPT_TEST"), os.getcwd()


def test_ranks_see_the_environment_and_folder_of_now(monkeypatch, tmp_path):
    for value in ["first", "second"]:
        monkeypatch.setenv("MLOPT_TEST", value)
        monkeypatch.chdir(tmp_path)
        expected = [(value, str(tmp_path))]
        assert expected == launch(environment_and_folder, 1)


def large_result():
    return torch.full((3_000_000,), float(dist.get_rank()))


def test_large_results_pass(monkeypatch):
    for rank, result in enumerate(launch(large_result, 2)):
        assert result.shape == (3_000_000,)
        assert bool((result == rank).all())


def leave_the_group():
    dist.destroy_process_group()
    return "left"


def test_a_function_may_end_its_process_group():
    assert launch(leave_the_group, 2) == ["left", "left"]


def load_with_workers():
    loader = DataLoader(torch.arange(6), batch_size=2, num_workers=1)
    return [batch.tolist() for batch in loader]


def test_a_rank_may_have_loader_workers():
    assert launch(load_with_workers, 1) == [[[0, 1], [2, 3], [4, 5]]]


@pytest.mark.parametrize(
    ("world_size", "options", "message"),
    [
        (0, {}, "world_size must be at least 1, got 0"),
        (1, {"timeout": 0}, "timeout must be above 0 seconds, got 0"),
        (1, {"timeout": float("nan")}, "timeout must be above 0 seconds, got nan"),
        (1, {"device": "tpu"}, 'device must be "cpu" or "cuda", got \'tpu\''),
        (1000, {"device": "cuda"}, "world_size must be at most the number of GPUs"),
    ],
)
def test_a_wrong_argument_is_named(world_size, options, message):
    with pytest.raises(ValueError, match=message):
        launch(sum_of_ranks, world_size, **options)


def test_another_world_size_than_torchrun_started_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ValueError, match="what torchrun started, 4, got 2"):
        launch(sum_of_ranks, 2)
