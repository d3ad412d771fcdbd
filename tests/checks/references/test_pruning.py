"""The right programs of exercise 10, proved by torch, SciPy and brute force."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from scipy import sparse, stats
from torch.nn.utils import prune

from mlopt_edu.checks import find_task
from mlopt_edu.checks.pruning._cubic_sparsity import cubic_sparsity_reference
from mlopt_edu.checks.pruning._global_masks import global_masks_reference
from mlopt_edu.checks.pruning._lottery_round import lottery_round_reference
from mlopt_edu.checks.pruning._prune_smallest import prune_smallest_reference
from mlopt_edu.checks.pruning._remove_filters import remove_filters_reference
from mlopt_edu.checks.pruning._remove_units import remove_units_reference
from mlopt_edu.checks.pruning._sparse_report import sparse_report_reference
from mlopt_edu.checks.pruning._to_csr import to_csr_reference
from mlopt_edu.checks.pruning._train_pruned import train_pruned_reference
from mlopt_edu.checks.pruning._units_to_keep import units_to_keep_reference
from mlopt_edu.checks.pruning._wanda_mask import wanda_mask_reference
from tests.checks.references import cases

functional = torch.nn.functional


def mistake(task, name):
    (program,) = [m.program for m in find_task(task).mistakes if m.name == name]
    return program


def module_with(arrays):
    """A module whose parameters are these arrays, and their places in it."""
    module = torch.nn.Module()
    for i, array in enumerate(arrays):
        module.register_parameter(f"p{i}", torch.nn.Parameter(torch.tensor(array)))
    return module, [(module, f"p{i}") for i in range(len(arrays))]


@cases("prune_smallest")
def test_prune_smallest_is_l1_unstructured_of_torch(case):
    weight, amount = case.inputs.values()
    module, places = module_with([weight])
    prune.l1_unstructured(*places[0], amount=amount)
    actual = prune_smallest_reference(weight, amount)
    np.testing.assert_array_equal(actual, module.p0.detach().numpy())


@cases("prune_smallest")
def test_the_broken_program_returns_the_weights_that_should_go(case):
    weight, amount = case.inputs.values()
    kept = prune_smallest_reference(weight, amount)
    given = mistake("prune_smallest", "as_given")(weight, amount)
    assert given.ndim == 1
    assert len(given) == round(amount * weight.size)
    if len(given) and kept.any():
        assert np.abs(given).max() < np.abs(kept[kept != 0]).min()


@cases("global_masks")
def test_global_masks_are_global_unstructured_of_torch(case):
    params, amount = case.inputs.values()
    weights = [param for param in params if param.ndim > 1]
    module, places = module_with(weights)
    method = prune.L1Unstructured
    prune.global_unstructured(places, pruning_method=method, amount=amount)
    expected = iter(dict(module.named_buffers()).values())
    for param, mask in zip(params, global_masks_reference(params, amount), strict=True):
        wanted = next(expected) if param.ndim > 1 else np.ones(param.shape)
        np.testing.assert_array_equal(mask, np.asarray(wanted, dtype=bool))


@pytest.mark.parametrize("n_pruned", range(6))
def test_global_masks_lose_the_least_of_all_choices(n_pruned):
    rng = np.random.default_rng(n_pruned)
    params = [rng.normal(size=(1, 2)), rng.normal(size=(3, 1))]
    weights = np.concatenate([param.ravel() for param in params])
    lost = [sum(c) for c in combinations(weights**2, n_pruned)]
    masks = global_masks_reference(params, n_pruned / 5)
    actual = sum((p[~m] ** 2).sum() for p, m in zip(params, masks, strict=True))
    assert actual == pytest.approx(min(lost))


@cases("cubic_sparsity")
def test_cubic_sparsity_is_the_equation_of_the_paper(case):
    step, begin, end, final = case.inputs.values()
    # Equation 1: s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3 from t_0 to t_0 + n dt.
    inside = final + (0 - final) * (1 - (step - begin) / (end - begin)) ** 3
    expected = 0 if step < begin else final if step > end else inside
    assert cubic_sparsity_reference(**case.inputs) == pytest.approx(expected)


def test_cubic_sparsity_is_the_polynomial_that_rests_at_the_end():
    # 1 - (1 - p)^3 is the cubic with value 1, slope 0 and curvature 0 at p = 1.
    found = np.linalg.solve([[1, 1, 1], [1, 2, 3], [0, 2, 6]], [1, 0, 0])
    for step in range(11):
        progress = step / 10
        expected = found @ [progress, progress**2, progress**3]
        actual = cubic_sparsity_reference(step, 0, 10, 1.0)
        assert actual == pytest.approx(expected)


@cases("train_pruned")
def test_train_pruned_is_sgd_of_torch_with_a_mask_in_the_forward_pass(case):
    X, y, w, b, keep_mask, lr, momentum, prune_after, steps = case.inputs.values()
    X, y, mask = torch.tensor(X), torch.tensor(y), torch.tensor(keep_mask)
    w = torch.tensor(w, requires_grad=True)
    b = torch.tensor(b, requires_grad=True, dtype=torch.float64)
    optimizer = torch.optim.SGD([w, b], lr=lr, momentum=momentum)
    for step in range(steps):
        seen = w * mask if step >= prune_after else w
        optimizer.zero_grad()
        (functional.mse_loss(X @ seen + b, y) / 2).backward()
        optimizer.step()
    expected = (w * mask).detach().numpy()
    actual = train_pruned_reference(**case.inputs)
    np.testing.assert_allclose(actual[0], expected, rtol=1e-9, atol=1e-12)
    assert actual[1] == pytest.approx(b.item(), rel=1e-9)


def test_train_pruned_arrives_at_least_squares_on_the_columns_that_are_left():
    rng = np.random.default_rng(0)
    X, keep = rng.normal(size=(30, 6)), np.array([True, False, True, True, False, True])
    y = X @ rng.normal(size=6) + 2 + rng.normal(size=30)
    start = X, y, rng.normal(size=6), 0.0, keep
    w, b = train_pruned_reference(*start, 0.05, 0.9, 50, 3000)
    columns = np.column_stack([X[:, keep], np.ones(30)])
    expected = np.linalg.lstsq(columns, y, rcond=None)[0]
    np.testing.assert_allclose([*w[keep], b], expected, atol=1e-10)
    assert not w[~keep].any()


def test_masking_the_gradient_lets_momentum_bring_weights_back():
    (case,) = [c for c in find_task("train_pruned").cases(20) if c.label[:3] == "six"]
    gone = ~case.inputs["keep_mask"]
    for name in ("only_the_gradient_masked", "mask_only_once"):
        w, _ = mistake("train_pruned", name)(**case.inputs)
        assert w[gone].all()


@cases("lottery_round")
def test_lottery_round_is_torch_pruning_a_tensor_that_is_pruned_already(case):
    initial, trained, keep_mask, amount = case.inputs.values()
    module, places = module_with([np.abs(trained)])
    prune.custom_from_mask(*places[0], torch.tensor(keep_mask))
    prune.l1_unstructured(*places[0], amount=amount)
    keep, weight = lottery_round_reference(**case.inputs)
    np.testing.assert_array_equal(keep, module.p0_mask.numpy().astype(bool))
    np.testing.assert_array_equal(weight, initial * module.p0_mask.numpy())


def test_five_rounds_of_a_fifth_leave_a_third():
    rng = np.random.default_rng(0)
    initial, keep = rng.normal(size=(100, 100)), np.ones((100, 100), dtype=bool)
    for _ in range(5):
        keep, weight = lottery_round_reference(
            initial, keep * rng.normal(size=(100, 100)), keep, 0.2
        )
    assert keep.mean() == pytest.approx(0.8**5, abs=1e-4)
    assert f"{keep.mean():.1%}" == "32.8%"
    np.testing.assert_array_equal(weight, keep * initial)


@cases("wanda_mask")
def test_wanda_mask_keeps_what_matters_by_removing_each_weight(case):
    weight, inputs, amount = case.inputs.values()
    examples = torch.tensor(inputs).flatten(0, -2)
    outputs = examples @ torch.tensor(weight).T
    mask = wanda_mask_reference(weight, inputs, amount)
    for row in range(len(weight)):
        changes = []
        for column in range(weight.shape[1]):
            without = torch.tensor(weight)
            without[row, column] = 0
            changes.append(torch.linalg.norm(outputs - examples @ without.T).item())
        gone = weight.shape[1] - mask[row].sum()
        assert gone == round(amount * weight.shape[1])
        expected = np.argsort(changes)[:gone]
        np.testing.assert_array_equal(np.flatnonzero(~mask[row]), np.sort(expected))


@cases("units_to_keep")
def test_units_to_keep_by_the_entropy_of_scipy(case):
    activations, bins, n_pruned = case.inputs.values()
    counts = [
        torch.histogram(torch.tensor(unit), bins).hist.numpy() for unit in activations.T
    ]
    expected = [stats.entropy(count, base=2) for count in counts]
    entropies, keep = units_to_keep_reference(**case.inputs)
    np.testing.assert_allclose(entropies, expected, atol=1e-12)
    assert (np.diff(keep) > 0).all()
    assert len(keep) == activations.shape[1] - n_pruned
    gone = np.setdiff1d(np.arange(len(entropies)), keep)
    assert max(entropies[gone], default=-1) < min(entropies[keep])


def test_entropy_is_0_for_a_constant_and_the_logarithm_for_a_flat_unit():
    activations = np.column_stack([np.full(64, 3.0), np.arange(64)])
    entropies, _ = units_to_keep_reference(activations, 8, 0)
    np.testing.assert_allclose(entropies, [0, 3], atol=1e-15)
    wrong, _ = mistake("units_to_keep", "eps_in_the_log")(activations, 8, 0)
    assert wrong[0] < 0


def through(layers, x):
    for weight, bias in layers[:-1]:
        x = np.maximum(weight @ x + bias, 0)
    weight, bias = layers[-1]
    return weight @ x + bias


@cases("remove_units")
def test_remove_units_computes_what_the_network_computes_without_them(case):
    layers, keep = case.inputs.values()
    smaller = remove_units_reference(layers, keep)
    hidden = zip(layers[:-1], keep, strict=True)
    silent = [
        (
            w * np.isin(np.arange(len(b)), units)[:, None],
            b * np.isin(range(len(b)), units),
        )
        for (w, b), units in hidden
    ]
    x = np.random.default_rng(0).normal(size=(layers[0][0].shape[1], 9))
    column = [(w, b[:, None]) for w, b in [*silent, layers[-1]]]
    actual = through([(w, b[:, None]) for w, b in smaller], x)
    np.testing.assert_allclose(actual, through(column, x), atol=1e-12)
    widths = [len(bias) for _, bias in smaller]
    assert widths == [*map(len, keep), len(layers[-1][1])]


@cases("remove_units")
def test_what_the_broken_program_gives_has_no_outputs(case):
    layers, keep = case.inputs.values()
    given = mistake("remove_units", "as_given")(layers, keep)
    assert len(given) == len(layers) - 1
    shrunk = [
        len(after) < len(b)
        for (_, after), (_, b) in zip(given, layers[:-1], strict=True)
    ]
    fits = [w.shape[1] == len(bias) for (_, bias), (w, _) in pairwise(given)]
    assert fits == [not one for one in shrunk[:-1]]


def small_convnet(conv, norm, linear, side):
    channels, inputs, kernel, _ = conv.shape
    net = torch.nn.Sequential(
        torch.nn.Conv2d(inputs, channels, kernel, padding=kernel // 2, bias=False),
        torch.nn.BatchNorm2d(channels),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(side),
        torch.nn.Flatten(),
        torch.nn.Linear(linear.shape[1], len(linear), bias=False),
    ).double()
    names = "1.weight", "1.bias", "1.running_mean", "1.running_var"
    state = {
        "0.weight": conv,
        **dict(zip(names, norm, strict=True)),
        "5.weight": linear,
    }
    net.load_state_dict({k: torch.tensor(v) for k, v in state.items()}, strict=False)
    return net.eval()


@cases("remove_filters")
def test_remove_filters_gives_the_network_without_these_channels_in_torch(case):
    conv, norm, linear, n_keep = case.inputs.values()
    positions = linear.shape[1] // len(conv)
    side = (1, positions)
    net = small_convnet(conv, norm, linear, side)
    smaller = small_convnet(*remove_filters_reference(**case.inputs), side)
    gone = np.argsort(np.abs(norm[0]))[: len(conv) - n_keep]
    for index in gone:  # without scale and shift a channel says 0
        net[1].weight.data[index] = net[1].bias.data[index] = 0
    torch.manual_seed(0)
    x = torch.randn(5, conv.shape[1], 4, 12, dtype=torch.float64)
    torch.testing.assert_close(smaller(x), net(x))
    assert smaller[1].num_features == n_keep


def test_sorted_by_scale_the_network_gives_the_same_outputs():
    case = find_task("remove_filters").cases(20)[2]
    torch.manual_seed(0)
    x = torch.randn(3, 4, 9, 9, dtype=torch.float64)
    sorted_ = mistake("remove_filters", "by_importance")(**case.inputs)
    expected = small_convnet(*remove_filters_reference(**case.inputs), (3, 3))(x)
    torch.testing.assert_close(small_convnet(*sorted_, (3, 3))(x), expected)


@cases("to_csr")
def test_to_csr_is_that_of_scipy(case):
    weight = case.inputs["weight"]
    expected = sparse.csr_array(weight)
    values, columns, row_pointer = to_csr_reference(weight)
    np.testing.assert_array_equal(values, expected.data)
    np.testing.assert_array_equal(columns, expected.indices)
    np.testing.assert_array_equal(row_pointer, expected.indptr)


@cases("to_csr")
def test_column_by_column_is_the_csc_of_scipy(case):
    expected = sparse.csc_array(case.inputs["weight"])
    values, rows, pointer = mistake("to_csr", "column_by_column")(**case.inputs)
    np.testing.assert_array_equal(values, expected.data)
    np.testing.assert_array_equal(rows, expected.indices)
    np.testing.assert_array_equal(pointer, expected.indptr)


@cases("sparse_report")
def test_sparse_report_by_scipy_in_float32(case):
    X, labels, weight, bias, amount = case.inputs.values()
    module, places = module_with([weight])
    prune.l1_unstructured(*places[0], amount=amount)
    stored = sparse.csr_array(module.p0.detach().numpy().astype(np.float32))
    expected = np.mean((X @ stored.T + bias).argmax(axis=1) == labels)
    accuracy, n_bytes = sparse_report_reference(**case.inputs)
    assert accuracy == expected
    arrays = (
        stored.data,
        stored.indices.astype(np.int32),
        stored.indptr.astype(np.int32),
    )
    assert n_bytes == sum(array.nbytes for array in arrays)


def test_the_broken_program_reports_the_accuracy_of_the_dense_model():
    for case in find_task("sparse_report").cases(20):
        X, labels, weight, bias, _ = case.inputs.values()
        linear = functional.linear(*map(torch.tensor, (X, weight, bias)))
        expected = (linear.argmax(1).numpy() == labels).mean()
        given, _ = mistake("sparse_report", "as_given")(**case.inputs)
        assert given == pytest.approx(expected)


def test_the_huber_loss_ranks_as_magnitude_does():
    w = torch.tensor(np.random.default_rng(0).normal(size=500))
    zero = torch.zeros_like(w)
    for delta in (0.1, 1.0):
        loss = functional.huber_loss(w, zero, reduction="none", delta=delta)
        assert torch.equal(loss.argsort(), w.abs().argsort())
        near = w.abs() <= delta
        torch.testing.assert_close(loss[near], w[near] ** 2 / 2)
        assert (loss > 0).all()
    thresholded = torch.where(w.abs() > 0.1, w.abs(), 0)
    assert (thresholded == 0).sum() > 1
    kept = w.abs() > 0.1
    assert torch.equal(thresholded[kept].argsort(), w[kept].abs().argsort())


def test_snip_is_0_at_the_minimum_and_the_score_of_taylor_is_not():
    rng = np.random.default_rng(0)
    X, y = torch.tensor(rng.normal(size=(40, 5))), torch.tensor(rng.normal(size=40))
    best = torch.linalg.lstsq(X, y[:, None]).solution[:, 0].requires_grad_()

    def grad(rows):
        loss = functional.mse_loss(X[rows] @ best, y[rows])
        return torch.autograd.grad(loss, best)[0]

    snip = (best * grad(slice(None))).abs()
    batches = torch.stack([grad(slice(i, i + 8)) for i in range(0, 40, 8)])
    taylor = ((best * batches) ** 2).sum(0)
    assert snip.max() < 1e-14
    assert taylor.min() > 1e-5
    assert (best * batches.mean(0)).abs().max() < 1e-14


def test_bytes_of_a_masked_layer():
    weight = torch.zeros(1000, 1000)
    mask = torch.zeros(1000, 1000, dtype=torch.bool)
    assert weight.nbytes == 4_000_000
    assert mask.nbytes == 1_000_000
    torch.manual_seed(0)
    weight.view(-1)[torch.randperm(1_000_000)[:100_000]] = 1
    values, columns, row_pointer = to_csr_reference(weight.numpy())
    n_bytes = 4 * (len(values) + len(columns) + len(row_pointer))
    assert f"{n_bytes / 1e6:.1f}" == "0.8"


@pytest.mark.parametrize("seed", range(5))
def test_no_case_has_a_half_to_round(seed):
    def counts(name, inputs):
        if name == "global_masks":
            return sum(p.size for p in inputs["params"] if p.ndim > 1)
        if name == "lottery_round":
            return inputs["keep_mask"].sum()
        return (
            inputs["weight"].size if name != "wanda_mask" else inputs["weight"].shape[1]
        )

    for name in (
        "prune_smallest",
        "global_masks",
        "lottery_round",
        "wanda_mask",
        "sparse_report",
    ):
        for case in find_task(name).cases(seed):
            share = case.inputs["amount"] * counts(name, case.inputs)
            assert abs(share % 1 - 0.5) > 0.01, (name, case.label)
