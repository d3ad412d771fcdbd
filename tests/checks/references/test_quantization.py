"""The right programs of exercise 11, proved by torch, whole numbers and brute force."""

import math
from collections import Counter
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch

from mlopt_edu.checks import find_task
from mlopt_edu.checks.quantization._allocate_bits import allocate_bits_reference
from mlopt_edu.checks.quantization._binarize import binarize_reference
from mlopt_edu.checks.quantization._bits_needed import bits_needed_reference
from mlopt_edu.checks.quantization._compressed_bits import compressed_bits_reference
from mlopt_edu.checks.quantization._fake_quantize import fake_quantize_reference
from mlopt_edu.checks.quantization._fold_and_quantize import (
    fold_and_quantize_reference,
)
from mlopt_edu.checks.quantization._gptq_round import gptq_round_reference
from mlopt_edu.checks.quantization._int_linear import int_linear_reference
from mlopt_edu.checks.quantization._quantize import quantize_reference
from mlopt_edu.checks.quantization._quantize_per_channel import (
    quantize_per_channel_reference,
)
from mlopt_edu.checks.quantization._quantized_report import quantized_report_reference
from mlopt_edu.checks.quantization._scale_and_zero_point import (
    scale_and_zero_point_reference,
)
from mlopt_edu.checks.quantization._unpack_int4 import unpack_int4_reference
from tests.checks.references import cases

functional = torch.nn.functional


def mistake(task, name):
    (program,) = [m.program for m in find_task(task).mistakes if m.name == name]
    return program


@cases("scale_and_zero_point")
def test_scale_and_zero_point_hold_0_and_both_ends(case):
    low, high, bits = case.inputs.values()
    scale, zero_point = scale_and_zero_point_reference(low, high, bits)
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    assert isinstance(zero_point, int)
    assert lowest <= zero_point <= highest
    if low or high:
        width = max(high, 0) - min(low, 0)
        assert scale * (highest - lowest) == pytest.approx(width)
    for end, code in ((min(low, 0), lowest), (max(high, 0), highest)):
        if low or high:
            assert abs(scale * (code - zero_point) - end) <= scale / 2 * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_scale_and_zero_point_are_those_torch_chooses_for_eight_bits(seed):
    low, high = np.sort(np.random.default_rng(seed).uniform(-4, 6, size=2))
    numbers = torch.tensor([low, high], dtype=torch.float32)
    expected = torch._choose_qparams_per_tensor(numbers, False)  # from 0 to 255
    scale, zero_point = scale_and_zero_point_reference(low, high, 8)
    assert scale == pytest.approx(expected[0], rel=1e-5)
    assert zero_point == expected[1] - 128


@cases("quantize")
def test_quantize_is_fake_quantize_of_torch(case):
    x, scale, zero_point, bits = case.inputs.values()
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    fake = torch.fake_quantize_per_tensor_affine(
        torch.tensor(x).float(), scale, zero_point, lowest, highest
    )
    q = quantize_reference(x, scale, zero_point, bits)
    np.testing.assert_allclose(scale * (q - zero_point), fake.double(), rtol=1e-4)


@cases("quantize")
def test_every_integer_is_the_nearest_there_is(case):
    x, scale, zero_point, bits = case.inputs.values()
    if bits <= 8:
        codes = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1))
        distance = np.abs(x[..., None] - scale * (codes - zero_point))
        expected = codes[np.argmin(distance, axis=-1)]
        actual = quantize_reference(x, scale, zero_point, bits)
        np.testing.assert_array_equal(actual, expected)


@cases("quantize_per_channel")
def test_quantize_per_channel_is_fake_quantize_of_torch(case):
    weight, bits = case.inputs.values()
    q, scale = quantize_per_channel_reference(weight, bits)
    fake = torch.fake_quantize_per_channel_affine(
        torch.tensor(weight).float(),
        torch.tensor(scale).float(),
        torch.zeros(len(scale), dtype=torch.int32),
        0,
        -(2 ** (bits - 1)),
        2 ** (bits - 1) - 1,
    )
    shaped = scale.reshape(-1, *[1] * (weight.ndim - 1))
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    np.testing.assert_allclose(q * shaped, fake.double(), rtol=1e-4, atol=1e-12)
    tops = np.abs(q).reshape(len(q), -1).max(axis=1)
    np.testing.assert_array_equal(tops, (largest > 0) * (2 ** (bits - 1) - 1))


