import io
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mlopt_edu.regularization import ExponentialMovingAverage

DECAYS = [0.0, 0.5, 0.99]


def net(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).to(dtype)


def trained(model, steps):
    """Train, and stop after each step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(8, 3, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        (model(x.to(model[0].weight.dtype)) - 1).square().mean().backward()
        optimizer.step()
        yield


def values(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("buffers", [False, True])
def test_the_plain_average_is_torchs(decay, buffers):
    model = net()
    theirs = AveragedModel(
        model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=buffers
    )
    theirs.update_parameters(model)  # torch's first update copies the weights
    ema = ExponentialMovingAverage(
        model, decay, bias_correction=False, average_buffers=buffers
    )
    for _ in trained(model, 50):
        ema.update()
        theirs.update_parameters(model)
    own = values(model)
    with ema.averaged():
        held = values(model)
    expected = values(theirs.module)
    for name in own:
        is_averaged = "running" not in name or buffers
        if name == "1.num_batches_tracked" or not is_averaged:
            assert torch.equal(held[name], own[name])
        else:
            torch.testing.assert_close(held[name], expected[name], rtol=1e-12, atol=0)


@pytest.mark.parametrize("decay", DECAYS)
def test_the_corrected_average_weighs_trained_weights_alone(decay):
    model = net()
    ema = ExponentialMovingAverage(model, decay)
    seen = []
    for _ in trained(model, 30):
        ema.update()
        seen.append(model[0].weight.detach().numpy().copy())
        shares = decay ** np.arange(len(seen))[::-1]
        expected = np.tensordot(shares / shares.sum(), np.stack(seen), 1)
        with ema.averaged():
            np.testing.assert_allclose(
                model[0].weight.detach().numpy(), expected, rtol=1e-12
            )


def test_the_corrected_average_begins_with_the_first_weights():
    model = net()
    ema = ExponentialMovingAverage(model, 0.999)
    next(trained(model, 1))
    ema.update()
    first = values(model)
    with ema.averaged():
        assert all(map(torch.equal, values(model).values(), first.values()))


def test_the_initial_weights_fade_slowly_without_correction():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    plain = ExponentialMovingAverage(model, 0.999, bias_correction=False)
    corrected = ExponentialMovingAverage(model, 0.999)
    nn.init.ones_(model.weight)
    for _ in range(300):
        plain.update()
        corrected.update()
    with plain.averaged():
        assert model.weight.item() == pytest.approx(1 - 0.999**300, rel=1e-5)
    with corrected.averaged():
        assert model.weight.item() == pytest.approx(1.0)


def test_the_models_own_weights_come_back_bit_for_bit_even_after_an_error():
    model = net()
    ema = ExponentialMovingAverage(model, 0.5, average_buffers=True)
    for _ in trained(model, 3):
        ema.update()
    own, identities = values(model), [id(param) for param in model.parameters()]
    for error in (None, KeyError):
        try:
            with ema.averaged():
                assert not torch.equal(model[0].weight, own["0.weight"])
                if error:
                    raise error
        except KeyError:
            pass
        assert all(map(torch.equal, values(model).values(), own.values()))
    assert [id(param) for param in model.parameters()] == identities
    assert all(param.requires_grad for param in model.parameters())
    ema.update()  # not lent any more


def test_neither_update_nor_loan_while_lent():
    model = net()
    ema = ExponentialMovingAverage(model)
    with ema.averaged():
        with pytest.raises(RuntimeError, match=r"^update must be called while the mod"):
            ema.update()
        with (
            pytest.raises(RuntimeError, match=r"^averaged must be called while"),
            ema.averaged(),
        ):
            pass


def test_the_average_of_short_numbers_is_long():
    # Towards 1.5 in steps of 1e-3 of the rest: in bfloat16 the first is already lost.
    model = nn.Linear(1, 1, bias=False).bfloat16()
    nn.init.ones_(model.weight)
    ema = ExponentialMovingAverage(model, 0.999, bias_correction=False)
    nn.init.constant_(model.weight, 1.5)
    for _ in range(700):
        ema.update()
    expected = 1.5 - 0.5 * 0.999**700
    with ema.averaged():
        assert model.weight.dtype == torch.bfloat16
        assert model.weight.item() == pytest.approx(expected, rel=2**-8)
    (average,) = ema.state_dict()["averages"].values()
    assert average.item() == pytest.approx(expected, rel=1e-5)


def test_tied_and_frozen_parameters_and_mixed_types():
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2).double()})
    model["c"] = nn.Linear(2, 2)
    model["c"].weight = model["a"].weight
    model["b"].requires_grad_(False)
    ema = ExponentialMovingAverage(model, 0.5)
    ema.update()
    before = values(model)
    for param in model.parameters():
        param.data += 3
    ema.update()
    with ema.averaged():
        for name, value in values(model).items():
            torch.testing.assert_close(value, before[name] + 2)  # 0.5 / 0.75 of 3
        assert model["c"].weight is model["a"].weight


def test_it_goes_on_from_its_state_bit_for_bit():
    model = net()
    ema = ExponentialMovingAverage(model, 0.9, average_buffers=True)
    steps = trained(model, 20)
    for _ in range(7):
        next(steps)
        ema.update()
    file = io.BytesIO()
    torch.save(ema.state_dict(), file)
    file.seek(0)
    again = ExponentialMovingAverage(model, 0.9, average_buffers=True)
    again.load_state_dict(torch.load(file, weights_only=True))
    for _ in steps:
        ema.update()
        again.update()
    first, second = ema.state_dict(), again.state_dict()
    assert first["step"] == second["step"] == 20
    assert all(
        torch.equal(average, second["averages"][name])
        for name, average in first["averages"].items()
    )


def test_a_state_is_a_copy():
    model = nn.Linear(1, 1)
    ema = ExponentialMovingAverage(model)
    state = ema.state_dict()
    before = state["averages"]["weight"].clone()
    nn.init.constant_(model.weight, 9.0)
    ema.update()
    assert torch.equal(state["averages"]["weight"], before)


def test_the_average_can_be_written_into_another_model():
    model, other = net(), net(torch.float32)
    ema = ExponentialMovingAverage(model, 0.5)
    for _ in trained(model, 3):
        ema.update()
    ema.copy_to_(other)
    with ema.averaged():
        torch.testing.assert_close(other[0].weight, model[0].weight.float())


def test_averaging_beats_the_last_of_noisy_steps():
    def distance(averaged):
        w = nn.Linear(20, 1, bias=False)
        nn.init.zeros_(w.weight)
        ema = ExponentialMovingAverage(w, 0.99)
        generator = torch.Generator().manual_seed(0)
        for _ in range(600):
            noise = torch.randn(1, 20, generator=generator)
            w.weight.data -= 0.2 * (w.weight.data + noise)
            ema.update()
        if not averaged:
            return w.weight.norm().item()
        with ema.averaged():
            return w.weight.norm().item()

    assert distance(averaged=True) < 0.4 * distance(averaged=False)


@pytest.mark.parametrize("decay", [-0.1, 1.0, math.nan])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match=r"^decay must lie in \[0, 1\), got"):
        ExponentialMovingAverage(nn.Linear(1, 1), decay)


def test_the_state_of_another_model_is_refused():
    ema = ExponentialMovingAverage(nn.Linear(2, 1))
    for other in (nn.Linear(3, 1), nn.Linear(2, 1, bias=False)):
        state = ExponentialMovingAverage(other).state_dict()
        with pytest.raises(ValueError, match=r"^state_dict must hold averages with"):
            ema.load_state_dict(state)
