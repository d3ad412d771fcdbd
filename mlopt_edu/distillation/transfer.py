r"""Transfer learning: keep what a net has learnt, and train the rest for a new task.

    freeze      no gradient, and batch norms keep their statistics
    new head    a last layer for the new classes, drawn anew
    step sizes  lr_k = lr / factor^(K - k) for the k-th of K groups from input to output

Here *weights* are handed on, so the new net has the old one's architecture.
Distillation hands on *answers*, to a student of any architecture.

Papers: Yosinski et al., "How transferable are features in deep neural networks?", 2014,
arXiv:1411.1792; Howard and Ruder, "Universal Language Model Fine-tuning for Text
Classification", 2018, arXiv:1801.06146, section 3.2, for the step sizes. Differs from
the papers: nothing.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mlopt_edu.distillation.logits import check_positive

_HEADS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def freeze_(model: nn.Module, filter_fn: Callable[[str, nn.Module], bool]) -> None:
    """Take layers out of the training, in place.

    Their parameters require no gradient, and batch norms among them run in evaluation
    mode even after `model.train()`: otherwise their statistics would follow the new
    data. `unfreeze_` is the way back.

    Args:
        model: Any module.
        filter_fn: Called with the name and the module; says whether to freeze the
            parameters that the module itself holds. It is asked for every layer, so
            choose by the beginning of a name: `lambda name, module:
            name.startswith("features.")`.

    Raises:
        ValueError: If no chosen module has parameters of its own.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
        >>> freeze_(model, lambda name, module: name == "0")
        >>> [param.requires_grad for param in model.parameters()]
        [False, False, True, True]
    """
    for module in _chosen(model, filter_fn):
        for param in module.parameters(recurse=False):
            param.requires_grad_(False)
        if isinstance(module, _NormBase) and not _held(module):
            module.register_forward_pre_hook(_stay_in_evaluation)


def unfreeze_(model: nn.Module, filter_fn: Callable[[str, nn.Module], bool]) -> None:
    """Undo `freeze_` for the chosen layers, in place.

    Args:
        model: A model of which layers were frozen.
        filter_fn: As for `freeze_`.

    Raises:
        ValueError: If no chosen module has parameters of its own.
    """
    for module in _chosen(model, filter_fn):
        for param in module.parameters(recurse=False):
            param.requires_grad_(True)
        for key in _held(module):
            del module._forward_pre_hooks[key]
            module.train(model.training)


def replace_head_(
    model: nn.Module,
    classes: int,
    *,
    name: str | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Put a new last layer in place of the old one, for other classes.

    Args:
        model: Any module.
        classes: Outputs of the new layer, at least 1.
        name: The linear layer or convolution to replace; None for the last one that
            the model registered, which is the head of nearly all classifiers.
        generator: Draws weights and biases, uniform within 1 / sqrt(fan_in).

    Raises:
        ValueError: If `classes` is below 1, or there is no such layer.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 10))
        >>> replace_head_(model, 2)
        >>> model[2]
        Linear(in_features=3, out_features=2, bias=True)
    """
    if classes < 1:
        raise ValueError(f"classes must be at least 1, got {classes}")
    heads = {key: part for key, part in model.named_modules() if type(part) in _HEADS}
    key = next(reversed(heads), "") if name is None else name
    if not key or key not in heads:
        raise ValueError(
            "name must be that of a linear layer or convolution inside the model, got "
            f"{name!r}; it has {', '.join(map(repr, filter(None, heads))) or 'none'}"
        )
    old = heads[key]
    place = {"device": old.weight.device, "dtype": old.weight.dtype}
    new: nn.Module
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, classes, bias=old.bias is not None, **place)
    else:
        assert isinstance(old, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        if old.groups != 1:
            raise ValueError(f"head {key!r} must have groups=1, got {old.groups}")
        new = type(old)(
            old.in_channels,
            classes,
            old.kernel_size,  # type: ignore[arg-type]
            stride=old.stride,  # type: ignore[arg-type]
            padding=old.padding,  # type: ignore[arg-type]
            dilation=old.dilation,  # type: ignore[arg-type]
            bias=old.bias is not None,
            padding_mode=old.padding_mode,
            **place,
        )
    bound = 1 / math.sqrt(old.weight[0].numel())
    for param in new.parameters():
        nn.init.uniform_(param, -bound, bound, generator=generator)
    model.set_submodule(key, new.train(old.training))


def discriminative_groups(
    model: nn.Module, names: Sequence[str], *, lr: float, factor: float = 2.6
) -> list[dict[str, Any]]:
    """Return parameter groups with smaller steps nearer to the input.

    Args:
        model: Its parameters that require a gradient are taken; each must lie in
            exactly one of the named parts.
        names: Parts of the model, from input to output: a layer, or what contains it.
        lr: Step size of the last part, above 0.
        factor: Each part's step size over that of the part before, at least 1.

    Returns:
        One group a part for any optimizer, in the order of `names`, with "params" and
        "lr"; parts without anything to train are left out.

    Raises:
        ValueError: If a parameter lies in no part or in two, or a number is out of
            range.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> groups = discriminative_groups(model, ["0", "2"], lr=0.1, factor=4.0)
        >>> [group["lr"] for group in groups]
        [0.025, 0.1]
    """
    check_positive("lr", lr)
    if not 1 <= factor < math.inf:
        raise ValueError(f"factor must be finite and at least 1, got {factor}")
    groups: list[dict[str, Any]] = [
        {"params": [], "lr": lr / factor ** (len(names) - 1 - place)}
        for place in range(len(names))
    ]
    for key, param in model.named_parameters():
        if not param.requires_grad:
            continue
        places = [
            place for place, name in enumerate(names) if key.startswith(f"{name}.")
        ]
        if len(places) != 1:
            inside = ", ".join(repr(names[place]) for place in places) or "none"
            raise ValueError(
                f"names must hold each parameter in exactly one part, got {inside} for "
                f"{key!r}"
            )
        groups[places[0]]["params"].append(param)
    return [group for group in groups if group["params"]]


def _chosen(
    model: nn.Module, filter_fn: Callable[[str, nn.Module], bool]
) -> list[nn.Module]:
    chosen = [
        module
        for name, module in model.named_modules()
        if filter_fn(name, module)
        and (any(True for _ in module.parameters(recurse=False)) or _is_norm(module))
    ]
    if not chosen:
        raise ValueError(
            "filter_fn must choose a module with parameters of its own, got none; it "
            "is asked for every layer by its full name, as 'features.0'"
        )
    return chosen


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _NormBase) and module.running_mean is not None


def _held(module: nn.Module) -> list[int]:
    return [
        key
        for key, hook in module._forward_pre_hooks.items()
        if hook is _stay_in_evaluation
    ]


def _stay_in_evaluation(module: nn.Module, args: object) -> None:
    module.eval()