@cases("int_linear")
def test_int_linear_is_exact_arithmetic_rounded_half_up(case):
    x_q, x_zero, w_q, bias_q, multiplier, shift, y_zero = case.inputs.values()
    # Python's integers have no width: nothing can run over.
    expected = []
    for x in x_q.tolist():
        sums = [
            sum((a - x_zero) * b for a, b in zip(x, w, strict=True)) + bias
            for w, bias in zip(w_q.tolist(), bias_q.tolist(), strict=True)
        ]
        assert max(map(abs, sums)) < 2**31
        # Half up: the floor of twice the number plus one, halved.
        halves = [
            (2 * total * multiplier + 2**shift) // 2 ** (shift + 1) for total in sums
        ]
        expected.append([min(max(y + y_zero, -128), 127) for y in halves])
    np.testing.assert_array_equal(int_linear_reference(**case.inputs), expected)


def test_int_linear_comes_near_the_float_layer_that_it_stands_for():
    rng = np.random.default_rng(0)
    x, w, bias = rng.normal(size=(40, 16)), rng.normal(size=(8, 16)), rng.normal(size=8)
    x_scale, x_zero = scale_and_zero_point_reference(x.min(), x.max(), 8)
    w_scale = np.abs(w).max() / 127
    y = functional.linear(*map(torch.tensor, (x, w, bias))).numpy()
    y_scale, y_zero = scale_and_zero_point_reference(y.min(), y.max(), 8)
    multiplier = round(x_scale * w_scale / y_scale * 2**31)
    y_q = int_linear_reference(
        quantize_reference(x, x_scale, x_zero, 8).astype(np.int8),
        x_zero,
        quantize_reference(w, w_scale, 0, 8).astype(np.int8),
        np.round(bias / (x_scale * w_scale)).astype(np.int64),
        multiplier,
        31,
        y_zero,
    )
    # Half a step of each input and weight, all of them the wrong way, and one of y.
    bound = (
        np.abs(w).sum(axis=1) * x_scale / 2
        + np.abs(x).sum(axis=1, keepdims=True) * w_scale / 2
        + 16 * x_scale * w_scale / 4
        + y_scale
    )
    assert (np.abs(y_scale * (y_q - y_zero) - y) <= bound).all()
    assert np.abs(y_scale * (y_q - y_zero) - y).mean() < 0.02 * np.abs(y).max()


