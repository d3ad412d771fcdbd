import math

import pytest
import torch
from torch import nn

from mlopt_edu.regularization import StochasticDepth, linear_drop_probabilities


class Counted(nn.Module):
    """Triple the input and count the calls."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.weight = nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        self.calls += 1
        return self.weight * x


def test_at_evaluation_it_is_a_residual_block():
    for per_example in (False, True):
        block = StochasticDepth(Counted(), 0.9, per_example=per_example).eval()
        assert torch.equal(block(torch.ones(2, 3)), torch.full((2, 3), 4.0))


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
def test_a_batch_is_dropped_as_one_and_not_computed(p):
    torch.manual_seed(0)
    block, n = StochasticDepth(Counted(), p), 4000
    outputs = torch.stack([block(torch.ones(3)) for _ in range(n)])
    assert torch.equal(outputs[:, 0], outputs[:, 2])
    kept = outputs[:, 0] != 1
    assert block.branch.calls == kept.sum()
    assert kept.double().mean().item() == pytest.approx(
        1 - p, abs=4 * math.sqrt(p * (1 - p) / n)
    )
    if p < 1:
        torch.testing.assert_close(
            outputs[kept, 0], torch.full((int(kept.sum()),), 1 + 3 / (1 - p))
        )
        # The mean is that of evaluation: 1 + 3.
        spread = 3 * math.sqrt(p / (1 - p) / n)
        assert outputs.mean().item() == pytest.approx(4.0, abs=4 * spread + 1e-6)


def test_examples_are_dropped_each_for_itself():
    torch.manual_seed(0)
    y = StochasticDepth(Counted(), 0.25, per_example=True)(torch.ones(8000, 2, 3))
    rows = y.flatten(1)
    assert torch.equal(rows.min(1).values, rows.max(1).values)
    assert {round(value, 4) for value in y.unique().tolist()} == {1.0, 5.0}
    assert y.mean().item() == pytest.approx(4.0, abs=4 * 3 * math.sqrt(1 / 3 / 8000))


def test_a_dropped_branch_gets_no_gradient():
    block = StochasticDepth(Counted(), 1.0)
    x = torch.ones(2, requires_grad=True)
    block(x).sum().backward()
    assert block.branch.weight.grad is None
    assert torch.equal(x.grad, torch.ones(2))


@pytest.mark.parametrize("per_example", [False, True])
def test_gradients_with_fixed_chances(per_example):
    block = StochasticDepth(nn.Linear(3, 3), 0.5, per_example=per_example).double()

    def at(x):
        torch.manual_seed(0)
        return block(x)

    x = torch.randn(6, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(at, (x,))


def test_a_shortcut_that_changes_the_shape():
    torch.manual_seed(0)
    block = StochasticDepth(
        nn.Conv2d(2, 4, 3, stride=2, padding=1), 0.5, shortcut=nn.Conv2d(2, 4, 1, 2)
    )
    x = torch.randn(3, 2, 8, 8)
    block.eval()
    torch.testing.assert_close(block(x), block.shortcut(x) + block.branch(x))
    assert block.train()(x).shape == (3, 4, 4, 4)


def test_the_papers_network_has_forty_blocks_on_average():
    # Section 3.1: 54 blocks, survival falling to 0.5: (3 * 54 - 1) / 4 remain.
    survival = [1 - p for p in linear_drop_probabilities(54, 0.5)]
    assert sum(survival) == pytest.approx((3 * 54 - 1) / 4)
    assert survival[-1] == 0.5


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match=r"^p must be a probability in \[0, 1\], got"):
        StochasticDepth(nn.Identity(), p)
    with pytest.raises(ValueError, match=r"^p must be a probability in \[0, 1\], got"):
        linear_drop_probabilities(3, p)


def test_a_network_without_blocks_is_refused():
    with pytest.raises(ValueError, match=r"^depth must be at least 1, got 0"):
        linear_drop_probabilities(0, 0.5)
