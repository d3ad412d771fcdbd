"""Started by torchrun in test_elastic: trains a regression and kills itself once."""

import copy
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from mlopt_edu.parallel import launch
from mlopt_edu.parallel.elastic import run_elastic

STEPS, EVERY, WORLD_SIZE = 9, 4, 2


def train(path, fatal_step):
    """Return the step that this run began at and the weights at its end."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2, dtype=torch.float64)
    # Momentum lives in a second model: what is to be saved is more than the weights.
    momentum = copy.deepcopy(model)
    for buffer in momentum.parameters():
        buffer.requires_grad_(False).zero_()

    def step(number):
        is_first_run = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
        if number == fatal_step and is_first_run and dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        numbers = torch.Generator().manual_seed(1000 * number + dist.get_rank())
        inputs = torch.randn(4, 3, generator=numbers, dtype=torch.float64)
        loss = (model(inputs) - inputs[:, :2]).square().mean()
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter, buffer in zip(
                model.parameters(), momentum.parameters(), strict=True
            ):
                dist.all_reduce(parameter.grad)
                buffer.mul_(0.9).add_(parameter.grad / dist.get_world_size())
                parameter.sub_(0.1 * buffer)

    states = {"model": model, "momentum": momentum}
    begin = run_elastic(step, states, steps=STEPS, path=path, every=EVERY)
    return begin, {name: value.detach() for name, value in model.named_parameters()}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    results = launch(train, WORLD_SIZE, folder / "checkpoint.pt", int(sys.argv[2]))
    if dist.get_rank() == 0:
        torch.save(results, folder / "results.pt")