@cases("unpack_int4")
def test_unpack_int4_is_how_python_reads_twos_complement(case):
    packed, n = case.inputs.values()
    values = []
    for byte in packed.tolist():
        for half in (byte % 16, byte // 16):
            # Four bits in the high half of a signed byte are 16 times their value.
            wide = int.from_bytes(bytes([16 * half]), "big", signed=True)
            values.append(wide // 16)
    assert unpack_int4_reference(packed, n).tolist() == values[:n]


@cases("binarize")
def test_binarize_is_the_nearest_of_all_two_valued_channels(case):
    (weight,) = case.inputs.values()
    actual = binarize_reference(weight)
    for channel, seen in zip(weight, actual, strict=True):
        if channel.size <= 9:
            nearest = min(
                # The best scale for given signs, by least squares.
                np.sum((channel.ravel() - np.dot(s, channel.ravel()) / s.size * s) ** 2)
                for s in map(np.array, product([-1.0, 1.0], repeat=channel.size))
            )
            assert np.sum((channel - seen) ** 2) == pytest.approx(nearest, abs=1e-12)
        signs = np.sign(seen)[seen != 0]
        wanted = np.where(channel >= 0, 1, -1)[seen != 0]
        np.testing.assert_array_equal(signs, wanted)


@cases("bits_needed")
def test_bits_needed_are_enough_and_one_fewer_are_not(case):
    weight, tolerance = case.inputs.values()
    bits = bits_needed_reference(weight, tolerance)

    def share(bits):
        highest = 2 ** (bits - 1) - 1
        scale = np.abs(weight).max() / highest
        fake = torch.fake_quantize_per_tensor_affine(
            torch.tensor(weight).float(), float(scale), 0, -highest - 1, highest
        )
        error = torch.linalg.vector_norm(fake.double() - torch.tensor(weight))
        return float(error) / np.linalg.norm(weight)

    assert share(bits) <= tolerance + 1e-6
    assert all(share(fewer) > tolerance - 1e-6 for fewer in range(2, bits))


def test_a_ratio_of_percentiles_does_not_look_at_the_tolerance():
    drawn = find_task("bits_needed").cases(20)
    same = [c for c in drawn if c.label.startswith("normal")]
    given = {mistake("bits_needed", "as_given")(**c.inputs) for c in same}
    assert len(given) == 1
    assert len({bits_needed_reference(**c.inputs) for c in same}) > 3


@cases("allocate_bits")
def test_allocate_bits_is_the_best_by_dynamic_programming(case):
    errors, sizes, choices, budget = case.inputs.values()

    @cache
    def least(layer, left):
        if layer == len(sizes):
            return 0.0
        return min(
            (
                errors[layer, i] + least(layer + 1, left - bits * sizes[layer])
                for i, bits in enumerate(choices)
                if bits * sizes[layer] <= left
            ),
            default=math.inf,
        )

    bits = allocate_bits_reference(errors, sizes, choices, budget)
    achieved = sum(errors[i, choices.index(b)] for i, b in enumerate(bits))
    assert np.dot(bits, sizes) <= budget
    assert achieved == pytest.approx(least(0, budget))


def test_greedy_and_uniform_bits_lose_on_the_first_case():
    case = find_task("allocate_bits").cases(20)[0]

    def achieved(bits):
        errors, choices = case.inputs["errors"], case.inputs["choices"]
        return sum(errors[i, choices.index(b)] for i, b in enumerate(bits))

    best = achieved(allocate_bits_reference(**case.inputs))
    for name in ("uniform", "greedy_gain", "greedy_gain_per_bit"):
        assert achieved(mistake("allocate_bits", name)(**case.inputs)) > best


@cases("fake_quantize")
def test_fake_quantize_and_its_gradient_are_those_of_torch(case):
    x, scale, zero_point, bits, grad = case.inputs.values()
    numbers = torch.tensor(x, dtype=torch.float32, requires_grad=True)
    fake = torch.fake_quantize_per_tensor_affine(
        numbers, scale, zero_point, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    )
    fake.backward(torch.tensor(grad, dtype=torch.float32))
    value, passed = fake_quantize_reference(**case.inputs)
    scale_of_values = np.abs(value).max()
    np.testing.assert_allclose(value, fake.detach(), atol=1e-5 * scale_of_values)
    np.testing.assert_allclose(passed, numbers.grad, rtol=1e-6)


@cases("fold_and_quantize")
def test_fold_and_quantize_is_batch_norm_of_torch_within_half_a_step(case):
    weight, norm, eps, bits = case.inputs.values()
    folded, bias = fold_and_quantize_reference(**case.inputs)
    channels, inputs = weight.shape[:2]
    flat = torch.tensor(weight).reshape(channels, inputs, -1)
    conv = torch.nn.Conv1d(inputs, channels, flat.shape[2], bias=False).double()
    batch_norm = torch.nn.BatchNorm1d(channels, eps=eps).double().eval()
    gamma, beta, mean, variance = map(torch.tensor, norm)
    conv.load_state_dict({"weight": flat})
    state = {"weight": gamma, "bias": beta}
    state |= {"running_mean": mean, "running_var": variance}
    batch_norm.load_state_dict(state, strict=False)
    # With inputs 0 only the bias is left; with unit inputs, one weight besides.
    zeros = torch.zeros(1, inputs, flat.shape[2], dtype=torch.float64)
    np.testing.assert_allclose(bias, batch_norm(conv(zeros)).detach().ravel())
    units = torch.eye(inputs * flat.shape[2], dtype=torch.float64)
    out = batch_norm(conv(units.reshape(-1, inputs, flat.shape[2])))
    exact = out.detach().numpy()[:, :, 0].T - bias[:, None]
    step = np.abs(exact).max() / (2 ** (bits - 1) - 1)
    steps = folded.reshape(channels, -1) / step
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    assert (np.abs(steps - exact / step) <= 0.5 + 1e-9).all()


def test_folding_a_quantized_weight_takes_it_off_the_grid():
    case = find_task("fold_and_quantize").cases(20)[-1]  # two bits
    folded, _ = fold_and_quantize_reference(**case.inputs)
    given, _ = mistake("fold_and_quantize", "quantized_before_folding")(**case.inputs)
    assert len(np.unique(folded.round(12))) <= 3
    assert len(np.unique(given.round(12))) > 3


@cases("gptq_round")
def test_gptq_round_is_the_cholesky_form_of_the_paper(case):
    weight, hessian, scale = case.inputs.values()
    upper = torch.linalg.cholesky(torch.linalg.inv(torch.tensor(hessian)), upper=True)
    left, expected = torch.tensor(weight), torch.zeros(weight.shape).double()
    steps = torch.tensor(scale)
    for j in range(len(hessian)):
        expected[:, j] = steps * torch.round(left[:, j] / steps)
        error = (left[:, j] - expected[:, j]) / upper[j, j]
        left[:, j:] -= torch.outer(error, upper[j, j:])
    actual = gptq_round_reference(weight, hessian, scale)
    np.testing.assert_allclose(actual, expected, atol=1e-9)


@cases("gptq_round")
def test_every_column_starts_from_the_optimum_of_those_that_are_left(case):
    weight, hessian, scale = case.inputs.values()
    rounded = gptq_round_reference(weight, hessian, scale)
    values, vectors = np.linalg.eigh(hessian)
    root = (vectors * np.sqrt(values)).T  # root.T @ root = hessian
    for j in range(len(hessian)):
        # What later columns should be to make up for columns 0 to j - 1: least squares.
        gap = (rounded[:, :j] - weight[:, :j]) @ root[:, :j].T
        best = np.linalg.lstsq(root[:, j:], -gap.T, rcond=None)[0].T + weight[:, j:]
        expected = scale * np.round(best[:, 0] / scale)
        np.testing.assert_allclose(rounded[:, j], expected, atol=1e-9)


def test_gptq_round_loses_less_than_rounding_to_nearest():
    lost = {"gptq": 0.0, "nearest": 0.0}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(60, 8)) @ rng.normal(size=(8, 8))
        weight, scale = rng.normal(size=(4, 8)), np.full(4, 0.5)
        hessian = X.T @ X / len(X)
        nearest = mistake("gptq_round", "rounded_to_nearest")
        for name, program in (("gptq", gptq_round_reference), ("nearest", nearest)):
            change = program(weight, hessian, scale) - weight
            lost[name] += np.sum((X @ change.T) ** 2)
    assert lost["gptq"] < 0.7 * lost["nearest"]


def shortest_code(symbols):
    """The least bits of any prefix code, by search over all lengths of code words."""
    counts = sorted(Counter(symbols).values(), reverse=True)
    if len(counts) <= 1:
        return sum(counts)
    return min(
        sum(n * length for n, length in zip(counts, lengths, strict=True))
        for lengths in product(range(1, len(counts)), repeat=len(counts))
        if sum(2.0**-length for length in lengths) <= 1  # Kraft: such a code exists
    )


@pytest.mark.parametrize("seed", range(12))
def test_compressed_bits_are_the_least_of_all_prefix_codes(seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(1, 5, size=12) * (rng.random(12) < 0.5)
    places = np.flatnonzero(codes)
    gaps = np.diff(np.append(-1, places)).tolist()
    expected = shortest_code(codes[places].tolist()) + shortest_code(gaps) + 32 * 7
    assert compressed_bits_reference(codes, 7) == expected


@cases("compressed_bits")
def test_compressed_bits_lie_within_a_bit_a_symbol_of_the_entropy(case):
    codes, n_values = case.inputs.values()
    places = np.flatnonzero(codes)
    entropy = mistake("compressed_bits", "entropy_for_code")(codes, n_values)
    actual = compressed_bits_reference(codes, n_values)
    assert entropy <= actual + 1e-9
    assert actual <= entropy + 2 * len(places)


@cases("quantized_report")
def test_quantized_report_is_the_model_that_torch_rebuilds_from_storage(case):
    X, labels, weight, bias, bits = case.inputs.values()
    highest = 2 ** (bits - 1) - 1
    scale = np.abs(weight).max(axis=1) / highest
    fake = torch.fake_quantize_per_channel_affine(
        torch.tensor(weight).float(),
        torch.tensor(scale).float(),
        torch.zeros(len(scale), dtype=torch.int32),
        0,
        -highest,
        highest,
    )
    logits = functional.linear(torch.tensor(X), fake.double(), torch.tensor(bias))
    accuracy, n_bits = quantized_report_reference(**case.inputs)
    hits = (logits.argmax(1) == torch.tensor(labels)).double().mean()
    assert accuracy == pytest.approx(float(hits))
    assert n_bits == bits * weight.size + 8 * 4 * (scale.size + bias.size)


def test_the_float_model_looks_better_than_what_is_stored():
    drawn = [c for seed in range(20) for c in find_task("quantized_report").cases(seed)]
    two_bits = [c for c in drawn if c.inputs["bits"] == 2]
    stored = [quantized_report_reference(**c.inputs)[0] for c in two_bits]
    floats = [mistake("quantized_report", "as_given")(**c.inputs)[0] for c in two_bits]
    assert np.mean(floats) > np.mean(stored) + 0.05


def test_the_numbers_of_the_quiz():
    # longest_int8_sum
    product = (-128) * (-128)
    assert product == 16_384 == 2**14
    assert 131_071 * product <= 2**31 - 1 < 131_072 * product == 2**31
    assert product <= 2**15 - 1 == 32_767 < 2 * product == 32_768
    # smoothed_outlier
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(50, 6)), rng.normal(size=(4, 6))
    X[:, 2] *= 20
    divide = np.where(np.arange(6) == 2, 10, 1)
    np.testing.assert_allclose((X / divide) @ (weight * divide).T, X @ weight.T)
    products = (X[:, 2] / 10) * (weight[0, 2] / 10)
    np.testing.assert_allclose(products, X[:, 2] * weight[0, 2] / 100)
    # mixed_by_name
    weight = np.full((10, 10), -0.02, dtype=np.float32)
    assert np.sign(weight).nbytes == weight.nbytes
    assert np.packbits(weight >= 0).nbytes * 8 < weight.size + 8
    assert np.abs(np.sign(weight)).max() / 0.02 == pytest.approx(50)
