"""Task 10: a whole AdamW step in one kernel, 28 bytes a parameter."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._task import Case, Task
from ._problem import TRITON_SECONDS, Array, padding

Step = tuple[Array, Array, Array, int, int, int, int]
NAMES = (
    *("param", "grad", "exp_avg", "exp_avg_sq", "step", "lr"),
    *("beta1", "beta2", "eps", "weight_decay", "block_size"),
)


def fused_adamw_step_reference(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    block_size: int,
) -> Step:
    """Four arrays are read once, three are written once."""
    wide = grad.astype(np.float64)
    exp_avg = beta1 * exp_avg.astype(np.float64) + (1 - beta1) * wide
    exp_avg_sq = beta2 * exp_avg_sq.astype(np.float64) + (1 - beta2) * wide * wide
    corrected = exp_avg_sq / (1 - beta2**step)
    update = exp_avg / (1 - beta1**step) / (np.sqrt(corrected) + eps)
    output = param - lr * (update + weight_decay * param.astype(np.float64))
    read, written = 16 * len(output), 12 * len(output)
    return output, exp_avg, exp_avg_sq, read, written, 0, 0


def _steps(rng: np.random.Generator) -> Iterator[Case]:
    for label, n, step, eps, block_size in (
        ("the first step", 32, 1, 1e-8, 16),
        ("past the edge", 50, 3, 1e-2, 32),
        ("one parameter", 1, 2, 1e-1, 8),
        ("many steps", 100, 20, 0.3, 64),
    ):
        param, grad, first, second = rng.normal(size=(4, n)).astype(np.float32)
        inputs = {
            "param": param,
            "grad": grad,
            "exp_avg": first if step > 1 else np.zeros_like(first),
            "exp_avg_sq": second**2 if step > 1 else np.zeros_like(second),
            "step": step,
            "lr": float(rng.uniform(0.1, 0.3)),
            "beta1": float(rng.uniform(0.6, 0.8)),
            "beta2": float(rng.uniform(0.85, 0.95)),
            "eps": eps,
            "weight_decay": float(rng.uniform(0.2, 0.5)),
            "block_size": block_size,
        }
        yield Case(label, inputs)


fused_adamw_step = Task(
    "fused_adamw_step",
    points=2,
    section="15 · Write it small",
    reference=fused_adamw_step_reference,
    draw=_steps,
    seconds=TRITON_SECONDS,
    hints=(
        "What must be loaded before anything can be computed, and what is stored at "
        "the end? Nothing else should touch memory.",
        "Load the four arrays once, compute both averages, the update and the new "
        "parameter in registers, and store three arrays. `tl.sqrt` takes a root.",
        "`update = exp_avg / correction1 / (tl.sqrt(exp_avg_sq / correction2) + eps)`, "
        "then `param - lr * (update + weight_decay * param)`.",
    ),
)


def _step(inputs: tuple[Any, ...], **changed: Any) -> Step:
    """Take the right step, with some of its inputs changed."""
    named = dict(zip(NAMES, inputs, strict=True)) | changed
    return fused_adamw_step_reference(**named)


def _updated(inputs: tuple[Any, ...], update: Array) -> Step:
    """Take a step whose averages are right, with another update."""
    param, lr, weight_decay = inputs[0].astype(np.float64), inputs[5], inputs[9]
    _, *rest = _step(inputs)
    output = param - lr * (update + weight_decay * param)
    return (output, *rest)


def _outside(inputs: tuple[Any, ...], arrays: int) -> Step:
    """Take the right step, with as many arrays accessed past the end."""
    lanes = arrays * padding(len(inputs[0]), inputs[-1])
    param, first, second, read, written, _, races = _step(inputs)
    return param, first, second, read, written, lanes, races


def _averages(inputs: tuple[Any, ...]) -> tuple[Array, Array]:
    """Return the new averages with their corrections."""
    step, beta1, beta2 = inputs[4], inputs[6], inputs[7]
    _, first, second, *_ = _step(inputs)
    return first / (1 - beta1**step), second / (1 - beta2**step)


@fused_adamw_step.mistake
def not_fused(*inputs: Any) -> Step:
    """The step is right, but the averages go through memory: not 28 bytes a parameter.

    You load them again after storing them. Keep in registers what you have.
    """
    param, first, second, read, written, outside, races = _step(inputs)
    return param, first, second, read + 8 * len(param), written, outside, races


@fused_adamw_step.mistake
def three_kernels(*inputs: Any) -> Step:
    """The step is right, but takes 40 bytes a parameter, not 28.

    The gradient and both averages are loaded twice. One program can do it all.
    """
    param, first, second, read, written, outside, races = _step(inputs)
    return param, first, second, read + 12 * len(param), written, outside, races


@fused_adamw_step.mistake
def missing_mask(*inputs: Any) -> Step:
    """There is no mask: at the edge the last program writes over what lies behind.

    Behind a parameter lies another one, and it is silently ruined.
    """
    return _outside(inputs, 7)


@fused_adamw_step.mistake
def store_masks_missing(*inputs: Any) -> Step:
    """The stores have no mask: the last program writes over what lies behind."""
    return _outside(inputs, 3)


@fused_adamw_step.mistake
def load_masks_missing(*inputs: Any) -> Step:
    """The loads have no mask: the last program reads past the end of four arrays."""
    return _outside(inputs, 4)


@fused_adamw_step.mistake
def decay_in_the_gradient(*inputs: Any) -> Step:
    """You add the weight decay to the gradient: that is Adam with an L2 penalty.

    AdamW leaves the averages alone and takes the decay from the parameter.
    """
    param, grad, weight_decay = inputs[0], inputs[1], inputs[9]
    return _step(inputs, grad=grad + weight_decay * param, weight_decay=0.0)


@fused_adamw_step.mistake
def decay_forgotten(*inputs: Any) -> Step:
    """The weight decay is missing: it is what the W in AdamW stands for."""
    return _step(inputs, weight_decay=0.0)


@fused_adamw_step.mistake
def decay_without_lr(*inputs: Any) -> Step:
    """You take `weight_decay * param` off whole; the learning rate scales it too."""
    return _step(inputs, weight_decay=inputs[9] / inputs[5])


@fused_adamw_step.mistake
def decay_after_the_update(*inputs: Any) -> Step:
    """You take the decay from the parameter that was updated already.

    It is a share of the parameter *before* the step.
    """
    _, first, second, *_ = updated = _step(inputs, weight_decay=0.0)
    return updated[0] * (1 - inputs[5] * inputs[9]), first, second, *updated[3:]


@fused_adamw_step.mistake
def averages_not_stored(*inputs: Any) -> Step:
    """The parameter is right, but the new averages are lost: store them as well.

    The next step would begin with the old ones.
    """
    param, _, _, read, written, outside, races = _step(inputs)
    return param, inputs[2], inputs[3], read, written - 8 * len(param), outside, races


@fused_adamw_step.mistake
def exp_avg_not_stored(*inputs: Any) -> Step:
    """You do not store `exp_avg`: the next step would begin with the old one."""
    param, _, second, read, written, outside, races = _step(inputs)
    return param, inputs[2], second, read, written - 4 * len(param), outside, races


@fused_adamw_step.mistake
def second_correction_missing(*inputs: Any) -> Step:
    """You correct `exp_avg` only: `exp_avg_sq` starts at 0 too and has its own."""
    (first, _), (_, _, second, *_) = _averages(inputs), _step(inputs)
    return _updated(inputs, first / (np.sqrt(second) + inputs[8]))


@fused_adamw_step.mistake
def eps_missing(*inputs: Any) -> Step:
    """You do not add `eps`: a parameter without gradients would divide 0 by 0."""
    first, second = _averages(inputs)
    return _updated(inputs, first / np.sqrt(second))


@fused_adamw_step.mistake
def correction_missing(*inputs: Any) -> Step:
    """The averages start at 0 and are too small at first: divide by the corrections."""
    _, first, second, *_ = _step(inputs)
    return _updated(inputs, first / (np.sqrt(second) + inputs[8]))


@fused_adamw_step.mistake
def eps_under_the_root(*inputs: Any) -> Step:
    """You add `eps` under the root; it comes after it."""
    first, second = _averages(inputs)
    return _updated(inputs, first / np.sqrt(second + inputs[8]))


@fused_adamw_step.mistake
def root_forgotten(*inputs: Any) -> Step:
    """You divide by the average of the squares: take its root first."""
    first, second = _averages(inputs)
    return _updated(inputs, first / (second + inputs[8]))


@fused_adamw_step.mistake
def old_averages(*inputs: Any) -> Step:
    """You update the parameter with the averages of the step *before*.

    Compute the new ones first.
    """
    _, _, first, second, step, _, beta1, beta2, eps, _, _ = inputs
    root = np.sqrt(second.astype(np.float64) / (1 - beta2**step))
    with np.errstate(divide="ignore", invalid="ignore"):
        update = first.astype(np.float64) / (1 - beta1**step) / (root + eps)
    return _updated(inputs, update)
