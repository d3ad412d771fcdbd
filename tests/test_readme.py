"""The README's Python runs as it stands, and trains the model that it makes."""

import re
from pathlib import Path

import torch

README = Path(__file__).parents[1] / "README.md"


def test_the_engineers_lines_train_a_model_of_torch():
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.S)
    torch.manual_seed(0)
    names: dict[str, object] = {}
    exec(program, names)
    model, optimizer, scheduler = (
        names[name] for name in ("model", "optimizer", "scheduler")
    )
    inputs = torch.randn(8, 5, 64)
    targets = inputs.roll(1, dims=1)
    losses, rates = [], []
    for _ in range(30):
        rates.append(optimizer.param_groups[0]["lr"])
        loss = (model(inputs) - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]
    assert rates[0] > rates[1] > rates[-1] > 0
