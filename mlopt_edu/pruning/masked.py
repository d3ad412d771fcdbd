"""Masks that live in a model: through every step, copy and state_dict, until made real.

    w_used = w if mask else 0

A mask multiplied into a weight once is gone after the optimizer's next step: momentum
and weight decay move the zeros again. Here the mask is a parametrization
(`torch.nn.utils.parametrize`): whoever reads `layer.weight` gets the masked weight. The
parameter itself keeps its identity, so an optimizer made before pruning stays good.

A mask saves no memory, it adds a byte a weight. Memory is saved by what comes after
`make_permanent_`: `sparsify_`, or a coded file.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mlopt_edu.pruning.prune import FilterFn


class Mask(nn.Module):
    """Parametrization that shows zeros where the mask is False.

    Args:
        mask: Boolean tensor of the weight's shape.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the masked weight; a product would keep inf, NaN and -0."""
        return torch.where(self.mask, weight, 0)


class TrainedMask(nn.Module):
    """A mask that follows from something trained, such as movement's scores."""

    @property
    def mask(self) -> Tensor:
        """The mask as of now, a boolean tensor of the weight's shape."""
        raise NotImplementedError


@dataclass(frozen=True)
class Target:
    """A weight to prune, with every layer that uses it.

    Attributes:
        name: Its name in the model before pruning, such as "0.weight".
        owners: The layer and the name in it; more than one where layers share it.
    """

    name: str
    owners: tuple[tuple[nn.Module, str], ...]

    @property
    def parametrization(self) -> nn.Module | None:
        """Its mask's module, or None."""
        module, name = self.owners[0]
        return _mask_of(module, name)

    @property
    def weight(self) -> Tensor:
        """The weight as used, with zeros where it is masked."""
        module, name = self.owners[0]
        weight: Tensor = getattr(module, name)
        return weight.detach()

    @property
    def parameter(self) -> nn.Parameter:
        """What the optimizer moves."""
        module, name = self.owners[0]
        return parameter_of(module, name)

    @property
    def kept(self) -> Tensor | None:
        """The mask, or None."""
        parametrization = self.parametrization
        return None if parametrization is None else parametrization.mask  # type: ignore[return-value]


def find_targets(model: nn.Module, filter_fn: FilterFn) -> list[Target]:
    """Return the weights, of 2 dimensions or more, of the layers that are chosen.

    Raises:
        ValueError: If there is none, or one cannot be masked: lazy, parametrized by
            something else, or shared with a layer that is not chosen.
    """
    found: dict[nn.Parameter, list[tuple[str, nn.Module, str]]] = {}
    others: dict[nn.Parameter, str] = {}
    for prefix, module in layers_of(model):
        chosen = filter_fn(prefix, module)
        for name in weight_names(module):
            full_name = f"{prefix}.{name}" if prefix else name
            if not chosen:
                if _is_simple(module, name):
                    others.setdefault(parameter_of(module, name), full_name)
                continue
            if not _is_simple(module, name):
                raise ValueError(
                    f"{full_name} must be a plain parameter, got a parametrized one; "
                    "prune before you parametrize"
                )
            parameter = parameter_of(module, name)
            if isinstance(parameter, nn.UninitializedParameter):
                raise ValueError(
                    f"{full_name} must have a shape, got a lazy one; run one batch "
                    "through the model first"
                )
            if parameter.ndim >= 2:
                found.setdefault(parameter, []).append((full_name, module, name))
    if not found:
        raise ValueError("filter_fn must choose a layer with weights, got none")
    for parameter in found.keys() & others.keys():
        raise ValueError(
            f"{found[parameter][0][0]} must be pruned wherever it is used, got "
            f"{others[parameter]} not chosen; let filter_fn choose both or neither"
        )
    return [
        Target(uses[0][0], tuple((module, name) for _, module, name in uses))
        for uses in found.values()
    ]


@torch.no_grad()
def mask_(targets: Sequence[Target], masks: Sequence[Tensor]) -> None:
    """Give each target its mask; what was masked before stays so.

    Raises:
        ValueError: If a target's mask is trained.
    """
    for target in targets:
        if isinstance(target.parametrization, TrainedMask):
            raise ValueError(
                f"{target.name} must have no trained mask, got one; call "
                "make_permanent_ first"
            )
    for target, mask in zip(targets, masks, strict=True):
        if isinstance(target.parametrization, Mask):
            target.parametrization.mask.logical_and_(mask)
        else:
            attach_(target, Mask(mask.clone()))


