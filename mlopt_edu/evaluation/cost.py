r"""What a run of a model costs: multiply-accumulates (MACs), layer by layer.

    Linear, matrix product     rows * inner * columns
    convolution                outputs * (in/groups) * prod(kernel)
    transposed convolution     inputs * (out/groups) * prod(kernel)
    attention                  batch * heads * queries * keys * (d_key + d_value)

A MAC is one multiplication and the addition of its product, two floating-point
operations (FLOPs). Papers differ: "mult-adds" (MobileNet) and most "FLOPs" of vision
papers are MACs. Adding a bias is not counted. Products with padding zeros are, and so
are the masked half of causal attention, whether or not the kernel skips them.

The counts come from the operators that really ran (`TorchDispatchMode`), not from the
kinds of layers: a matrix product written in `forward`, a shared layer called twice or a
branch not taken are counted as they happened.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


@dataclass(frozen=True)
class LayerCost:
    """One module's own share, without its children's.

    Attributes:
        name: The module's name in the model, empty for the model itself.
        kind: The module's class.
        calls: How often it ran.
        output_shape: Shape of its last output, empty if that is not one tensor.
        parameters: Number of parameters that it holds itself.
        macs: MACs of the operators that ran in it and not in a child.
    """

    name: str
    kind: str
    calls: int
    output_shape: tuple[int, ...]
    parameters: int
    macs: int


@dataclass(frozen=True)
class Macs:
    """What `count_macs` saw; as a string, the table of layers.

    Attributes:
        total: MACs of one run.
        layers: Every module that has parameters or MACs of its own, in the model's
            order; for a function, the function.
        uncounted: Entries written by each operator that counts as no MACs, largest
            first: mostly entrywise work, which costs memory traffic. Look here for an
            operator that hides products, such as a kernel of your own.
    """

    total: int
    layers: tuple[LayerCost, ...]
    uncounted: dict[str, int]

    def __str__(self) -> str:
        head = f"{'layer':32}{'kind':22}{'output':>20}{'parameters':>14}{'MACs':>16}"
        rows = [
            f"{layer.name or '(model)':32}{layer.kind:22}"
            f"{'x'.join(map(str, layer.output_shape)):>20}"
            f"{layer.parameters:>14,}{layer.macs:>16,}"
            for layer in self.layers
        ]
        parameters = sum(layer.parameters for layer in self.layers)
        foot = f"{'total':74}{parameters:>14,}{self.total:>16,}"
        names = ", ".join(self.uncounted) or "nothing"
        return "\n".join([head, *rows, foot, f"not counted: {names}"])


def count_macs(model: Callable[..., object], *inputs: object) -> Macs:
    """Run a model once and count its multiply-accumulates, layer by layer.

    A module runs in evaluation mode, without gradients, and gets its modes back; on
    tensors and models of the device "meta" nothing is computed. Fused kernels of torch
    that hide products (LSTM, transformer layers) are turned off for the run.

    Args:
        model: A module, or any function of tensors.
        *inputs: Its arguments.

    Returns:
        The total, the table of layers, and what was not counted.

    Example:
        >>> import torch
        >>> depthwise = torch.nn.Conv2d(8, 8, kernel_size=3, padding=1, groups=8)
        >>> count_macs(depthwise, torch.zeros(1, 8, 10, 10)).total  # 8 * 9 * 100
        7200
    """
    names = _names(model)
    counter = _Counter()
    calls: Counter[nn.Module] = Counter()
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def enter(module: nn.Module, args: object) -> None:
        calls[module] += 1
        counter.running.append(module)

    def leave(module: nn.Module, args: object, output: object) -> None:
        counter.running.pop()
        shapes[module] = tuple(output.shape) if isinstance(output, Tensor) else ()

    with ExitStack() as undo:
        for module in names:
            undo.callback(setattr, module, "training", module.training)
            undo.callback(module.register_forward_pre_hook(enter).remove)
            # Always, for a model may catch a layer's error and go on.
            handle = module.register_forward_hook(leave, always_call=True)
            undo.callback(handle.remove)
            module.training = False
        undo.enter_context(_plain_kernels())
        undo.enter_context(torch.no_grad())
        undo.enter_context(counter)
        model(*inputs)

    layers = []
    seen: set[nn.Parameter] = set()
    for module, name in names.items():
        own = {p for p in module.parameters(recurse=False)} - seen
        seen |= own
        if own or counter.macs[module]:
            layers.append(
                LayerCost(
                    name,
                    type(module).__name__,
                    calls[module],
                    shapes.get(module, ()),
                    sum(parameter.numel() for parameter in own),
                    counter.macs[module],
                )
            )
    if counter.macs[None]:
        kind = getattr(model, "__name__", type(model).__name__)
        layers.append(LayerCost("", kind, 1, (), 0, counter.macs[None]))
    total = sum(counter.macs.values())
    return Macs(total, tuple(layers), dict(counter.uncounted.most_common()))


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Turn off the fused layers that would hide their matrix products."""
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


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the MACs of every operator under the innermost running module."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.running: list[nn.Module | None] = [None]
        self.macs: Counter[nn.Module | None] = Counter()
        self.uncounted: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        formula = _FORMULAS.get(func.overloadpacket)
        if formula is None:
            # In inference mode operators arrive whole that are made of others.
            with self:
                output = func.decompose(*args, **kwargs)
            if output is not NotImplemented:
                return output
        output = func(*args, **kwargs)
        if formula is not None:
            self.macs[self.running[-1]] += formula(output, *args)
        elif not func.is_view:
            tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
            written = sum(tensor.numel() for tensor in tensors)
            if written:
                self.uncounted[func.overloadpacket.__name__] += written
        return output


