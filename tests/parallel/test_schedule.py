"""Schedules as data: their order, their bubble, what they hold; torch's beside them."""

from itertools import pairwise

import pytest
from torch.distributed.pipelining import schedules as torch_schedules

from mlopt_edu.parallel.schedule import (
    Backward,
    Forward,
    Span,
    bubble_fraction,
    bubble_of,
    gpipe,
    one_f_one_b,
    peak_live,
    simulate,
)

SIZES = [(1, 1), (1, 5), (2, 1), (2, 2), (3, 2), (4, 4), (4, 3), (5, 13), (8, 32)]
every_size = pytest.mark.parametrize(("p", "m"), SIZES)
either = pytest.mark.parametrize("make", [gpipe, one_f_one_b])


@either
@every_size
def test_a_stage_runs_each_micro_batch_forward_before_backward(make, p, m):
    schedule = make(p, m)
    assert p == len(schedule)
    for actions in schedule:
        assert 2 * m == len(actions) == len(set(actions))
        for micro in range(m):
            assert actions.index(Forward(micro)) < actions.index(Backward(micro))


@pytest.mark.parametrize("times", [(1, 1), (1, 2), (1, 3), (5, 2), (0.25, 8)])
@either
@every_size
def test_the_bubble_is_the_formula_whatever_a_backward_takes(make, p, m, times):
    forward, backward = times
    spans = simulate(make(p, m), forward_time=forward, backward_time=backward)
    assert pytest.approx(bubble_fraction(p, m), abs=1e-12) == bubble_of(spans)
    last = max(span.end for stage in spans for span in stage)
    assert pytest.approx((m + p - 1) * (forward + backward)) == last


@every_size
def test_gpipe_holds_all_micro_batches_and_1f1b_those_of_the_stages_behind(p, m):
    assert [m] * p == [peak_live(actions) for actions in gpipe(p, m)]
    expected = [min(p - stage, m) for stage in range(p)]
    assert expected == [peak_live(actions) for actions in one_f_one_b(p, m)]


@pytest.mark.parametrize(("p", "m"), [(2, 2), (4, 4), (5, 13), (8, 32)])
def test_1f1b_is_torchs_order(p, m):
    class Stage:  # what the order is made from
        _num_stages, _n_microbatches = p, m

    torchs = torch_schedules.Schedule1F1B._get_pipeline_order(Stage())
    kind = {"FORWARD": Forward, "FULL_BACKWARD": Backward}
    expected = [
        [
            kind[action.computation_type.name](action.microbatch_index)
            for action in torchs[stage]
            if action is not None and action.computation_type.name in kind
        ]
        # Without a warm-up torch 2.13 counts from 1, in this list, not in its run.
        for stage in range(p - 1)
    ]
    assert expected == one_f_one_b(p, m)[:-1]


@either
def test_nothing_starts_before_what_it_needs(make):
    schedule = make(4, 6)
    spans = simulate(schedule, forward_time=[1, 2, 1, 4], send_time=0.5)
    ends = [{span.action: span.end for span in stage} for stage in spans]
    for stage, actions in enumerate(spans):
        assert schedule[stage] == [span.action for span in actions]
        for before, after in pairwise(actions):
            assert before.end <= after.start
        for span in actions:
            if isinstance(span.action, Forward) and stage > 0:
                assert ends[stage - 1][span.action] + 0.5 <= span.start
            if isinstance(span.action, Backward) and stage < 3:
                assert ends[stage + 1][span.action] + 0.5 <= span.start


def test_the_slowest_stage_sets_the_pace():
    # Stage 1 is busy from 1 on: 16 × (3 + 3), before and after it stage 0 once.
    spans = simulate(gpipe(2, 16), forward_time=[1, 3], backward_time=[1, 3])
    last = max(span.end for stage in spans for span in stage)
    assert pytest.approx(1 + 16 * 6 + 1) == last
    assert bubble_fraction(2, 16) < bubble_of(spans)


def test_1f1b_pays_for_slow_sends_where_gpipe_hides_them():
    # One micro-batch in flight between two stages: 1F1B waits for its way and back.
    times = {"forward_time": 1.0, "backward_time": 1.0, "send_time": 1.0}
    assert bubble_of(simulate(gpipe(2, 32), **times)) < bubble_of(
        simulate(one_f_one_b(2, 32), **times)
    )


def test_a_schedule_that_can_not_end_is_refused():
    waits = [[Backward(0), Forward(0)], [Forward(0), Backward(0)]]
    with pytest.raises(ValueError, match=r"stage 0 waits .* Backward\(micro=0\)"):
        simulate(waits)


@pytest.mark.parametrize("make", [gpipe, one_f_one_b, bubble_fraction])
def test_counts_below_one_are_refused(make):
    with pytest.raises(ValueError, match="n_stages must be at least 1, got 0"):
        make(0, 1)
    with pytest.raises(ValueError, match="n_micro must be at least 1, got -2"):
        make(1, -2)


def test_times_must_match_the_stages():
    with pytest.raises(ValueError, match=r"backward_time must hold .* 2 stages, got 3"):
        simulate(gpipe(2, 1), backward_time=[1, 2, 3])
    with pytest.raises(ValueError, match="at least one action"):
        bubble_of([[], []])
    in_turn = [[Span(Forward(0), 0, 1)], [Span(Forward(0), 1, 2)]]
    assert pytest.approx(0.5) == bubble_of(in_turn)
