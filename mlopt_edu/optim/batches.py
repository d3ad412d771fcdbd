"""What an optimizer's step is made of: batches of parameters for one multi-tensor call.

`batches` reads the parameter groups and gives, for each batch, what an update function
takes: parameters, gradients, and the state that the optimizer keeps of them.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mlopt_edu.optim.multi_tensor import Tensors
from mlopt_edu.optim.plan import Split, alike, plan_for


@dataclass(eq=False, slots=True)
class Batch:
    """Parameters that one call of an update function can serve.

    Complex tensors are seen as real ones with a last dimension of 2, in the state too:
    a complex parameter moves as its real and imaginary parts would.

    Args:
        group: The parameter group, with its options.
        params: The parameters.
        grads: Their gradients; negated if the group says `maximize`.
        states: What the optimizer remembers of each, in the same order.
        is_complex: Whether the parameters themselves are complex.
        counts: The step counts as one vector, where they have been found to be one.
    """

    group: dict[str, Any]
    params: Tensors
    grads: Tensors
    states: list[dict[str, Any]]
    is_complex: bool
    counts: Tensor | None = None

    def buffers(self, name: str, *, fill: float | None = 0.0) -> Tensors:
        """Collect a state tensor of every parameter.

        Args:
            name: Key in the state.
            fill: The value that fills it at first; None for a copy of the parameter.

        Returns:
            The tensors themselves, to be updated in place; each of its parameter's
            shape, dtype and device.
        """
        for param, state in zip(self.params.entries, self.states, strict=True):
            if name not in state:
                new = param.clone() if fill is None else torch.full_like(param, fill)
                state[name] = torch.view_as_complex(new) if self.is_complex else new
        entries = [state[name] for state in self.states]
        if self.is_complex:
            entries = list(map(torch.view_as_real, entries))
        return Tensors(entries)

    def scalars(self, name: str, *, fill: float = 0.0) -> Tensors:
        """Collect a 0-dim float32 tensor of every parameter's state.

        As in torch it lies on the CPU, or with the parameter in a group that says
        `fused`, because torch's fused primitives read it there. `load_state_dict` puts
        what is not named `step` to the parameter's dtype and device; it comes back.
        """
        missing = [state for state in self.states if name not in state]
        if missing:
            row = torch.full((len(missing),), fill, device=self._scalar_device)
            # The compiler would have to find out that such neighbours do not overlap.
            alone = torch.compiler.is_compiling()
            for state, entry in zip(missing, row.float().unbind(), strict=True):
                state[name] = entry.clone() if alone else entry
        if name != "step":
            for state in self.states:
                state[name] = state[name].to(self._scalar_device, torch.float32)
        return Tensors([state[name] for state in self.states])

    @property
    def _scalar_device(self) -> torch.device | str:
        return self.params.entries[0].device if self.group.get("fused") else "cpu"

    def count_steps(self) -> Tensors:
        """Add 1 to the step count of every parameter and return the counts."""
        steps = self.scalars("step")
        counts = self.counts if self.counts is not None else _as_vector(steps.entries)
        if counts is not None:
            counts.add_(1)
        else:
            one = torch.ones((), device=steps.entries[0].device)
            torch._foreach_add_(steps.entries, one, alpha=1.0)
        return steps

    def count_step(self) -> float:
        """Add 1 to the step count that all parameters share and return it."""
        return read(self.count_steps().entries[0])


def read(scalar: Tensor) -> float:
    """Return the number in a 0-dim tensor; while compiling, a 0-dim tensor.

    A number would be a constant of the compiled step, which then would be compiled
    again for the next one. Double precision, because a Python number has it.
    """
    number: Any = scalar.double() if torch.compiler.is_compiling() else scalar.item()
    return number  # type: ignore[no-any-return]


def step_count(state: dict[str, Any]) -> Tensor | None:
    """Key of `batches` for parameters that have come equally far."""
    return state.get("step")


def batches(
    optimizer: Optimizer,
    *,
    key: Callable[[dict[str, Any]], Any] | None = None,
    kind: Callable[[Tensor], Hashable] | None = None,
    split_large: bool = True,
) -> list[Batch]:
    """Collect what has a gradient into batches that one multi-tensor call can serve.

    A batch shares its parameter group, device, dtype, `key` and `kind`. With `maximize`
    in the group the gradients come negated; `param.grad` itself is never written to.

    Args:
        optimizer: The optimizer whose `param_groups` and `state` are read.
        key: What must agree within a batch, from a parameter's state (empty before
            its first step): `step_count`, say; of 0-dim tensors, alone or in a tuple,
            their values. Nothing by default.
        kind: What must agree within a batch, from the parameter itself: whether it is
            a matrix, say. Nothing by default.
        split_large: Whether a parameter of 2^18 numbers or more on a CPU is a batch of
            its own: then an update's intermediate results are no larger than it, and
            found in the cache. Of use to updates that have some.

    Returns:
        The batches; empty if nothing has a gradient.

    Raises:
        ValueError: If a gradient is not dense; nothing has been updated then.
    """
    live = [_with_gradients(group) for group in optimizer.param_groups]
    plan = plan_for(optimizer, [params for params, _ in live], Split(kind, split_large))
    found = []
    for group, (params, grads), states, pieces in zip(
        optimizer.param_groups, live, plan.states, plan.pieces, strict=True
    ):
        vector = None
        if key and params:
            values, vector = _values([key(state) for state in states], group)
            if values.count(values[0]) != len(values):
                pieces = [
                    [piece[index] for index in indices]
                    for piece in pieces
                    for indices in alike(_take(values, piece))
                ]
        for piece in pieces:
            is_complex = params[piece[0]].is_complex()
            lists = [_take(params, piece), _take(grads, piece)]
            if is_complex:
                lists = [list(map(torch.view_as_real, entries)) for entries in lists]
            some_params, some_grads = map(Tensors, lists)
            if group.get("maximize"):
                some_grads = some_grads.neg()
            some_states = _take(states, piece)
            batch = Batch(group, some_params, some_grads, some_states, is_complex)
            if key is step_count and len(piece) == len(params):
                batch.counts = vector
            found.append(batch)
    return found


def _with_gradients(group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    params, grads = [], []
    for param in group["params"]:
        grad = param.grad
        if grad is None:
            continue
        if grad.layout is not torch.strided:
            raise ValueError(
                f"gradients must be dense, got layout {grad.layout} for a parameter of "
                f"shape {tuple(param.shape)}: use sparse=False in the embedding"
            )
        params.append(param)
        grads.append(grad)
    return params, grads


def _values(
    shared: list[Any], group: dict[str, Any]
) -> tuple[list[Hashable], Tensor | None]:
    """Put numbers in the place of 0-dim tensors; add the vector that they form."""
    first = next((v for v in shared if isinstance(v, (Tensor, tuple))), None)
    if first is None:
        return shared, None
    if torch.compiler.is_compiling():
        # Numbers are not known yet: each parameter is a batch of its own.
        return list(range(len(shared))), None
    vector = _as_vector(shared)
    if group.get("fused") and isinstance(first, Tensor) and not first.is_cpu:
        # A fused primitive takes each parameter's own: fetch none from a GPU.
        return [None] * len(shared), vector
    if vector is None:
        return [_value(value) for value in shared], None
    return vector.tolist(), vector


def _value(shared: Any) -> Hashable:
    if isinstance(shared, tuple):
        return tuple(_value(value) for value in shared)
    return shared.item() if isinstance(shared, Tensor) else shared


def _as_vector(numbers: list[Any] | tuple[Any, ...]) -> Tensor | None:
    """See 0-dim tensors as one vector if they are neighbours in memory, else None.

    Those that `Batch.scalars` made together are. To count a hundred steps in one
    operation takes a fiftieth of the time.
    """
    if torch.compiler.is_compiling() or set(map(type, numbers)) != {Tensor}:
        return None
    first: Tensor = numbers[0]
    start, size = first.data_ptr(), first.itemsize
    addresses = range(start, start + size * len(numbers), size)
    if [number.data_ptr() for number in numbers] != list(addresses):
        return None
    return first.as_strided((len(numbers),), (1,))


def _take(values: list[Any], indices: list[int]) -> list[Any]:
    if len(indices) == len(values):
        return values
    return [values[index] for index in indices]