def _product(out: Tensor, a: Tensor, b: Tensor, *_: object) -> int:
    if a.layout is torch.strided and b.layout is not torch.strided:
        return _entries(b) * a.shape[-2]
    return _entries(a) * (b.shape[-1] if b.ndim > 1 else 1)


def _added_product(out: Tensor, bias: Tensor, a: Tensor, b: Tensor, *_: object) -> int:
    return _product(out, a, b)


def _packed_product(out: Tensor, a: Tensor, *_: object) -> int:
    return out.numel() * a.shape[-1]


def _convolution(
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: object,
    padding: object,
    dilation: object,
    transposed: bool,
    *_: object,
) -> int:
    return (x if transposed else out).numel() * math.prod(weight.shape[1:])


def _attention(out: Any, query: Tensor, key: Tensor, value: Tensor, *_: object) -> int:
    scores = math.prod(query.shape[:-1]) * key.shape[-2]
    return scores * (query.shape[-1] + value.shape[-1])


_OPERATORS: dict[Callable[..., int], list[object]] = {
    _product: [
        aten.mm, aten.bmm, aten.mv, aten.dot, aten.vdot, aten._int_mm,
        aten._scaled_mm,
    ],
    _added_product: [
        aten.addmm, aten.addmm_, aten.baddbmm, aten.baddbmm_, aten.addbmm,
        aten.addbmm_, aten.addmv, aten.addmv_, aten._addmm_activation,
    ],
    _packed_product: [
        aten._weight_int8pack_mm, aten._weight_int4pack_mm,
        aten._weight_int4pack_mm_for_cpu,
    ],
    _convolution: [aten.convolution],
    _attention: [
        aten._scaled_dot_product_flash_attention_for_cpu,
        aten._scaled_dot_product_flash_attention,
        aten._scaled_dot_product_efficient_attention,
        aten._scaled_dot_product_cudnn_attention,
    ],
}  # fmt: skip
_FORMULAS = {
    operator: formula
    for formula, operators in _OPERATORS.items()
    for operator in operators
}


def _names(model: object) -> dict[nn.Module, str]:
    if not isinstance(model, nn.Module):
        return {}
    return {module: name for name, module in model.named_modules()}


def _entries(matrix: Tensor) -> int:
    if matrix.layout is torch.strided:
        return matrix.numel()
    if matrix.layout is torch.sparse_coo:
        return matrix._nnz()
    return matrix.values().numel()
