import io
import math

import numpy as np
import pytest
import torch
from torch import nn

from mlopt_edu.regularization import EarlyStopping


def numbered(model, number):
    """Write a number into every parameter and float buffer: weights with a name."""
    for tensor in model.state_dict().values():
        tensor.fill_(number)


def run(scores, **options):
    """Return at which score it stops (or None), and which weights come back."""
    model = nn.Linear(2, 1)
    stopping = EarlyStopping(model, **options)
    stopped = None
    for step, score in enumerate(scores):
        numbered(model, step)
        if stopping.update(score):
            stopped = step
            break
    stopping.restore_()
    assert model.weight.unique().tolist() == [stopping.best_step]
    assert stopping.best == scores[stopping.best_step]
    return stopped, stopping.best_step


def expected_run(scores, patience, min_delta):
    """The definition, searched: the first `patience` scores none of which improves."""
    best = 0
    while True:
        later = range(best + 1, len(scores))
        gains = [t for t in later if scores[best] - scores[t] > min_delta]
        following = gains[0] if gains else len(scores)
        if following - best > patience:
            return best + patience, best
        if not gains:
            stop = best + patience
            return (stop if stop < len(scores) else None), best
        best = following


@pytest.mark.parametrize("patience", [1, 2, 5])
@pytest.mark.parametrize("min_delta", [0.0, 0.4])
def test_it_stops_where_the_definition_says(patience, min_delta):
    rng = np.random.default_rng(0)
    stops = set()
    for _ in range(60):
        scores = (rng.normal(size=15).round(1) - 0.15 * np.arange(15)).tolist()
        expected = expected_run(scores, patience, min_delta)
        actual = run(scores, patience=patience, min_delta=min_delta)
        assert actual == expected
        negated = [-score for score in scores]
        assert expected == run(
            negated, patience=patience, min_delta=min_delta, maximize=True
        )
        stops.add(expected[0])
    assert len(stops) > 4


@pytest.mark.parametrize(
    ("scores", "options", "expected"),
    [
        ([3.0, 2.0, 1.0], {"patience": 1}, (None, 2)),
        ([1.0, 1.0], {"patience": 1}, (1, 0)),  # as good is not better
        ([1.0, 0.9, 0.8, 0.7], {"patience": 2, "min_delta": 0.25}, (2, 0)),
        ([1.0, 0.9, 0.7, 0.5], {"patience": 2, "min_delta": 0.25}, (None, 2)),
        ([0.5, 0.7, 0.6, 0.6], {"patience": 2, "maximize": True}, (3, 1)),
        ([math.nan, 2.0, math.nan, math.nan], {"patience": 2}, (3, 1)),
        ([math.inf, 1.0, math.inf], {"patience": 1}, (2, 1)),
    ],
)
def test_small_cases(scores, options, expected):
    assert run(scores, **options) == expected


def test_it_keeps_saying_so_and_takes_tensors():
    stopping = EarlyStopping(nn.Linear(1, 1), patience=1)
    scores = torch.tensor([1.0, 2.0, 3.0, 0.5])
    answers = [stopping.update(score) for score in scores]
    assert answers == [False, True, True, False]


def test_buffers_come_back_and_the_optimizer_goes_on():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(model.parameters())
    stopping = EarlyStopping(model)

    def train(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(8, 3)).square().mean().backward()
            optimizer.step()

    train(3)
    stopping.update(1.0)
    best = {name: value.clone() for name, value in model.state_dict().items()}
    identities = [id(param) for param in model.parameters()]
    train(3)
    assert not torch.equal(model[1].running_mean, best["1.running_mean"])
    stopping.update(2.0)
    stopping.restore_()
    assert [id(param) for param in model.parameters()] == identities
    for name, value in model.state_dict().items():
        assert torch.equal(value, best[name])
    assert model[1].num_batches_tracked == 3
    train(2)  # what was restored is trained on, and what is held is not
    stopping.restore_()
    assert torch.equal(model[0].weight, best["0.weight"])


def test_extra_state_is_copied_too():
    class Counter(nn.Linear):
        seen: list[int]

        def get_extra_state(self):
            return self.seen

        def set_extra_state(self, state):
            self.seen = state

    model = Counter(1, 1)
    model.seen = [1]
    stopping = EarlyStopping(model)
    stopping.update(1.0)
    model.seen.append(2)
    stopping.restore_()
    assert model.seen == [1]


def test_it_goes_on_from_its_state_as_if_never_cut():
    scores = [5.0, 3.0, 4.0, 3.5, 2.0, 2.5, 2.2, 2.1]
    for cut in range(len(scores)):
        model = nn.Linear(2, 1)
        stopping = EarlyStopping(model, patience=3)
        for step in range(cut):
            numbered(model, step)
            stopping.update(scores[step])
        file = io.BytesIO()
        torch.save(stopping.state_dict(), file)
        file.seek(0)
        again = EarlyStopping(model, patience=3)
        again.load_state_dict(torch.load(file, weights_only=True))
        for step in range(cut, len(scores)):
            numbered(model, step)
            stop = again.update(scores[step])
        again.restore_()
        assert (stop, again.best, again.best_step, again.step) == (True, 2.0, 4, 8)
        assert model.weight.unique().tolist() == [4]


def test_nothing_to_restore():
    stopping = EarlyStopping(nn.Linear(1, 1))
    stopping.update(math.nan)
    with pytest.raises(
        RuntimeError, match=r"^restore_ must follow an update with .* 1"
    ):
        stopping.restore_()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 0}, r"^patience must be at least 1, got 0"),
        ({"min_delta": -1.0}, r"^min_delta must be finite and at least 0, got -1.0"),
        ({"min_delta": math.nan}, r"^min_delta must be finite and at least 0, got nan"),
    ],
)
def test_what_is_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EarlyStopping(nn.Linear(1, 1), **options)
