"""The shared models against torch's own layers, and the laws that they keep."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mlopt_edu.models import Block, CharGPT, SmallCNN, mlp


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


MAKERS = {
    "mlp": lambda **options: mlp([20, 16, 8, 3], **options),
    "SmallCNN": SmallCNN,
    "CharGPT": lambda **options: CharGPT(63, **options),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_generator_and_a_global_seed_give_the_same_model_again(make):
    torch.manual_seed(1)
    global_one = make()
    torch.manual_seed(1)
    pairs = [(global_one, make())]
    torch.manual_seed(2)
    first = make(generator=generator())
    torch.manual_seed(3)
    pairs.append((first, make(generator=generator())))
    for one, other in pairs:
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)
    for name, weight in make(generator=generator(9)).named_parameters():
        if weight.ndim > 1:
            assert not torch.equal(weight, first.state_dict()[name])


@pytest.mark.parametrize("sizes", [[3, 1], [784, 32, 10], (5, 4, 3, 2, 1)])
def test_mlp_is_torchs_layers_in_a_row(sizes):
    """With the seed of torch's global generator it has the very weights."""
    model = mlp(sizes, activation=nn.Tanh, generator=generator(7))
    torch.manual_seed(7)
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.Tanh()]
    expected = nn.Sequential(*layers[:-1])
    assert str(model) == str(expected)
    torch.testing.assert_close(model.state_dict(), expected.state_dict())


def test_smallcnn_has_the_law_and_the_number_of_torchs_weights():
    model = SmallCNN(generator=generator(7))
    torch.manual_seed(7)
    layers = [nn.Conv2d(1, 16, 3), nn.Conv2d(16, 32, 3), nn.Linear(1568, 10)]
    drawn = [model.features[0], model.features[3], model.classifier]
    for ours, layer in zip(drawn, layers, strict=True):
        torch.testing.assert_close(ours.state_dict(), layer.state_dict())
    assert count(model) == 20_490
    assert SmallCNN.__doc__.count("20,490") == 1


@pytest.mark.parametrize(("classes", "channels"), [(10, (16, 32)), (2, (3, 5))])
def test_smallcnn_takes_28_by_28(classes, channels):
    model = SmallCNN(classes, channels=channels)
    images = torch.randn(4, 1, 28, 28, generator=generator())
    assert model(images).shape == (4, classes)
    maps = model.features[:3](images), model.features(images)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (channels[0], 14, 14),
        (channels[1], 7, 7),
    ]


@pytest.mark.parametrize(
    ("width", "heads", "time"), [(64, 4, 32), (15, 3, 7), (8, 1, 1)]
)
def test_a_block_is_torchs_encoder_layer_with_a_causal_mask(width, heads, time):
    torch.manual_seed(0)
    block = Block(width, heads).double()
    layer = nn.TransformerEncoderLayer(
        width,
        heads,
        dim_feedforward=4 * width,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
        bias=False,
        dtype=torch.float64,
    )
    with torch.no_grad():
        # Not all ones, or a norm left out of its place would not be seen.
        for norm in (block.attention_norm, block.mlp_norm):
            norm.weight.uniform_(0.5, 1.5)
    names = {
        "self_attn.in_proj_weight": block.query_key_value.weight,
        "self_attn.out_proj.weight": block.attention_out.weight,
        "linear1.weight": block.mlp_in.weight,
        "linear2.weight": block.mlp_out.weight,
        "norm1.weight": block.attention_norm.weight,
        "norm2.weight": block.mlp_norm.weight,
    }
    layer.load_state_dict(names)
    x = torch.randn(3, time, width, dtype=torch.float64, requires_grad=True)
    mask = nn.Transformer.generate_square_subsequent_mask(time, dtype=torch.float64)
    outputs = [block(x), layer(x, src_mask=mask, is_causal=True)]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-12, atol=1e-12)

    upstream = torch.randn_like(x)
    ours = torch.autograd.grad(outputs[0], [x, *names.values()], upstream)
    theirs = torch.autograd.grad(
        outputs[1], [x, *(layer.get_parameter(name) for name in names)], upstream
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.fixture(scope="module")
def gpt():
    """Double precision, and weights far from their small beginnings."""
    model = CharGPT(11, width=12, heads=3, layers=3, context=9, generator=generator())
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(10)
    return model.double()


@pytest.mark.parametrize("place", range(9))
def test_a_character_changes_no_logits_before_it_and_all_from_it_on(gpt, place):
    ids = torch.randint(11, (2, 9), generator=generator(1))
    other = ids.clone()
    other[:, place] = (ids[:, place] + 1) % 11
    change = (gpt(ids) - gpt(other)).abs().amax(dim=(0, 2))
    assert (change[:place] < 1e-12).all()
    assert (change[place:] > 1e-6).all()


@pytest.mark.parametrize("time", [1, 4, 9])
def test_a_shorter_text_has_the_same_logits(gpt, time):
    ids = torch.randint(11, (2, 9), generator=generator(2))
    torch.testing.assert_close(gpt(ids[:, :time]), gpt(ids)[:, :time])


def test_the_order_of_the_characters_matters(gpt):
    ids = torch.tensor([[1, 2, 3, 4]])
    swapped = torch.tensor([[2, 1, 3, 4]])
    assert (gpt(ids) - gpt(swapped))[:, -1].abs().max() > 1e-6


def test_texts_of_a_batch_do_not_mix(gpt):
    ids = torch.randint(11, (5, 9), generator=generator(3))
    torch.testing.assert_close(gpt(ids), torch.cat([gpt(row[None]) for row in ids]))


@pytest.mark.parametrize(
    ("vocabulary", "width", "layers", "context"), [(63, 64, 2, 32), (5, 12, 3, 7)]
)
def test_the_parameters_of_a_gpt_by_hand(vocabulary, width, layers, context):
    model = CharGPT(vocabulary, width=width, heads=4, layers=layers, context=context)
    block = 12 * width**2 + 2 * width
    ends = 2 * vocabulary * width + context * width + width
    assert count(model) == layers * block + ends
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    assert len(matrices) == 4 * layers


def test_the_weights_begin_with_the_spread_that_the_docstring_says():
    model = CharGPT(200, width=128, heads=4, layers=8, generator=generator())
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            assert torch.equal(weight, torch.ones_like(weight))
            continue
        adds = name.split(".")[-2] in ("attention_out", "mlp_out")
        std = 0.02 / math.sqrt(16) if adds else 0.02
        # The estimate of a standard deviation is off by 1 / sqrt(2 n).
        near = 5 / math.sqrt(2 * weight.numel())
        assert weight.std().item() == pytest.approx(std, rel=near)
        assert abs(weight.mean().item()) < 5 * std / math.sqrt(weight.numel())


def test_a_new_gpt_knows_nothing():
    ids = torch.randint(63, (16, 33), generator=generator())
    model = CharGPT(63, generator=generator())
    loss = cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(63), abs=0.05)


