"""Parameters and bytes, held against closed forms and against what memory holds."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from mlopt_edu.evaluation import bytes_of, count_parameters


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (nn.Linear(3, 5), 3 * 5 + 5),
        (nn.Linear(3, 5, bias=False), 15),
        (nn.Conv2d(6, 4, (3, 5), groups=2), 4 * 3 * 15 + 4),
        (nn.BatchNorm1d(7), 14),
        (nn.LSTM(3, 5, num_layers=2), 4 * 5 * (3 + 5 + 2) + 4 * 5 * (5 + 5 + 2)),
        (nn.ReLU(), 0),
    ],
)
def test_parameters_of_closed_forms(model, expected):
    assert count_parameters(model) == expected


def tied():
    model = nn.Sequential(nn.Embedding(11, 4), nn.Linear(4, 11))
    model[1].weight = model[0].weight
    return model


def test_shared_parameters_count_once():
    assert count_parameters(tied()) == 11 * 4 + 11
    assert bytes_of(tied()) == 4 * (11 * 4 + 11)


def test_frozen_parameters_can_be_left_out():
    model = nn.Sequential(nn.Linear(3, 5).requires_grad_(False), nn.Linear(5, 2))
    assert count_parameters(model, trainable_only=True) == 12
    assert count_parameters(model) == 32


def test_lazy_parameters_are_refused():
    with pytest.raises(ValueError, match=r"^parameter '0.weight' must .*, got a lazy"):
        count_parameters(nn.Sequential(nn.LazyLinear(3)))


@pytest.mark.parametrize(
    ("dtype", "size"),
    [(torch.float64, 8), (torch.float32, 4), (torch.bfloat16, 2), (torch.float16, 2)],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_bytes_follow_the_type(dtype, size, device):
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2)).to(device, dtype)
    assert bytes_of(model) == 32 * size


def holding(**buffers):
    model = nn.Module()
    for name, buffer in buffers.items():
        model.register_buffer(name, buffer)
    return model


def test_buffers_and_integers_count():
    # scale and shift, two running averages, and the int64 counter of batches
    assert bytes_of(nn.BatchNorm2d(6)) == 4 * 6 * 4 + 8
    model = holding(a=torch.zeros(5, dtype=torch.int8), b=torch.zeros(3).bool())
    assert bytes_of(model) == 8


def test_views_count_what_they_span_and_once():
    whole = torch.zeros(100)
    assert bytes_of(holding(first=whole[:10], second=whole[50:])) == 240
    assert bytes_of(holding(first=whole[:60], second=whole[50:])) == 400
    assert bytes_of(holding(whole=whole, part=whole[20:30].view(2, 5).T)) == 400
    assert bytes_of(holding(every_third=whole[:10:3])) == 40
    assert bytes_of(holding(repeated=whole[:1].expand(1000))) == 4
    assert bytes_of(holding(empty=whole[:0])) == 0


def test_a_mask_saves_nothing():
    model = nn.Linear(100, 100, bias=False)
    before = bytes_of(model)
    prune.l1_unstructured(model, "weight", amount=0.9)
    # The masked weight that pruning recomputes is no parameter; the mask is a buffer.
    assert bytes_of(model) == 2 * before


@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta")
@pytest.mark.parametrize(
    ("convert", "expected"),
    [
        (lambda m: m.to_sparse(), 2 * 8 * 6 + 4 * 6),  # two indices, one value
        (lambda m: m.to_sparse_csr(), 8 * (4 + 1) + 8 * 6 + 4 * 6),
        (lambda m: m.to_sparse_csc(), 8 * (6 + 1) + 8 * 6 + 4 * 6),
        (lambda m: m.to_sparse_bsr((2, 3)), 8 * (2 + 1) + 8 * 3 + 4 * 6 * 3),
        (lambda m: m.to_sparse_bsc((2, 3)), 8 * (2 + 1) + 8 * 3 + 4 * 6 * 3),
    ],
)
def test_sparse_tensors_count_values_and_indices(convert, expected):
    matrix = torch.zeros(4, 6)
    for row, column in ((0, 0), (0, 1), (1, 2), (2, 3), (3, 5), (0, 4)):
        matrix[row, column] = 1
    assert bytes_of(holding(matrix=convert(matrix))) == expected
