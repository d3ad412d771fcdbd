"""Task 9: a teacher left in train mode, to mend."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, relu

Norm = tuple[Array, Array, Array, Array]
Outcome = tuple[Array, Array, Array]


def ask_teacher_reference(
    batches: list[Array], weight: Array, norm: Norm, head: Array
) -> Outcome:
    """Logits of all examples in evaluation mode; the statistics stay as they were."""
    scale, shift, mean, var = norm
    hidden = np.concatenate(batches) @ weight.T
    normed = (hidden - mean) / np.sqrt(var + 1e-5)
    return relu(scale * normed + shift) @ head.T, mean, var


def _teachers(rng: np.random.Generator) -> Iterator[Case]:
    for sizes, d, hidden, classes, label in (
        ((3,), 2, 2, 2, "one batch"),
        ((4, 4, 4), 3, 5, 4, "three batches"),
        ((5, 5, 2), 4, 6, 3, "a smaller last batch"),
        ((1, 1), 3, 4, 2, "batches of one"),
        ((4, 4), 4, 4, 4, "4 everywhere"),
    ):
        # Noise: what enters the norm is far from what the running statistics say.
        batches = [2 * rng.normal(size=(n, d)) + 1 for n in sizes]
        norm = (
            rng.uniform(0.5, 2, size=hidden) * rng.choice([-1, 1], size=hidden),
            rng.normal(size=hidden) + 1,
            rng.normal(size=hidden),
            rng.uniform(0.3, 4, size=hidden),
        )
        inputs = {"batches": batches, "weight": rng.normal(size=(hidden, d))}
        inputs |= {"norm": norm, "head": rng.normal(size=(classes, hidden))}
        yield Case(label, inputs)
        if label == "three batches":
            norm = (*norm[:3], np.full(hidden, 1e-4))
            yield Case("variances near 0", {**inputs, "norm": norm})


ask_teacher = Task(
    "ask_teacher",
    kind="repair",
    points=1,
    section="12 · What goes wrong",
    reference=ask_teacher_reference,
    draw=_teachers,
    forbid=LIBRARIES,
    hints=(
        "Ask for the same example twice, in two batches with other companions. What "
        "does this teacher say?",
        "There are two faults. One: with which mean and variance a batch is "
        "normalised. Two: what a batch leaves behind in the teacher.",
        "Normalise every batch with the running `mean` and `var` that came in, and "
        "drop the two lines that move them.",
    ),
)

Statistics = tuple[Array, Array]
Rule = Callable[[Statistics, Statistics], Statistics]


def _kept(running: Statistics, seen: Statistics) -> Statistics:
    return running


def _moved(running: Statistics, seen: Statistics) -> Statistics:
    return 0.9 * running[0] + 0.1 * seen[0], 0.9 * running[1] + 0.1 * seen[1]


def _variant(
    batches: list[Array],
    weight: Array,
    norm: Norm,
    head: Array,
    *,
    used: Rule = _kept,
    after: Rule = _kept,
    root: Any = lambda var: np.sqrt(var + 1e-5),
    act: Any = relu,
) -> Outcome:
    """A teacher that normalises with `used` and remembers `after`, batch by batch."""
    scale, shift, mean, var = norm
    logits = []
    for x in batches:
        hidden = x @ weight.T
        seen = hidden.mean(axis=0), hidden.var(axis=0)
        centre, spread = used((mean, var), seen)
        mean, var = after((mean, var), seen)
        normed = (hidden - centre) / root(spread)
        logits.append(act(scale * normed + shift) @ head.T)
    return np.concatenate(logits), mean, var


@ask_teacher.mistake
def as_given(*inputs: Any) -> Outcome:
    """Both faults of the given program are still in it: the teacher is in train mode.

    Its answers hang on their companions in the batch, and it changes by being asked.
    """
    return _variant(*inputs, used=lambda _, seen: seen, after=_moved)


@ask_teacher.mistake
def batch_statistics_used(*inputs: Any) -> Outcome:
    """The teacher no longer changes, but it still normalises with the *batch's* mean.

    An example then gets another answer with other companions.
    """
    return _variant(*inputs, used=lambda _, seen: seen)


@ask_teacher.mistake
def statistics_moved(*inputs: Any) -> Outcome:
    """You normalise with the running statistics now, but every batch still moves them.

    After some batches of noise the teacher knows its own data no more.
    """
    return _variant(*inputs, after=_moved, used=_moved)


@ask_teacher.mistake
def moved_behind_its_answers(*inputs: Any) -> Outcome:
    """Batch after batch moves the running statistics, and the next answers with them.

    Drop the two lines that move them.
    """
    return _variant(*inputs, after=_moved)


@ask_teacher.mistake
def moved_but_not_used(*inputs: Any) -> Outcome:
    """The logits are right, but you return moved statistics: the teacher changed."""
    logits, _, _ = ask_teacher_reference(*inputs)
    _, mean, var = _variant(*inputs, after=_moved)
    return logits, mean, var


@ask_teacher.mistake
def statistics_of_all_batches(*inputs: Any) -> Outcome:
    """You normalise with the mean of all batches together; use the running one."""
    batches, *rest = inputs
    return _variant([np.concatenate(batches)], *rest, used=lambda _, seen: seen)


@ask_teacher.mistake
def statistics_replaced(*inputs: Any) -> Outcome:
    """The last batch's statistics replace the running ones; those stay as they were."""
    logits, _, _ = ask_teacher_reference(*inputs)
    _, mean, var = _variant(*inputs, after=lambda _, seen: seen)
    return logits, mean, var