def test_a_gpt_learns_to_count_and_says_so():
    """After each number comes the next, modulo 7."""
    model = CharGPT(7, width=16, heads=2, layers=1, context=8, generator=generator())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    starts = torch.randint(7, (60, 16, 1), generator=generator(1))
    for start in starts:
        ids = (start + torch.arange(9)) % 7
        loss = cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # More characters than the context holds.
    said = model.generate(torch.tensor([[3], [6]]), 20, temperature=0)
    expected = (torch.tensor([[3], [6]]) + torch.arange(21)) % 7
    assert torch.equal(said, expected)


def test_generated_characters_have_the_shares_of_the_softmax(gpt):
    ids = torch.tensor([[4, 5]])
    for temperature in (0.5, 2.0):
        drawn = gpt.generate(
            ids.expand(20_000, 2), 1, temperature=temperature, generator=generator()
        )
        assert torch.equal(drawn[:, :2], ids.expand(20_000, 2))
        expected = torch.softmax(gpt(ids)[0, -1] / temperature, dim=-1)
        seen = torch.bincount(drawn[:, 2], minlength=11) / 20_000
        assert (seen - expected).abs().max() < 0.015


def test_generating_follows_the_generator_and_leaves_no_gradient(gpt):
    ids = torch.tensor([[1]])
    runs = [gpt.generate(ids, 30, generator=generator(seed)) for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert runs[0].shape == (1, 31)
    assert torch.equal(gpt.generate(ids, 0), ids)


def test_torch_export_follows_a_gpt_without_a_break():
    model = CharGPT(9, width=16, context=6, generator=generator())
    ids = torch.randint(9, (2, 6), generator=generator())
    exported = torch.export.export(model, (ids,)).module()
    torch.testing.assert_close(exported(ids), model(ids))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mlp([3]), ["sizes", "[3]"]),
        (lambda: mlp([3, 0, 1]), ["sizes", "[3, 0, 1]"]),
        (lambda: SmallCNN(0), ["classes", "at least 1", "0"]),
        (lambda: SmallCNN(channels=(4, 0)), ["channels", "(4, 0)"]),
        (lambda: CharGPT(0), ["vocabulary", "at least 1"]),
        (lambda: CharGPT(9, layers=0), ["layers", "at least 1"]),
        (lambda: CharGPT(9, width=10, heads=4), ["heads", "divide width 10", "4"]),
        (lambda: CharGPT(9)(torch.zeros(1, 33).long()), ["ids", "32", "(1, 33)"]),
        (lambda: CharGPT(9)(torch.zeros(3).long()), ["ids", "(3,)"]),
        (lambda: CharGPT(9).generate(torch.zeros(1, 0).long(), 1), ["ids", "(1, 0)"]),
        (
            lambda: CharGPT(9).generate(torch.zeros(1, 1).long(), -1),
            ["count", "at least 0", "-1"],
        ),
        (
            lambda: CharGPT(9).generate(torch.zeros(1, 1).long(), 1, temperature=-2),
            ["temperature", "-2"],
        ),
    ],
)
def test_bad_numbers_are_one_sentence(call, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the words are in the table
        call()
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)
