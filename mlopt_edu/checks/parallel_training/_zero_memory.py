"""Task 8: bytes of model, gradients and optimizer state on one rank."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES


def zero_memory_reference(n_params: int, world_size: int, stage: int) -> float:
    """Mixed-precision Adam: 12 bytes of state, 2 of gradient, 2 of the parameter."""
    state = 12 / (world_size if stage >= 1 else 1)
    grad = 2 / (world_size if stage >= 2 else 1)
    param = 2 / (world_size if stage >= 3 else 1)
    return n_params * (state + grad + param)


def _models(rng: np.random.Generator) -> Iterator[Case]:
    for stage in range(4):
        inputs = {"n_params": 7_500_000_000, "world_size": 64, "stage": stage}
        yield Case(f"the paper's model, stage {stage}", inputs)
        inputs = {"n_params": 1000, "world_size": 4, "stage": stage}
        yield Case(f"four ranks, stage {stage}", inputs)
    for n_params, world_size, stage in ((10, 4, 3), (5, 8, 1)):
        inputs = {"n_params": n_params, "world_size": world_size, "stage": stage}
        yield Case("shares of a byte", inputs)
    yield Case("one rank", {"n_params": 50, "world_size": 1, "stage": 3})
    inputs = {"n_params": int(rng.integers(10**6, 10**9)), "stage": 2}
    inputs["world_size"] = int(rng.integers(3, 500))
    order = ("n_params", "world_size", "stage")
    yield Case("another", {name: inputs[name] for name in order})


zero_memory = Task(
    "zero_memory",
    points=1,
    section="14 · Derive",
    reference=zero_memory_reference,
    draw=_models,
    forbid=LIBRARIES,
    hints=(
        "Write down the bytes of one parameter: of itself, of its gradient, and of "
        "what Adam keeps. Which of them does stage 1 cut?",
        "Stage 1 cuts the 12 bytes of state, stage 2 the 2 of the gradient *as well*, "
        "stage 3 also the 2 of the parameter.",
        "Stage 2: `n_params * (2 + (2 + 12) / world_size)`. The other stages differ in "
        "what stands over `world_size`.",
    ),
)


@zero_memory.mistake
def nothing_cut(n_params: int, world_size: int, stage: int) -> float:
    """This is plain data parallelism: every rank keeps all 16 bytes, at any stage."""
    return 16 * n_params


@zero_memory.mistake
def all_cut(n_params: int, world_size: int, stage: int) -> float:
    """You cut everything at every stage; stage 3 alone does that, stage 0 nothing."""
    return 16 * n_params / world_size


@zero_memory.mistake
def all_cut_from_stage_1(n_params: int, world_size: int, stage: int) -> float:
    """From stage 1 on you cut everything; stage 1 cuts the optimizer's state alone."""
    return 16 * n_params / (world_size if stage else 1)


@zero_memory.mistake
def one_stage_late(n_params: int, world_size: int, stage: int) -> float:
    """You are one stage late: stage 1 cuts the state already."""
    return zero_memory_reference(n_params, world_size, stage - 1)


@zero_memory.mistake
def parameters_before_gradients(n_params: int, world_size: int, stage: int) -> float:
    """You cut the parameters first: but the 12 bytes of Adam's state are the most.

    The order is state, gradients, parameters.
    """
    kinds = zip((1, 2, 3), (2, 2, 12), strict=True)
    each = [size / (world_size if stage >= kind else 1) for kind, size in kinds]
    return n_params * sum(each)


@zero_memory.mistake
def one_kind_a_stage(n_params: int, world_size: int, stage: int) -> float:
    """A stage cuts what the stages before it cut, too; yours cuts one thing only."""
    kinds = zip((1, 2, 3), (12, 2, 2), strict=True)
    each = [size / (world_size if stage == kind else 1) for kind, size in kinds]
    return n_params * sum(each)


@zero_memory.mistake
def no_master_copy(n_params: int, world_size: int, stage: int) -> float:
    """The state is 12 bytes: Adam's two averages, and the master copy in float32."""
    return zero_memory_reference(n_params, world_size, stage) - 4 * n_params / (
        world_size if stage else 1
    )


@zero_memory.mistake
def in_float32(n_params: int, world_size: int, stage: int) -> float:
    """Parameters and gradients have 2 bytes here; you count 4 for both."""
    param = 2 / (world_size if stage >= 3 else 1)
    grad = 2 / (world_size if stage >= 2 else 1)
    return zero_memory_reference(n_params, world_size, stage) + n_params * (
        param + grad
    )


@zero_memory.mistake
def state_alone(n_params: int, world_size: int, stage: int) -> float:
    """This is the optimizer's state alone; add the gradients and the parameters."""
    return 12 * n_params / (world_size if stage else 1)


@zero_memory.mistake
def bytes_of_all_ranks(n_params: int, world_size: int, stage: int) -> float:
    """These are the bytes of all ranks together; asked are those of one."""
    return world_size * zero_memory_reference(n_params, world_size, stage)


@zero_memory.mistake
def in_gigabytes(n_params: int, world_size: int, stage: int) -> float:
    """These are gigabytes; return bytes."""
    return zero_memory_reference(n_params, world_size, stage) / 1e9
