r"""When a pipeline does what: schedules as lists, and the time they waste.

A model cut into p stages and a batch cut into m micro-batches leave one question: in
which order does each stage run its m forwards and m backwards? A *schedule* answers it
with one list of actions a stage.

    gpipe         all forwards, then all backwards          m live micro-batches
    one_f_one_b   after a warm-up, one backward a forward   p - stage live, at most m

Both keep the gradient of one step exact, and both waste the same time: while the first
micro-batch goes down the pipeline and the last one comes back, most stages wait. With
t_f and t_b for a forward and a backward of one stage

    a stage works    m (t_f + t_b)
    the step takes   (m + p - 1) (t_f + t_b)
    bubble           (p - 1) / (m + p - 1)          the share of time that it waits

whatever t_b / t_f is. What 1F1B saves is memory: activations live from their forward to
their backward, and it holds those of p micro-batches where GPipe holds m.

Papers: Huang et al., "GPipe", 2018, arXiv:1811.06965, section 2.3, which writes K for p
and M for m; Narayanan et al., "Memory-Efficient Pipeline-Parallel DNN Training", 2020,
arXiv:2006.09503, where 1F1B with one weight version is PipeDream-Flush. Differs from
the papers: GPipe recomputes activations in the backward, here they are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Forward:
    """Run the stage on micro-batch `micro` and keep what its backward needs."""

    micro: int


@dataclass(frozen=True)
class Backward:
    """Run the backward of micro-batch `micro` and free what was kept for it."""

    micro: int


Action = Forward | Backward
Schedule = list[list[Action]]
"""One list of actions for each stage, the first stage first."""


@dataclass(frozen=True)
class Span:
    """An action of one stage and when it ran, in seconds on one common clock."""

    action: Action
    start: float
    end: float


def gpipe(n_stages: int, n_micro: int) -> Schedule:
    """Return all forwards, then all backwards, on every stage.

    Args:
        n_stages: Stages p, at least 1.
        n_micro: Micro-batches m, at least 1.

    Example:
        >>> gpipe(2, 2)[0]
        [Forward(micro=0), Forward(micro=1), Backward(micro=0), Backward(micro=1)]
    """
    _check(n_stages, n_micro)
    forwards: list[Action] = [Forward(micro) for micro in range(n_micro)]
    backwards: list[Action] = [Backward(micro) for micro in range(n_micro)]
    return [forwards + backwards for _ in range(n_stages)]


def one_f_one_b(n_stages: int, n_micro: int) -> Schedule:
    """Return the schedule 1F1B: a warm-up, then one forward and one backward in turn.

    Stage s warms up with p - 1 - s forwards: as many as it takes until the first
    gradient can be back. It never holds more than p - s micro-batches.

    Args:
        n_stages: Stages p, at least 1.
        n_micro: Micro-batches m, at least 1; below p the stages of the front warm up
            with all m and hold m.

    Example:
        >>> one_f_one_b(2, 2)[1]
        [Forward(micro=0), Backward(micro=0), Forward(micro=1), Backward(micro=1)]
    """
    _check(n_stages, n_micro)
    schedule: Schedule = []
    for stage in range(n_stages):
        warm_up = min(n_stages - 1 - stage, n_micro)
        actions: list[Action] = [Forward(micro) for micro in range(warm_up)]
        for micro in range(n_micro - warm_up):
            actions += [Forward(warm_up + micro), Backward(micro)]
        actions += [Backward(micro) for micro in range(n_micro - warm_up, n_micro)]
        schedule.append(actions)
    return schedule


def bubble_fraction(n_stages: int, n_micro: int) -> float:
    """Return the share of its time that a stage waits: (p - 1) / (m + p - 1).

    GPipe and 1F1B have it alike, when all stages are equally fast and sending is free.

    Args:
        n_stages: Stages p, at least 1.
        n_micro: Micro-batches m, at least 1.

    Returns:
        Share in [0, 1).

    Example:
        >>> bubble_fraction(4, 1), bubble_fraction(4, 12)
        (0.75, 0.2)
    """
    _check(n_stages, n_micro)
    return (n_stages - 1) / (n_micro + n_stages - 1)


def peak_live(actions: Sequence[Action]) -> int:
    """Return the most micro-batches whose activations a stage holds at one time.

    Example:
        >>> [peak_live(actions) for actions in gpipe(3, 8)]
        [8, 8, 8]
        >>> [peak_live(actions) for actions in one_f_one_b(3, 8)]
        [3, 2, 1]
    """
    live = most = 0
    for action in actions:
        live += 1 if isinstance(action, Forward) else -1
        most = max(most, live)
    return most


def simulate(
    schedule: Schedule,
    *,
    forward_time: float | Sequence[float] = 1.0,
    backward_time: float | Sequence[float] = 2.0,
    send_time: float = 0.0,
) -> list[list[Span]]:
    """Return when every action runs if each starts as soon as it can.

    A forward waits for the forward of the stage before, a backward for the backward of
    the stage after, and both for the action before them on their own stage.

    Args:
        schedule: Actions of every stage.
        forward_time: Seconds of a forward, or one number for each stage.
        backward_time: Seconds of a backward, or one number for each stage.
        send_time: Seconds between the end of an action and the moment when the
            neighbour has its result; sending keeps nobody from working.

    Returns:
        One list of spans for each stage, in the order of its actions.

    Raises:
        ValueError: If times and stages do not match, or if the stages would wait for
            one another for ever.

    Example:
        >>> spans = simulate(gpipe(2, 1))
        >>> [(span.start, span.end) for span in spans[0]]
        [(0.0, 1.0), (4.0, 6.0)]
    """
    n_stages = len(schedule)
    forward = _per_stage("forward_time", forward_time, n_stages)
    backward = _per_stage("backward_time", backward_time, n_stages)
    spans: list[list[Span]] = [[] for _ in schedule]
    ends: dict[tuple[int, Action], float] = {}
    progress = True
    while progress:
        progress = False
        for stage, actions in enumerate(schedule):
            while len(spans[stage]) < len(actions):
                action = actions[len(spans[stage])]
                source = _source(stage, action, n_stages)
                if source is not None and source not in ends:
                    break
                arrived = 0.0 if source is None else ends[source]
                if source is not None and source[0] != stage:
                    arrived += send_time
                free = spans[stage][-1].end if spans[stage] else 0.0
                start = max(arrived, free)
                is_forward = isinstance(action, Forward)
                end = start + (forward if is_forward else backward)[stage]
                spans[stage].append(Span(action, start, end))
                ends[stage, action] = end
                progress = True
    for stage, actions in enumerate(schedule):
        if len(spans[stage]) < len(actions):
            raise ValueError(
                f"schedule must let every action start, but stage {stage} waits for "
                f"ever at {actions[len(spans[stage])]}"
            )
    return spans


def bubble_of(spans: Sequence[Sequence[Span]]) -> float:
    """Return the share of all stages' time that no action fills.

    The time runs from the first start of any stage to the last end of any.

    Args:
        spans: One list for each stage, simulated or measured.

    Returns:
        Share in [0, 1).

    Example:
        >>> round(bubble_of(simulate(one_f_one_b(4, 12), backward_time=3.0)), 6)
        0.2
    """
    every = [span for stage in spans for span in stage]
    if not every:
        raise ValueError("spans must hold at least one action, got none")
    step = max(span.end for span in every) - min(span.start for span in every)
    busy = sum(span.end - span.start for span in every)
    return 1 - busy / (len(spans) * step)


def _source(stage: int, action: Action, n_stages: int) -> tuple[int, Action] | None:
    """Return the action whose result this one needs; none for the first input."""
    if isinstance(action, Forward):
        return (stage - 1, action) if stage > 0 else None
    if stage < n_stages - 1:
        return stage + 1, action
    return stage, Forward(action.micro)


def _per_stage(
    name: str, times: float | Sequence[float], n_stages: int
) -> Sequence[float]:
    if isinstance(times, float | int):
        return [times] * n_stages
    if len(times) != n_stages:
        raise ValueError(
            f"{name} must hold one time for each of {n_stages} stages, got {len(times)}"
        )
    return times


def _check(n_stages: int, n_micro: int) -> None:
    if n_stages < 1:
        raise ValueError(f"n_stages must be at least 1, got {n_stages}")
    if n_micro < 1:
        raise ValueError(f"n_micro must be at least 1, got {n_micro}")
