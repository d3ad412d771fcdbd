"""Run a model once, and follow its channels from operator to operator.

Like `mlopt_edu.evaluation.count_macs`, this sees the operators that really ran
(`TorchDispatchMode`), not the kinds of layers: a sum written in `forward`, a shared
layer called twice or attention made by hand need nothing special. Layers that torch
computes by one fused operator, such as LSTM, run in their plain form.
"""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mlopt_edu.pruning.structured.atoms import Mismatch
from mlopt_edu.pruning.structured.known import fixed
from mlopt_edu.pruning.structured.rules_entry import (
    ENTRY_RULES,
    entrywise,
    has_channels,
)
from mlopt_edu.pruning.structured.rules_layer import (
    LAYER_RULES,
    unite_attention_widths,
)
from mlopt_edu.pruning.structured.rules_shape import SHAPE_RULES
from mlopt_edu.pruning.structured.seen import Dims
from mlopt_edu.pruning.structured.tracker import Tracker

aten = torch.ops.aten
RULES = ENTRY_RULES | SHAPE_RULES | LAYER_RULES


class DataDependentError(ValueError):
    """The model decides by numbers that its layers computed."""


class _Follow(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Applies the rule of every operator that runs."""

    def __init__(self, tracker: Tracker) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tracker = tracker

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing is compiled here, and to say so would import the compiler: seconds.
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        rule = _rule_of(func)
        if rule is None:
            # In inference mode operators arrive whole that are made of others.
            with self:
                output = func.decompose(*args, **kwargs)
            if output is not NotImplemented:
                return output
        tracker = self.tracker
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        before = [(tracker.of_weights(x), tracker.of_inputs(x)) for x in given]
        of_weights = any(weights for weights, _ in before)
        of_inputs = any(inputs for _, inputs in before)
        tracker.untouched.difference_update(map(id, given))
        if func.overloadpacket is aten._local_scalar_dense and of_inputs:
            if of_weights:
                raise DataDependentError
            tracker.looked_at_inputs = True
        output = func(*args, **kwargs)
        tracker.operator = str(func.overloadpacket)
        results = [x for x in tree_leaves(output) if isinstance(x, Tensor)]
        dims = _dims(tracker, rule, _by_name(func, args, kwargs), output, given)
        for number, tensor in enumerate(results):
            own = dims[number if len(dims) > 1 else 0] if dims else ()
            if tuple(map(len, own)) != tuple(tensor.shape):
                own = fixed(tensor.shape)
            tracker.know(tensor, own, of_weights=of_weights, of_inputs=of_inputs)
            if given and tensor is given[0]:
                tracker.write_through(tensor)
        return output


def _rule_of(func: Any) -> Any:
    packet = func.overloadpacket
    if packet in RULES:
        return RULES[packet]
    if torch.Tag.pointwise in func.tags:
        return entrywise
    return None


def _dims(
    tracker: Tracker, rule: Any, a: dict[str, Any], output: Any, given: list[Tensor]
) -> list[Dims]:
    if rule is not None:
        try:
            found: Dims | list[Dims] = rule(tracker, a, output)
        except Mismatch:
            raise
        except Exception:
            # Arguments that the rule does not know, as of a layout of its own.
            pass
        else:
            return found if isinstance(found, list) else [found]
    for tensor in given:
        if has_channels(tracker, tensor):
            for array in tracker.dims(tensor):
                tracker.keep(array, "is an operator that channels are not followed by")
    return []


def _by_name(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return an operator's arguments by name, with the defaults filled in."""
    schema = func._schema.arguments
    named = {arg.name: arg.default_value for arg in schema if arg.has_default_value()}
    named |= {arg.name: value for arg, value in zip(schema, args, strict=False)}
    return named | kwargs


def twin(model: nn.Module) -> nn.Module:
    """Return a copy of the modules on the same parameter storage, without gradients.

    Its parameters are other objects, all of which require gradients if they can; its
    buffers are copies.
    """
    own = {
        id(p): nn.Parameter(p.detach(), requires_grad=p.dtype.is_floating_point)
        for p in model.parameters()
    }
    return copy.deepcopy(model, dict[int, Any](own))


@torch.no_grad()
def follow(
    model: nn.Module, inputs: tuple[Any, ...], tracker: Tracker, *, training: bool
) -> object:
    """Run a model of one's own, such as a `twin`, and return its output.

    Args:
        model: Its modes are changed, and left so.
        inputs: Positional arguments.
        tracker: What follows the channels.
        training: Whether modules made of others believe that they train, so that
            branches for training alone are seen; layers themselves never do.

    Raises:
        DataDependentError: If the model reads a number that its layers computed.
    """
    unite_attention_widths(tracker, list(model.modules()))
    with ExitStack() as undo:
        for name, module in model.named_modules():
            module.training = training and next(module.children(), None) is not None
            enter = _entering(tracker, name, module)
            undo.callback(module.register_forward_pre_hook(enter).remove)
            leave = _leaving(tracker)
            handle = module.register_forward_hook(leave, always_call=True)
            undo.callback(handle.remove)
        undo.enter_context(_plain_kernels())
        # Dropout of attention may draw: leave the caller's randomness alone.
        devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
        undo.enter_context(torch.random.fork_rng(devices))
        undo.enter_context(torch.inference_mode(False))
        for leaf in tree_leaves(inputs):
            if isinstance(leaf, Tensor):
                tracker.know(leaf, fixed(leaf.shape), of_weights=False, of_inputs=True)
        with _Follow(tracker), torch.no_grad():
            return model(*inputs)


def _entering(tracker: Tracker, name: str, module: nn.Module) -> Any:
    def enter(_module: nn.Module, _args: object) -> None:
        tracker.running.append((name, module))

    return enter


def _leaving(tracker: Tracker) -> Any:
    def leave(_module: nn.Module, _args: object, _output: object) -> None:
        tracker.running.pop()

    return leave


def keep_outputs(tracker: Tracker, output: object) -> list[tuple[int, ...]]:
    """Freeze the channels of a model's outputs, and return the shapes.

    Raises:
        ValueError: If the model returns what has no tensors to be seen.
        Mismatch: If the classes are settled, and channels of an output would go.
    """
    shapes = []
    tracker.operator = "model"
    for leaf in tree_leaves(output):
        if isinstance(leaf, Tensor):
            for array in tracker.dims(leaf):
                tracker.keep(array, "returns it")
            shapes.append(tuple(leaf.shape))
        elif not isinstance(leaf, int | float | str | None):
            raise ValueError(
                "model must return tensors, also in tuples, lists or dictionaries, "
                f"got {type(leaf).__name__}"
            )
    return shapes


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Turn off the fused layers that would hide what they are made of."""
    libraries = (torch.backends.mkldnn, torch.backends.cudnn)
    were_enabled = [library.enabled for library in libraries]
    was_fast = torch.backends.mha.get_fastpath_enabled()
    try:
        for library in libraries:
            library.enabled = False  # type: ignore[attr-defined]
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        for library, was_enabled in zip(libraries, were_enabled, strict=True):
            library.enabled = was_enabled  # type: ignore[attr-defined]
        torch.backends.mha.set_fastpath_enabled(was_fast)