@ask_teacher.mistake
def mean_of_the_batch(*inputs: Any) -> Outcome:
    """The variance is the running one now, but the mean is still the batch's."""
    return _variant(*inputs, used=lambda running, seen: (seen[0], running[1]))


@ask_teacher.mistake
def variance_of_the_batch(*inputs: Any) -> Outcome:
    """The mean is the running one now, but the variance is still the batch's."""
    return _variant(*inputs, used=lambda running, seen: (running[0], seen[1]))


@ask_teacher.mistake
def eps_left_out(*inputs: Any) -> Outcome:
    """You lost the small number under the root; leave the rest of the norm as it is."""
    return _variant(*inputs, root=np.sqrt)


@ask_teacher.mistake
def eps_outside_the_root(*inputs: Any) -> Outcome:
    """The small number belongs under the root, as in the given program."""
    return _variant(*inputs, root=lambda var: np.sqrt(var) + 1e-5)


@ask_teacher.mistake
def root_left_out(*inputs: Any) -> Outcome:
    """You divide by the variance; divide by its root."""
    return _variant(*inputs, root=lambda var: var + 1e-5)


@ask_teacher.mistake
def relu_left_out(*inputs: Any) -> Outcome:
    """You lost the ReLU; leave the rest of the teacher as it is."""
    return _variant(*inputs, act=lambda x: x)


@ask_teacher.mistake
def norm_left_out(*inputs: Any) -> Outcome:
    """You took the norm out; the teacher was trained with it."""
    batches, weight, (scale, shift, mean, var), head = inputs
    hidden = np.concatenate(batches) @ weight.T
    return relu(scale * hidden + shift) @ head.T, mean, var


@ask_teacher.mistake
def last_batch_alone(*inputs: Any) -> Outcome:
    """These are the logits of the last batch; return those of all."""
    batches, *rest = inputs
    return ask_teacher_reference(batches[-1:], *rest)


@ask_teacher.mistake
def only_the_logits(*inputs: Any) -> Array:
    """Return the teacher's mean and variance too, after the logits."""
    return ask_teacher_reference(*inputs)[0]


@ask_teacher.mistake
def a_list_of_batches(*inputs: Any) -> tuple[list[Array], Array, Array]:
    """Your logits are a list of batches; join them into one array."""
    batches, *rest = inputs
    logits = [ask_teacher_reference([batch], *rest)[0] for batch in batches]
    return logits, rest[1][2], rest[1][3]


@ask_teacher.mistake
def variance_first(*inputs: Any) -> Outcome:
    """The variance comes before the mean; return the mean first."""
    logits, mean, var = ask_teacher_reference(*inputs)
    return logits, var, mean


@ask_teacher.mistake
def only_the_mean_moved(*inputs: Any) -> Outcome:
    """The running mean still moves with every batch; it stays, as the variance does."""
    batches, weight, (scale, shift, mean, var), head = inputs
    logits = []
    for batch in batches:
        norm = (scale, shift, mean, var)
        logits.append(ask_teacher_reference([batch], weight, norm, head)[0])
        mean = 0.9 * mean + 0.1 * (batch @ weight.T).mean(axis=0)
    return np.concatenate(logits), mean, var
