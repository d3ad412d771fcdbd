"""Scores and masks: exact counts, ties, and the best masks found by brute force."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import prune as torch_prune

from mlopt_edu.pruning import (
    cubic_sparsity,
    keep_largest,
    keep_largest_global,
    keep_largest_per_row,
    magnitude_scores,
    movement_scores,
    n_m_mask,
    snip_scores,
    taylor_scores,
    wanda_scores,
)

steady = settings(max_examples=40, deadline=None, derandomize=True)

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int8,
    torch.uint8,
    torch.bool,
]

shapes = st.lists(st.integers(0, 5), min_size=0, max_size=4)
amounts = st.floats(0, 1)


def scores_of(shape, seed, levels=6, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(levels, shape, generator=generator)
    return drawn.to(dtype)


def by_sorting(scores, count):
    """The definition in NumPy: a stable sort, and the first `count` of it go."""
    values = scores.flatten().double().numpy()
    mask = np.ones(values.size, dtype=bool)
    mask[np.argsort(values, kind="stable")[:count]] = False
    return torch.from_numpy(mask).reshape(scores.shape)


@steady
@given(shape=shapes, amount=amounts, seed=st.integers(0, 99))
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_lowest_go_and_of_equal_ones_the_first(dtype, shape, amount, seed):
    scores = scores_of(shape, seed, dtype=dtype)
    mask = keep_largest(scores, amount)
    assert (mask.shape, mask.dtype) == (scores.shape, torch.bool)
    assert torch.equal(by_sorting(scores, round(amount * scores.numel())), mask)


@steady
@given(shape=shapes, seed=st.integers(0, 99), data=st.data())
def test_a_count_is_exact_and_more_only_takes_more(shape, seed, data):
    scores = scores_of(shape, seed)
    fewer, more = sorted(data.draw(st.integers(0, scores.numel())) for _ in range(2))
    few, many = keep_largest(scores, fewer), keep_largest(scores, more)
    assert (fewer, more) == (int((~few).sum()), int((~many).sum()))
    assert not (many & ~few).any()


def test_infinite_scores_have_their_places():
    scores = torch.tensor([1.0, -torch.inf, torch.inf, 0.0, -torch.inf])
    assert keep_largest(scores, 3).tolist() == [True, False, True, False, False]


def test_one_and_one_point_nought_differ():
    scores = torch.arange(4.0)
    assert keep_largest(scores, 1).tolist() == [False, True, True, True]
    assert keep_largest(scores, 1.0).tolist() == [False] * 4


@pytest.mark.parametrize("take", [keep_largest, keep_largest_per_row])
@pytest.mark.parametrize(
    ("amount", "error", "message"),
    [
        (-0.2, ValueError, r"^amount must be a share in \[0, 1\] .* got -0.2$"),
        (1.5, ValueError, r"^amount must be a share in \[0, 1\] .* got 1.5$"),
        (float("nan"), ValueError, r"^amount must be a share .* got nan$"),
        (-1, ValueError, r"^amount must .* count of at least 0 as an int, got -1$"),
        (7, ValueError, r"^amount must be at most the \d weights, got 7$"),
        (True, TypeError, r"^amount must be a float .* got bool$"),
        ("0.5", TypeError, r"^amount must be a float .* got str$"),
    ],
)
def test_what_is_no_amount_is_refused(take, amount, error, message):
    with pytest.raises(error, match=message):
        take(torch.zeros(2, 3), amount)


def test_scores_without_an_order_are_refused():
    with pytest.raises(ValueError, match=r"^scores must hold no NaN, got 2; did"):
        keep_largest(torch.tensor([1.0, torch.nan, torch.nan]), 1)
    with pytest.raises(ValueError, match=r"^scores must be real, got torch.complex64"):
        keep_largest(torch.zeros(2, dtype=torch.complex64), 1)
    with pytest.raises(ValueError, match=r"^scores must have at least 1 dimension"):
        keep_largest_per_row(torch.tensor(1.0), 0.5)


@steady
@given(
    shapes=st.lists(shapes, max_size=4),
    amount=amounts,
    seed=st.integers(0, 99),
)
def test_globally_is_as_one_long_tensor(shapes, amount, seed):
    scores = [scores_of(shape, seed + i) for i, shape in enumerate(shapes)]
    masks = keep_largest_global(scores, amount)
    assert [score.shape for score in scores] == [mask.shape for mask in masks]
    if scores:
        together = torch.cat([score.flatten() for score in scores])
        expected = by_sorting(together, round(amount * together.numel()))
        assert torch.equal(expected, torch.cat([mask.flatten() for mask in masks]))


def test_globally_types_may_differ():
    scores = [torch.tensor([1.0]), torch.tensor([2.0, 0.5], dtype=torch.float64)]
    masks = keep_largest_global(scores, 2)
    assert [mask.tolist() for mask in masks] == [[False], [True, False]]
    with pytest.raises(ValueError, match=r"^amount must be at most the 3 weights"):
        keep_largest_global(scores, 4)


@steady
@given(
    shape=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    amount=amounts,
    seed=st.integers(0, 99),
)
def test_per_row_is_each_row_alone(shape, amount, seed):
    scores = scores_of(shape, seed)
    mask = keep_largest_per_row(scores, amount)
    assert mask.shape == scores.shape
    for row, kept in zip(scores, mask, strict=True):
        assert torch.equal(keep_largest(row, amount), kept)


@steady
@given(
    rows=st.integers(1, 3),
    groups=st.integers(1, 3),
    m=st.integers(1, 5),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_n_of_m_is_the_best_of_all_masks(rows, groups, m, seed, data):
    n = data.draw(st.integers(0, m))
    scores = scores_of((rows, groups * m), seed, levels=50)
    kept = torch.where(n_m_mask(scores, n=n, m=m), scores, 0)
    best = [
        max(sum(choice) for choice in combinations(group.tolist(), n))
        for group in scores.reshape(-1, m)
    ]
    assert best == kept.reshape(-1, m).sum(dim=1).tolist()
    assert (n_m_mask(scores, n=n, m=m).reshape(-1, m).sum(dim=1) == n).all()


def test_n_of_m_along_the_inputs_of_a_convolution():
    scores = torch.randn(6, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    mask = n_m_mask(scores.abs())
    by_channels_last = n_m_mask(scores.abs().permute(0, 2, 3, 1), dim=-1)
    assert torch.equal(by_channels_last.permute(0, 3, 1, 2), mask)
    assert (mask.reshape(6, 2, 4, 3, 3).sum(dim=2) == 2).all()


def test_n_of_m_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"multiple of m = 4 entries .* 1, got 6$"):
        n_m_mask(torch.zeros(4, 6))
    with pytest.raises(ValueError, match=r"^n and m must satisfy .* got 5 and 4$"):
        n_m_mask(torch.zeros(4, 8), n=5)
    with pytest.raises(ValueError, match=r"^dim must be a dimension of .* got 1$"):
        n_m_mask(torch.zeros(4))


@pytest.mark.parametrize("amount", [0.0, 0.1, 0.5, 0.777, 1.0, 0, 7, 60])
def test_torch_takes_the_same_weights(amount):
    torch.manual_seed(1)
    first, second = torch.nn.Linear(12, 5), torch.nn.Conv2d(2, 3, 3)
    weights = [first.weight.detach().clone(), second.weight.detach().clone()]
    ours = keep_largest_global([magnitude_scores(w) for w in weights], amount)
    torch_prune.global_unstructured(
        [(first, "weight"), (second, "weight")],
        pruning_method=torch_prune.L1Unstructured,
        amount=amount,
    )
    assert torch.equal(first.weight_mask.bool(), ours[0])
    assert torch.equal(second.weight_mask.bool(), ours[1])
    alone = torch_prune.l1_unstructured(torch.nn.Linear(12, 5), "weight", amount)
    assert torch.equal(
        alone.weight_mask.bool(), keep_largest(alone.weight_orig.abs(), amount)
    )


def test_whole_rows_by_norm_are_torchs_structured_pruning():
    torch.manual_seed(2)
    layer = torch.nn.Conv2d(3, 8, 3)
    norms = layer.weight.detach().flatten(1).norm(dim=1)
    torch_prune.ln_structured(layer, "weight", amount=0.4, n=2, dim=0)
    rows = keep_largest(norms, 0.4)
    assert torch.equal(layer.weight_mask[:, 0, 0, 0].bool(), rows)


def test_magnitude_is_the_best_mask_for_the_distance_of_weights():
    weight = torch.tensor([0.3, -2.0, 0.9, -0.1, 1.4])
    for count in range(6):
        pruned = torch.where(keep_largest(magnitude_scores(weight), count), weight, 0)
        best = min(
            sum(float(weight[i]) ** 2 for i in gone)
            for gone in combinations(range(5), count)
        )
        assert float((weight - pruned).square().sum()) == pytest.approx(best)


def test_wanda_is_the_best_for_outputs_where_inputs_do_not_correlate():
    torch.manual_seed(3)
    x = torch.linalg.qr(torch.randn(9, 5, dtype=torch.double)).Q * torch.tensor(
        [3.0, 0.1, 1.0, 2.0, 0.5], dtype=torch.double
    )
    weight = torch.randn(3, 5, dtype=torch.double)
    mask = keep_largest_per_row(wanda_scores(weight, x.norm(dim=0)), 2)
    for row, kept in zip(weight, mask, strict=True):
        changes = {
            gone: float((x[:, gone] @ row[list(gone)]).square().sum())
            for gone in combinations(range(5), 2)
        }
        best = min(changes, key=changes.__getitem__)
        assert best == tuple((~kept).nonzero().flatten().tolist())


def test_snip_is_the_change_of_a_linear_loss():
    weight = torch.tensor([1.0, -2.0, 0.5])
    grad = torch.tensor([0.3, 0.2, -4.0])
    changes = [
        abs(float(grad @ weight) - float(grad @ (weight * (torch.arange(3) != i))))
        for i in range(3)
    ]
    assert snip_scores(weight, grad).tolist() == pytest.approx(changes)
    assert (weight * grad).square().tolist() == pytest.approx(
        taylor_scores(weight, grad[None]).tolist()
    )


def test_taylor_adds_where_snip_cancels():
    weight, grads = torch.ones(2), torch.tensor([[3.0, 1.0], [-3.0, 1.0]])
    assert snip_scores(weight, grads.mean(dim=0)).tolist() == [0.0, 1.0]
    assert taylor_scores(weight, grads).tolist() == [18.0, 2.0]


def test_movement_is_positive_where_a_step_leads_away_from_zero():
    weight = torch.tensor([1.0, 1.0, -1.0, -1.0])
    grad = torch.tensor([0.5, -0.5, 0.5, -0.5])
    grows = (weight - 0.1 * grad).abs() > weight.abs()
    assert torch.equal(grows, movement_scores(weight, grad) > 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: snip_scores(torch.ones(2), torch.ones(3)), r"^grad must have"),
        (lambda: movement_scores(torch.ones(2), torch.ones(1)), r"^grad must have"),
        (lambda: taylor_scores(torch.ones(2), torch.ones(2)), r"^grads must have"),
        (lambda: wanda_scores(torch.ones(2, 3), torch.ones(2)), r"^input_norm must"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_cubic_schedule_is_equation_1():
    for step in range(30):
        expected = (
            0.2
            if step < 5
            else 0.9 + (0.2 - 0.9) * (1 - (step - 5) / 20) ** 3
            if step < 25
            else 0.9
        )
        actual = cubic_sparsity(step, initial=0.2, final=0.9, begin=5, steps=20)
        assert actual == pytest.approx(expected, abs=1e-15)


@steady
@given(
    ends=st.tuples(amounts, amounts).map(sorted),
    begin=st.integers(0, 50),
    steps=st.integers(1, 50),
)
def test_the_cubic_schedule_rises_and_is_a_share(ends, begin, steps):
    path = [
        cubic_sparsity(step, initial=ends[0], final=ends[1], begin=begin, steps=steps)
        for step in range(110)
    ]
    assert (path[0], path[-1]) == pytest.approx(tuple(ends))
    assert all(0 <= share <= 1 for share in path)
    assert all(b >= a - 1e-15 for a, b in pairwise(path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"final": 1.1, "steps": 5}, r"^initial and final must satisfy .* 0.0 and 1.1"),
        ({"final": 0.5, "initial": 0.6, "steps": 5}, r"^initial and final must"),
        ({"final": 0.5, "steps": 0}, r"steps at least 1, got 3, 0 and 0$"),
        ({"final": 0.5, "steps": 5, "begin": -1}, r"^step and begin must be at least"),
    ],
)
def test_the_cubic_schedule_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        cubic_sparsity(3, **options)
