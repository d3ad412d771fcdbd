r"""ZeRO: no rank keeps what another rank has already.

    bytes a rank, Ψ parameters, N ranks       mixed-precision Adam: p = 2, g = 2, K = 12
    stage 0   (p + g + K) Ψ                   data parallelism
    stage 1   (p + g) Ψ + K Ψ/N               each rank has 1/N of the optimizer state,
    stage 2   p Ψ + (g + K) Ψ/N               ... and of the gradients,
    stage 3   (p + g + K) Ψ/N                 ... and of the parameters

The parameters of a unit (a layer, say) lie in one flat buffer, padded so that it cuts
into N equal shards. A rank updates its shard alone. Gradients are reduce-scattered, so
that each rank gets the mean of its shard. Then the new shards are all-gathered. Both
send what one all-reduce does, 2 (N-1)/N Ψ numbers a rank. Stage 3 gathers a unit around
its forward and again around its backward: 3 (N-1)/N Ψ.

Paper: Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion
Parameter Models", 2019, arXiv:1910.02054, sections 5 and 7, Figure 1. Differs from the
paper: each collective is waited for; nothing is gathered ahead.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Variable

from mlopt_edu.parallel.checkpoint import Checkpoint, Piece
from mlopt_edu.parallel.data_parallel import broadcast_
from mlopt_edu.parallel.zero_unit import Unit, by_kind, share_out


def zero_bytes(
    numel: int,
    world_size: int,
    *,
    stage: int,
    param_bytes: int = 2,
    grad_bytes: int = 2,
    state_bytes: int = 12,
) -> float:
    """Return the bytes of model, gradients and optimizer state on one rank.

    Args:
        numel: Number of parameters.
        world_size: Number of ranks.
        stage: 0 for data parallelism, 1, 2 or 3.
        param_bytes: Bytes of a parameter.
        grad_bytes: Bytes of a gradient.
        state_bytes: Bytes of optimizer state for each parameter: 12 for Adam with a
            master copy, 8 for Adam in float32, 4 for momentum.

    Example:
        >>> [zero_bytes(7_500_000_000, 64, stage=s) / 1e9 for s in range(4)]
        [120.0, 31.40625, 16.640625, 1.875]
    """
    kinds = (state_bytes, grad_bytes, param_bytes)
    return sum(
        numel * each / (world_size if stage > kind else 1)
        for kind, each in enumerate(kinds)
    )


class Zero:
    """Trains a model in place with sharded optimizer state, gradients, parameters.

        zero = Zero(model, lambda shards: torch.optim.AdamW(shards, lr=1e-3), stage=2)
        loss.backward();  zero.step();  zero.zero_grad()

    Construct it on all ranks at once: they start from rank 0's parameters. The gradient
    is the mean over ranks (see `mean_over_ranks` for unequal shards). A parameter that
    got no gradient counts as one with gradient zero, because the optimizer sees shards
    and no parameters.

    With stage 3 the parameters of a unit exist only while it runs; between, they are
    empty. All ranks must run the same units in the same order.

    Args:
        model: Any model on this rank's device.
        optimizer: Makes the optimizer of a list of flat shards. It must be elementwise
            (SGD, Adam, Lion, ...): one that looks at matrices or norms (LAMB, Muon,
            Adafactor) would see the shard's.
        stage: 1, 2 or 3.
        units: Modules of the model that are gathered and reduced as one, usually its
            layers; None for its direct children. What they share, or none has, goes
            with the model as a whole.
        group: Process group; None for all ranks.

    Attributes:
        optimizer: The optimizer of the shards, for a schedule.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
        *,
        stage: int,
        units: Sequence[nn.Module] | None = None,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        if stage not in (1, 2, 3):
            raise ValueError(f"stage must be 1, 2 or 3, got {stage}")
        modules = list(model.children() if units is None else units)
        broadcast_([*model.parameters(), *model.buffers()], group=group)
        self.stage = stage
        self.units: list[Unit] = []
        self._in_backward = False
        self._left: list[Unit] = []  # not reduced yet in this backward
        for module, params in share_out(model, modules):
            for members in by_kind(params):
                unit = Unit(members, stage, group)
                self.units.append(unit)
                if stage >= 2 and unit.trained:
                    for param in members.values():
                        self._when_ready(param, unit)
                if stage == 3:
                    self._gather_around(module, unit)
        shards = [unit.shard for unit in self.units if unit.trained]
        if not shards:
            raise ValueError(
                "model must have a parameter that requires a gradient, got none"
            )
        self.optimizer = optimizer(shards)

    def step(self) -> None:
        """Update this rank's shards, and below stage 3 gather all ranks' at once."""
        trained = [unit for unit in self.units if unit.trained]
        if self.stage == 1:
            for unit in trained:
                unit.reduce()
        self.optimizer.step()
        if self.stage < 3:
            for unit in trained:
                unit.all_gather()

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for unit in self.units:
            unit.shard.grad = None
            for param in unit.params.values():
                param.grad = None

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Have whole parameters inside the block, to look at; all must enter."""
        for unit in self.units:
            unit.gather()
        try:
            yield
        finally:
            if self.stage == 3:
                for unit in self.units:
                    unit.release()

    def bytes(self) -> dict[str, int]:
        """Measure what this rank holds now: params, grads, state, in bytes."""
        params = [param for unit in self.units for param in unit.params.values()]
        shards = [unit.shard for unit in self.units]
        grads = [one.grad for one in (*params, *shards)]
        states = [
            value for state in self.optimizer.state.values() for value in state.values()
        ]
        return {
            "params": _storage_bytes([*params, *shards]),
            "grads": _storage_bytes(grads),
            "state": _storage_bytes(states),
        }

    def pieces(self) -> dict[str, Piece]:
        """Return this rank's part of parameters and optimizer state, to be saved.

        Parameters have their names, state has `state/exp_avg/NAME`, counts have
        `number/step/NAME`: all by parameter, so that another stage, other units or a
        plain model can read them.

        Raises:
            TypeError: If the optimizer's state holds what is neither tensor nor number.
        """
        pieces: dict[str, Piece] = {}
        for unit in self.units:
            state = self.optimizer.state.get(unit.shard, {})
            for name, shape, start, at, length in unit.ranges():
                mine = slice(at, at + length)
                pieces[name] = Piece(unit.shard.detach()[mine], start, shape)
                for key, value in state.items():
                    if isinstance(value, Tensor) and value.shape == unit.shard.shape:
                        piece = Piece(value[mine], start, shape)
                        pieces[f"state/{key}/{name}"] = piece
                    elif start == 0 and value is not None:
                        kind, number = _as_number(key, value)
                        pieces[f"{kind}/{key}/{name}"] = Piece.whole(number)
        return pieces

    @torch.no_grad()
    def load(self, checkpoint: Checkpoint) -> None:
        """Take parameters and optimizer state from a checkpoint of any world size.

        Raises:
            KeyError: If the checkpoint lacks a parameter.
        """
        saved: dict[str, list[tuple[str, str]]] = {}
        for whole in checkpoint.shapes:
            kind, _, rest = whole.partition("/")
            if kind in ("state", "number", "python"):
                key, _, name = rest.partition("/")
                saved.setdefault(name, []).append((kind, key))
        for unit in self.units:
            state: dict[str, Any] = {}
            for name, _, start, at, length in unit.ranges():
                mine = slice(at, at + length)
                unit.shard[mine] = checkpoint.read(name, start, start + length)
                for kind, key in saved.get(name, []):
                    if kind == "state":
                        part = checkpoint.read(
                            f"state/{key}/{name}", start, start + length
                        )
                        empty = torch.zeros_like(unit.shard, dtype=part.dtype)
                        state.setdefault(key, empty)[mine] = part
                    else:
                        number = checkpoint.tensor(f"{kind}/{key}/{name}")
                        state[key] = number if kind == "number" else number.item()
            if state:
                self.optimizer.state[unit.shard] = state
            if self.stage < 3:
                unit.all_gather()

    def _when_ready(self, param: nn.Parameter, unit: Unit) -> None:
        """Reduce the unit in backward, once all its gradients are there."""

        def ready(param: nn.Parameter) -> None:
            self._await_end_of_backward()
            unit.missing.discard(param)
            if not unit.missing:
                self._reduce(unit)

        param.register_post_accumulate_grad_hook(ready)  # type: ignore[no-untyped-call]

    def _reduce(self, unit: Unit) -> None:
        unit.reduce()
        unit.missing = set(unit.params.values())
        self._left.remove(unit)
        if self.stage == 3:
            unit.release()

    def _gather_around(self, module: nn.Module, unit: Unit) -> None:
        """Have the parameters whole in the module's forward, and in its backward."""

        def gather(grad: Tensor) -> None:
            self._await_end_of_backward()
            unit.gather()

        def before(module: nn.Module, inputs: Any) -> None:
            unit.gather()

        def after(module: nn.Module, inputs: Any, output: Any) -> None:
            unit.release()
            for tensor in _tensors(output):
                if tensor.requires_grad:
                    tensor.register_hook(gather)  # type: ignore[no-untyped-call]

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)

    def _await_end_of_backward(self) -> None:
        if not self._in_backward:
            self._in_backward = True
            self._left = [unit for unit in self.units if unit.trained]
            Variable._execution_engine.queue_callback(self._finish)

    def _finish(self) -> None:
        self._in_backward = False
        for unit in list(self._left):  # those with a parameter that was not used
            self._reduce(unit)
        if self.stage == 3:
            for unit in self.units:
                unit.release()


def _tensors(output: Any) -> Iterator[Tensor]:
    """Yield the tensors of a module's output, through tuples, lists and dicts."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, tuple | list):
        for item in output:
            yield from _tensors(item)
    elif isinstance(output, dict):
        yield from _tensors(list(output.values()))


def _storage_bytes(values: Iterable[Any]) -> int:
    """Return the bytes behind tensors, each storage once."""
    storages = [one.untyped_storage() for one in values if isinstance(one, Tensor)]
    return sum({one.data_ptr(): one.nbytes() for one in storages}.values())


def _as_number(key: str, value: Any) -> tuple[str, Tensor]:
    """Return a count of the optimizer as a tensor, and whether it was one."""
    if isinstance(value, Tensor):
        return "number", value
    if isinstance(value, int | float):
        kind = torch.float64 if isinstance(value, float) else None
        return "python", torch.tensor(value, dtype=kind)
    raise TypeError(
        "the optimizer's state must hold tensors and numbers to be saved, got "
        f"{type(value).__name__} under {key!r}"
    )