def attach_(target: Target, parametrization: nn.Module) -> None:
    """Register one parametrization for all uses of a weight."""
    for module, name in target.owners:
        parametrize.register_parametrization(module, name, parametrization)
        if isinstance(module, nn.RNNBase):
            _read_weights_at_each_call(module)


def masks_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of each mask by the weight's name before pruning.

    Example:
        >>> from mlopt_edu.pruning import Magnitude, prune_
        >>> model = nn.Linear(2, 1)
        >>> _ = model.weight.data.copy_(torch.tensor([[3.0, 1.0]]))
        >>> prune_(model, Magnitude(amount=0.5))
        >>> masks_of(model)
        {'weight': tensor([[ True, False]])}
    """
    return {
        full_name: mask.mask.clone()  # type: ignore[operator]
        for full_name, _, _, mask in _masked(model)
    }


def make_permanent_(model: nn.Module) -> None:
    """Write the zeros into the weights and take the masks away.

    The parameters stay the same objects. From here on an optimizer step may fill the
    zeros again.

    Raises:
        ValueError: If something else parametrizes a masked weight as well.
    """
    masked = list(_masked(model))
    for full_name, module, name, _ in masked:
        if len(_parametrizations(module, name)) > 1:
            raise ValueError(
                f"{full_name} must have no parametrization but its mask, got another; "
                "remove that one first"
            )
    for _, module, name, _ in masked:
        _separate_from_copies_(module)
        parametrize.remove_parametrizations(module, name)
        if isinstance(module, nn.RNNBase) and not parametrize.is_parametrized(module):
            module._init_flat_weights()


def _separate_from_copies_(module: nn.Module) -> None:
    """Give a parametrized layer a class of its own.

    Deep copies share the class that `parametrize` made, and removing one weight's
    property from it would take the weight from all of them.
    """
    shared = type(module)
    module.__class__ = type(shared.__name__, shared.__bases__, dict(vars(shared)))


def layers_of(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules by name, without those that a parametrization is made of."""
    for name, module in model.named_modules():
        if "parametrizations" not in name.split("."):
            yield name, module


def _masked(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, nn.Module]]:
    """Yield name in the model, layer, name in it and mask of every masked weight."""
    for prefix, module in layers_of(model):
        for name in weight_names(module):
            mask = _mask_of(module, name)
            if mask is not None:
                yield (f"{prefix}.{name}" if prefix else name), module, name, mask


def weight_names(module: nn.Module) -> list[str]:
    """Return the names of a layer's own parameters but biases, parametrized or not."""
    names = [name for name, _ in module.named_parameters(recurse=False)]
    if parametrize.is_parametrized(module):
        names += [
            str(name)
            for name, made_of in module.parametrizations.items()  # type: ignore[union-attr,operator]
            if next(made_of.parameters(recurse=False), None) is not None
        ]
    return [name for name in names if not name.startswith("bias")]


def _parametrizations(module: nn.Module, name: str) -> Sequence[nn.Module]:
    if not parametrize.is_parametrized(module, name):
        return ()
    return module.parametrizations[name]  # type: ignore[index,return-value]


def _mask_of(module: nn.Module, name: str) -> nn.Module | None:
    for parametrization in _parametrizations(module, name):
        if isinstance(parametrization, Mask | TrainedMask):
            return parametrization
    return None


def _is_simple(module: nn.Module, name: str) -> bool:
    """Is it a plain parameter, or one whose first parametrization is a mask?"""
    parametrizations = _parametrizations(module, name)
    return not parametrizations or isinstance(parametrizations[0], Mask | TrainedMask)


def parameter_of(module: nn.Module, name: str) -> nn.Parameter:
    """Return the parameter behind a layer's tensor, parametrized or not."""
    if parametrize.is_parametrized(module, name):
        made_of: nn.Module = module.parametrizations[name]  # type: ignore[index,assignment]
        return next(made_of.parameters())
    return module._parameters[name]  # type: ignore[return-value]


def _read_weights_at_each_call(module: nn.RNNBase) -> None:
    """Let a recurrent layer see its parametrized weights.

    It reads a list made at construction. `parametrize` gave this module a class of its
    own, which can hold a property in the list's place.
    """

    def read(self: nn.RNNBase) -> list[Tensor]:
        return [getattr(self, name) for name in self._flat_weights_names]

    def write(self: nn.RNNBase, weights: list[Tensor]) -> None:
        """Keep nothing: the weights are read anew."""

    module.__dict__.pop("_flat_weights", None)
    module.__class__._flat_weights = property(read, write)  # type: ignore[assignment]
