"""Task 5: up, down, and out: one cycle in three straight lines."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task


def one_cycle_reference(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """Straight lines from `start_factor` to 1, back, and down to `final_factor`."""
    corners = [0, half_cycle, 2 * half_cycle, total_steps]
    heights = [start_factor, 1, start_factor, final_factor]
    return float(np.interp(step, corners, heights))


def _cycle(rng: np.random.Generator) -> Iterator[Case]:
    half, rest = int(rng.integers(8, 20)), int(rng.integers(4, 15))
    start, end = float(rng.uniform(0.05, 0.3)), float(rng.uniform(0.002, 0.01))
    limits = {
        "half_cycle": half,
        "total_steps": 2 * half + rest,
        "start_factor": start,
        "final_factor": end,
    }
    for step, label in (
        (0, "the first step"),
        (half // 3, "on the way up"),
        (half - 1, "one step before the top"),
        (half, "the top"),
        (half + 1, "one step after the top"),
        (half + 2 * half // 3, "on the way down"),
        (2 * half, "the end of the cycle"),
        (2 * half + 1, "one step after the cycle"),
        (2 * half + rest // 2, "in the last part"),
        (2 * half + rest - 1, "one step before the end"),
        (2 * half + rest, "the end"),
        (2 * half + rest + 1, "one step after the end"),
        (5 * half + 2 * rest, "long after the end"),
    ):
        yield Case(label, {"step": step, **limits})
    short = {
        "half_cycle": 1,
        "total_steps": 3,
        "start_factor": 0.25,
        "final_factor": 0.1,
    }
    yield Case("a cycle of three steps", {"step": 2, **short})
    long = {**short, "half_cycle": 45_000, "total_steps": 100_000}
    yield Case("a long run", {"step": 93_000, **long})
    rising = {**limits, "start_factor": 0.0}
    yield Case("a start at 0", {"step": half // 2, **rising})
    above = {**limits, "final_factor": float(rng.uniform(0.5, 0.9))}
    yield Case("an end above the start", {"step": 2 * half + rest // 2, **above})


one_cycle = Task(
    "one_cycle",
    points=2,
    section="04 · Write it small",
    reference=one_cycle_reference,
    draw=_cycle,
    forbid=("torch.optim", "mlopt_edu.schedules"),
    rtol=1e-5,  # a Python float may come from a tensor in single precision
    hints=(
        "Draw it: the corners are at the steps 0, `half_cycle`, 2 · `half_cycle` and "
        "`total_steps`. How high is each?",
        "In each part, compute the share of the part that is done, and go that share "
        "of the way from one height to the next.",
        "`np.interp(step, corners, heights)` draws the lines, and stays level after "
        "the last corner. The heights are start, 1, start, end.",
    ),
)


def _lines(step: int, corners: list[int], heights: list[float]) -> float:
    return float(np.interp(step, corners, heights))


@one_cycle.mistake
def cosine_for_lines(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """You go along cosines, as torch does unless asked; here the parts are straight."""
    corners = [0, half_cycle, 2 * half_cycle, total_steps]
    heights = [start_factor, 1.0, start_factor, final_factor]
    place = _lines(step, corners, [0.0, 1.0, 2.0, 3.0])
    part = min(int(place), 2)
    share = (1 - np.cos(np.pi * (place - part))) / 2
    return float(heights[part] + (heights[part + 1] - heights[part]) * share)


@one_cycle.mistake
def two_parts_only(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """From the top you fall straight to the end.

    There are three parts: the cycle first returns to `start_factor`.
    """
    corners = [0, half_cycle, total_steps]
    return _lines(step, corners, [start_factor, 1.0, final_factor])


@one_cycle.mistake
def last_part_missing(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """After the cycle you stay level; the last part falls to `final_factor`.

    These short steps at the end are what the cycle was for.
    """
    corners = [0, half_cycle, 2 * half_cycle]
    return _lines(step, corners, [start_factor, 1.0, start_factor])


@one_cycle.mistake
def jumps_to_the_end(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """After the cycle you jump to `final_factor`; go there in a line."""
    if step > 2 * half_cycle:
        return final_factor
    corners = [0, half_cycle, 2 * half_cycle]
    return _lines(step, corners, [start_factor, 1.0, start_factor])


@one_cycle.mistake
def cycle_fills_the_run(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """You return to `start_factor` only at the end of the run.

    Up and down take equally long; the rest of the run is the last part.
    """
    corners = [0, half_cycle, total_steps]
    return _lines(step, corners, [start_factor, 1.0, start_factor])


@one_cycle.mistake
def half_cycle_for_the_cycle(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """Your top is too early: `half_cycle` is the way up alone, not up and down."""
    corners = [0.0, half_cycle / 2, half_cycle, total_steps]
    return float(
        np.interp(step, corners, [start_factor, 1, start_factor, final_factor])
    )


@one_cycle.mistake
def top_in_the_middle_of_the_run(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """Your top is in the middle of the run; it is at step `half_cycle`."""
    corners = [0.0, total_steps / 2, total_steps]
    return float(np.interp(step, corners, [start_factor, 1, final_factor]))


@one_cycle.mistake
def starts_at_zero(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """You start from 0, so the first step changes nothing; start at `start_factor`."""
    corners = [0, half_cycle, 2 * half_cycle, total_steps]
    return _lines(step, corners, [0.0, 1.0, start_factor, final_factor])


@one_cycle.mistake
def counts_from_one(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """You are one step ahead: step 0 has `start_factor` itself, the corner."""
    corners = [0, half_cycle, 2 * half_cycle, total_steps]
    heights = [start_factor, 1.0, start_factor, final_factor]
    return _lines(step + 1, corners, heights)


@one_cycle.mistake
def ends_one_step_early(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """You reach the end one step early: it is *at* `total_steps`.

    torch's own class counts like you; it ends at `total_steps` - 1.
    """
    corners = [0, half_cycle, 2 * half_cycle, total_steps - 1]
    heights = [start_factor, 1.0, start_factor, final_factor]
    return final_factor if step >= corners[-1] else _lines(step, corners, heights)


@one_cycle.mistake
def falls_below_the_end(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """After `total_steps` your line goes on and down, below 0 at last.

    Stay at `final_factor`.
    """
    corners = [0, half_cycle, 2 * half_cycle, total_steps]
    heights = [start_factor, 1.0, start_factor, final_factor]
    if step <= total_steps:
        return _lines(step, corners, heights)
    slope = (final_factor - start_factor) / (total_steps - 2 * half_cycle)
    return final_factor + slope * (step - total_steps)


@one_cycle.mistake
def end_relative_to_start(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """You end at `start_factor` · `final_factor`, as torch's `final_div_factor` does.

    Here all factors are shares of the base lr: end at `final_factor`.
    """
    corners = [0, half_cycle, 2 * half_cycle, total_steps]
    heights = [start_factor, 1.0, start_factor, start_factor * final_factor]
    return _lines(step, corners, heights)


@one_cycle.mistake
def ends_at_zero(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """You fall to 0; the last corner has the height `final_factor`."""
    corners = [0, half_cycle, 2 * half_cycle, total_steps]
    return _lines(step, corners, [start_factor, 1.0, start_factor, 0.0])


@one_cycle.mistake
def falls_to_the_end_twice(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """Your cycle ends at `final_factor` already; it first returns to `start_factor`."""
    corners = [0, half_cycle, 2 * half_cycle, total_steps]
    return _lines(step, corners, [start_factor, 1.0, final_factor, final_factor])


@one_cycle.mistake
def start_added_on_top(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """You rise by 1 *from* `start_factor`, and pass 1. The top is exactly 1."""
    corners = [0, half_cycle, 2 * half_cycle, total_steps]
    heights = [start_factor, 1 + start_factor, start_factor, final_factor]
    return _lines(step, corners, heights)


@one_cycle.mistake
def geometric(
    step: int,
    half_cycle: int,
    total_steps: int,
    start_factor: float,
    final_factor: float,
) -> float:
    """Your factors change by equal *ratios*; go in straight lines, by equal amounts."""
    corners = [0, half_cycle, 2 * half_cycle, total_steps]
    heights = [start_factor, 1.0, start_factor, final_factor]
    with np.errstate(divide="ignore"):
        return float(np.exp(np.interp(step, corners, np.log(heights))))
