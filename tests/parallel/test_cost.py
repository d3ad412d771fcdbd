"""The model of cost: closed forms, limits, published rows, and fits to known truths."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mlopt_edu.models import CharGPT
from mlopt_edu.parallel.cost import (
    Cluster,
    Model,
    Plan,
    bytes_per_parameter,
    gpt,
    step_cost,
)
from mlopt_edu.parallel.cost_link import (
    Link,
    all_reduce_bytes,
    all_reduce_seconds,
    fit_link,
)
from mlopt_edu.parallel.cost_search import best_plan
from mlopt_edu.parallel.schedule import bubble_fraction

FREE = Link(latency=0.0, bandwidth=math.inf)
A100 = Cluster(
    flops=165e12,  # the one number chosen to fit; the peak is 312e12
    memory=80e9,
    inside=Link(latency=1e-5, bandwidth=240e9),
    between=Link(latency=1e-5, bandwidth=20e9),
)
MODEL = gpt(layers=24, hidden=2304, heads=24)

# arXiv:2104.04473, table 1: parameters in billions, heads, hidden, layers, tensor,
# pipeline, GPUs, batch, TFLOP/s a GPU, percent of peak, PFLOP/s of all.
TABLE_1 = [
    (1.7, 24, 2304, 24, 1, 1, 32, 512, 137, 44, 4.4),
    (3.6, 32, 3072, 30, 2, 1, 64, 512, 138, 44, 8.8),
    (7.5, 32, 4096, 36, 4, 1, 128, 512, 142, 46, 18.2),
    (18.4, 48, 6144, 40, 8, 1, 256, 1024, 135, 43, 34.6),
    (39.1, 64, 8192, 48, 8, 2, 512, 1536, 138, 44, 70.8),
    (76.1, 80, 10240, 60, 8, 4, 1024, 1792, 140, 45, 143.8),
    (145.6, 96, 12288, 80, 8, 8, 1536, 2304, 148, 47, 227.1),
    (310.1, 128, 16384, 96, 8, 16, 1920, 2160, 155, 50, 297.4),
    (529.6, 128, 20480, 105, 8, 35, 2520, 2520, 163, 52, 410.2),
    (1008.0, 160, 25600, 128, 8, 64, 3072, 3072, 163, 52, 502.0),
]
every_row = pytest.mark.parametrize("row", TABLE_1, ids=lambda row: f"{row[0]}B")


def free(flops=1e12, **changes):
    return Cluster(**({"flops": flops, "memory": 1e12} | changes), **links())


def links(inside=FREE, between=FREE):
    return {"inside": inside, "between": between}


@every_row
def test_parameters_are_those_of_megatrons_table_1(row):
    billions, heads, hidden, layers = row[:4]
    model = gpt(layers=layers, hidden=hidden, heads=heads)
    assert billions == round(model.parameters / 1e9, 1)


@every_row
def test_the_step_times_of_megatrons_table_1_are_met_within_a_fifth(row):
    _, heads, hidden, layers, tensor, pipeline, n, batch, tflops, *_ = row
    model = gpt(layers=layers, hidden=hidden, heads=heads)
    data = n // (tensor * pipeline)
    # Equation 3, with the recomputed forward, V = 51200 and s = 2048.
    shares = 1 + 2048 / (6 * hidden) + 51200 / (16 * layers * hidden)
    flops = 96 * batch * 2048 * layers * hidden**2 * shares
    published = flops / (n * tflops * 1e12)
    plan = Plan(data, tensor, pipeline, recompute=True)
    cost = step_cost(model, A100, plan, batch=batch)
    assert pytest.approx(published, rel=0.2) == cost.seconds
    assert cost.memory < A100.memory


@pytest.mark.parametrize(
    ("layers", "hidden", "heads", "gpus", "tflops", "tokens", "days"),
    [  # section 5.1: GPT-3, and a model of a trillion parameters
        (96, 12288, 96, 1024, 140, 300e9, 34),
        (128, 25600, 160, 3072, 163, 450e9, 84),
    ],
)
def test_days_of_training_are_the_published_ones(
    layers, hidden, heads, gpus, tflops, tokens, days
):
    model = gpt(layers=layers, hidden=hidden, heads=heads)
    seconds = 4 * model.forward_flops * tokens / 2048 / (gpus * tflops * 1e12)
    # Their estimate, 8 T P / (n X), leaves out attention and logits.
    assert pytest.approx(days, rel=0.06) == seconds / 86400


def test_memory_is_that_of_table_1_of_the_zero_paper():
    published = {  # arXiv:1910.02054, table 1, 7.5B: GB by replicas and stage 1, 2, 3
        4: (52.5, 41.3, 30.0),
        16: (35.6, 21.6, 7.5),
        64: (31.4, 16.6, 1.88),
        256: (30.4, 15.4, 0.47),
        1024: (30.1, 15.1, 0.12),
    }
    model = Model(7.5e9, layers=1, forward_flops=1.0, boundary_bytes=1.0)
    for replicas, expected in published.items():
        got = [7.5 * bytes_per_parameter(model, replicas, stage) for stage in (1, 2, 3)]
        assert pytest.approx(expected, abs=0.06) == got
    assert pytest.approx(120.0) == 7.5 * bytes_per_parameter(model, 1, 3)


def test_activations_are_those_of_korthikanti_and_others():
    # arXiv:2205.05198, equation 2: s b h (10 + 24 / t + 5 a s / (h t)) a layer.
    s, b, h, a, t = 2048, 3, 2304, 24, 4
    plan = Plan(tensor=t, micro_batch=b)
    cost = step_cost(MODEL, free(), plan, batch=b)
    expected = 24 * s * b * h * (10 + 24 / t + 5 * a * s / (h * t))
    assert pytest.approx(expected) == cost.activation_bytes
    # Recomputing everything keeps 2 s b h a layer, and one layer at work.
    recomputed = step_cost(
        MODEL, free(), Plan(tensor=t, micro_batch=b, recompute=True), batch=b
    )
    assert pytest.approx(24 * 2 * s * b * h + expected / 24) == (
        recomputed.activation_bytes
    )


def test_gpt_counts_what_the_course_s_own_model_has_and_does():
    model = CharGPT(51, width=48, heads=4, layers=3, context=16)
    counted = sum(p.numel() for p in model.parameters())
    # Ours has no biases (of 13 h a layer, 11 are theirs or norms') and a head of its
    # own; the formula ties head and embedding and leaves the last norm out.
    formula = gpt(layers=3, hidden=48, heads=4, vocabulary=51, length=16)
    assert counted == formula.parameters - 3 * 11 * 48 + 51 * 48 + 48
    # Not counting the causal half that attention may leave out: 4 s² h a layer.
    # The plain form of attention, which the counter sees into.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as flops:
        model(torch.zeros(1, 16, dtype=torch.int64))
    assert flops.get_total_flops() == pytest.approx(formula.forward_flops)


@pytest.mark.parametrize("recompute", [False, True])
def test_one_device_is_pure_compute(recompute):
    slow = Link(latency=1.0, bandwidth=1.0)
    cluster = Cluster(flops=2e12, memory=1.0, inside=slow, between=slow)
    cost = step_cost(MODEL, cluster, Plan(recompute=recompute), batch=6)
    passes = 4 if recompute else 3
    assert pytest.approx(passes * 6 * MODEL.forward_flops / 2e12) == cost.seconds
    assert cost.tensor_bytes == cost.hand_over_bytes == cost.data_bytes == 0
    assert pytest.approx(16 * MODEL.parameters) == cost.state_bytes


@pytest.mark.parametrize(("d", "t", "p"), [*itertools.product([1, 2, 4], repeat=3)])
def test_free_links_leave_compute_and_the_bubble(d, t, p):
    batch = 32
    alone = step_cost(MODEL, free(), Plan(), batch=batch).seconds
    cost = step_cost(MODEL, free(), Plan(d, t, p), batch=batch)
    shared = alone / (d * t * p)
    bubble = bubble_fraction(p, batch // d)
    assert pytest.approx(shared / (1 - bubble)) == cost.seconds
    assert pytest.approx(bubble) == cost.bubble / cost.seconds


def test_latency_alone_counts_messages():
    cluster = Cluster(1e30, 1e12, **links(Link(1.0, math.inf), Link(1.0, math.inf)))
    data = step_cost(MODEL, cluster, Plan(data=8), batch=8).seconds
    assert pytest.approx(2 * 7) == data
    tensor = step_cost(MODEL, cluster, Plan(tensor=4), batch=1).seconds
    assert pytest.approx(24 * 4 * 2 * 3) == tensor
    # m + p - 1 slots, each with an activation and a gradient.
    pipeline = step_cost(MODEL, cluster, Plan(pipeline=4), batch=5).seconds
    assert pytest.approx((5 + 3) * 2) == pipeline


@pytest.mark.parametrize(("zero", "times"), [(0, 2), (1, 2), (2, 2), (3, 3)])
def test_bytes_of_zero_are_the_paper_s(zero, times):
    # Section 7: 2 Ψ for stages 1 and 2, 3 Ψ for stage 3, of values and almost whole.
    cost = step_cost(MODEL, free(), Plan(data=64, zero=zero), batch=64)
    assert pytest.approx(times * 63 / 64 * 2 * MODEL.parameters) == cost.data_bytes


def test_links_between_hosts_are_used_only_by_groups_that_span_hosts():
    halting = links(FREE, Link(1.0, math.inf))
    cluster = Cluster(1e30, 1e12, devices_per_host=4, **halting)

    def seconds(**plan):
        return step_cost(MODEL, cluster, Plan(**plan), batch=16).seconds

    assert seconds(data=4) == pytest.approx(0)
    assert seconds(data=2, tensor=2) == pytest.approx(0)
    assert seconds(pipeline=4) == pytest.approx(0, abs=1e-9)
    assert seconds(data=8) == pytest.approx(14)
    assert seconds(data=2, tensor=4) == pytest.approx(2)
    assert seconds(data=4, pipeline=2) == pytest.approx((4 + 1) * 2)


def test_overlap_hides_at_most_the_last_backward():
    link = Link(0.0, 1e10)
    cluster = Cluster(1e14, 1e12, **links(link, link))
    plain = step_cost(MODEL, cluster, Plan(data=4), batch=8)
    hidden = step_cost(MODEL, cluster, Plan(data=4, overlap=True), batch=8)
    last_backward = 2 * MODEL.forward_flops / 1e14
    assert pytest.approx(plain.data - last_backward) == hidden.data
    fast = step_cost(MODEL, free(), Plan(data=4, overlap=True), batch=8)
    assert fast.data == 0


def test_gpipe_holds_all_micro_batches_and_1f1b_p():
    gpipe, ours = (
        step_cost(
            MODEL, free(), Plan(pipeline=4, one_f_one_b=one_f_one_b), batch=12
        ).activation_bytes
        for one_f_one_b in (False, True)
    )
    assert pytest.approx(12 / 4) == gpipe / ours


def test_more_devices_never_pay_back_in_full():
    """Efficiency falls from 1 as the same batch is spread over more replicas."""
    alone = step_cost(MODEL, A100, Plan(), batch=4096).seconds
    efficiency = [
        alone / (n * step_cost(MODEL, A100, Plan(data=n), batch=4096).seconds)
        for n in (1, 8, 64, 512, 4096)
    ]
    assert pytest.approx(1.0) == efficiency[0]
    assert sorted(efficiency, reverse=True) == efficiency
    assert efficiency[-1] < 0.5


@pytest.mark.parametrize(("latency", "bandwidth"), [(2e-5, 3e9), (1e-3, 1.2e7)])
def test_the_fit_finds_a_known_link_through_noise(latency, bandwidth):
    truth = Link(latency, bandwidth)
    cases = [(n, p) for n in np.geomspace(1e2, 1e8, 25) for p in (2, 3, 8)]
    sizes, worlds = zip(*cases, strict=True)
    exact = [all_reduce_seconds(n, p, truth) for n, p in cases]
    noise = np.exp(0.05 * np.random.default_rng(0).standard_normal(len(cases)))
    for seconds, rel in ((exact, 1e-9), (exact * noise, 0.05)):
        link = fit_link(sizes, worlds, seconds)
        assert pytest.approx(latency, rel=rel) == link.latency
        assert pytest.approx(bandwidth, rel=rel) == link.bandwidth


def test_a_latency_below_zero_is_none():
    link = fit_link([1e6, 2e6, 4e6], [2, 2, 2], [0.5e-3, 2e-3, 5e-3])
    assert link.latency == 0
    assert 5e8 < link.bandwidth < 2e9


def test_bytes_and_seconds_agree_without_latency():
    for p in (1, 2, 3, 8, 1000):
        seconds = all_reduce_seconds(7e6, p, Link(0.0, 1e9))
        assert pytest.approx(all_reduce_bytes(7e6, p) / 1e9) == seconds


def test_the_best_plan_is_the_best_of_all_that_fit():
    found = best_plan(MODEL, A100, devices=16, batch=64)
    assert found is not None
    plan, cost = found
    assert plan.devices == 16
    assert cost.memory <= A100.memory
    for d, t, p in itertools.product([1, 2, 4, 8, 16], [1, 2, 4, 8], [1, 2, 4, 8]):
        if d * t * p == 16:
            other = step_cost(MODEL, A100, Plan(d, t, p, recompute=True), batch=64)
            assert cost.seconds <= other.seconds or other.memory > A100.memory
    small = Cluster(165e12, 1e9, A100.inside, A100.between)
    assert best_plan(MODEL, small, devices=1, batch=1) is None


def test_a_trillion_parameters_need_all_three_kinds():
    model = gpt(layers=128, hidden=25600, heads=160)
    found = best_plan(model, A100, devices=3072, batch=3072)
    assert found is not None
    assert found[0].tensor == 8  # a whole host
    assert found[0].data > 1
    assert found[1].seconds < step_cost(
        model, A100, Plan(6, 8, 64, recompute=True), batch=3072
    ).seconds * (1 + 1e-9)


@pytest.mark.parametrize(
    ("plan", "batch", "match"),
    [
        (Plan(data=0), 8, "must each be at least 1"),
        (Plan(zero=4), 8, "zero must be a stage from 0 to 3, got 4"),
        (Plan(pipeline=5), 8, "pipeline must divide the 24 layers, got 5"),
        (Plan(data=2, micro_batch=3), 8, "data times micro_batch, 6, got 8"),
        (Plan(), 0, "batch must be a multiple"),
    ],
)
def test_plans_that_do_not_fit_are_refused(plan, batch, match):
    with pytest.raises(ValueError, match=match):
        step_cost(MODEL, A100, plan, batch=batch)


def test_fits_and_models_without_an_answer_are_refused():
    with pytest.raises(ValueError, match="one length of at least 2, got 1, 1 and 1"):
        fit_link([1], [2], [1.0])
    with pytest.raises(ValueError, match="n_bytes must differ"):
        fit_link([8, 8], [2, 2], [1.0, 2.0])
    with pytest.raises(ValueError, match="world_sizes must be at least 2"):
        fit_link([8, 9], [1, 1], [1.0, 2.0])
    with pytest.raises(ValueError, match="must grow with n_bytes"):
        fit_link([1e6, 2e6], [2, 2], [2.0, 1.0])
    with pytest.raises(ValueError, match="must each be at least 1"):
        gpt(layers=0, hidden=1, heads=1)
