r"""Net2WiderNet: a wider net that computes the same function, to train further.

    U[i] = W[g(i)],   V'[:, i] = share_i · V[:, g(i)]
    g(i) = i for i < n, random below n after; the shares of a unit's copies sum to 1

W makes n units and V reads them. It is not distillation: weights are handed on, to a
*larger* net, and no teacher is asked. Copies with equal shares get equal gradients and
stay copies for ever; `noise` makes the shares uneven, and they part.

Paper: Chen, Goodfellow and Shlens, "Net2Net: Accelerating Learning via Knowledge
Transfer", 2015, arXiv:1511.05641, Algorithm 1. Differs from the paper: it breaks the
symmetry by noise on the copied weights, which changes the function; uneven shares
break it and leave the function as it was.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mlopt_edu.distillation.sequences import LAYERS, followers

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def replication_mapping(
    width: int, new_width: int, *, generator: torch.Generator | None = None
) -> Tensor:
    """Return g: which of `width` units each of `new_width` units copies.

    Raises:
        ValueError: If `new_width` is not above `width`, or `width` is below 1.

    Example:
        >>> replication_mapping(3, 6, generator=torch.Generator().manual_seed(0))
        tensor([0, 1, 2, 2, 0, 2])
    """
    if not 1 <= width < new_width:
        raise ValueError(f"width must be above the present {width}, got {new_width}")
    drawn = torch.randint(width, (new_width - width,), generator=generator)
    return torch.cat([torch.arange(width), drawn])


def copy_shares(
    mapping: Tensor, *, noise: float = 0.0, generator: torch.Generator | None = None
) -> Tensor:
    """Return what each unit passes on, float64; the shares of a unit's copies sum to 1.

    Args:
        mapping: g, int64 of shape (new_width,).
        noise: 0 for equal shares; above, in [0, 1), each is multiplied by a random
            number in [1 - noise, 1 + noise) before they are divided by their sum.
        generator: Draws the noise.

    Raises:
        ValueError: If `noise` is out of range.

    Example:
        >>> copy_shares(torch.tensor([0, 1, 1, 1, 1])).tolist()
        [1.0, 0.25, 0.25, 0.25, 0.25]
    """
    if not 0 <= noise < 1:
        raise ValueError(f"noise must lie in [0, 1), got {noise}")
    mapping = mapping.cpu()
    parts = torch.ones(len(mapping), dtype=torch.float64)
    if noise:
        drawn = torch.rand(len(mapping), dtype=torch.float64, generator=generator)
        parts += noise * (2 * drawn - 1)
    totals = torch.zeros_like(parts).index_add(0, mapping, parts)
    return parts / totals[mapping]


def net2wider(
    weight: Tensor, following: Tensor, mapping: Tensor, *, shares: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return U and V': the weights of the wider layer, and of the layer that reads it.

    Args:
        weight: W of shape (n, ...).
        following: V of shape (outputs, n, ...), or (outputs, n * places) where the
            channels of a map were flattened.
        mapping: g, int64 of shape (new_width,).
        shares: Shape (new_width,); None for equal ones.

    Example:
        >>> W, V = torch.tensor([[1.0], [2.0]]), torch.tensor([[6.0, 8.0]])
        >>> net2wider(W, V, torch.tensor([0, 1, 1]))
        (tensor([[1.], [2.], [2.]]), tensor([[6., 4., 4.]]))
    """
    shares = copy_shares(mapping) if shares is None else shares
    entries = _entries(mapping, following.shape[1], len(weight))
    column = shares.repeat_interleave(len(entries) // len(mapping))
    column = column.to(following).reshape(-1, *[1] * (following.ndim - 2))
    return (
        weight[mapping.to(weight.device)],
        following[:, entries.to(following.device)] * column,
    )


@torch.no_grad()
def widen_(
    model: nn.Module,
    name: str,
    width: int,
    *,
    then: Sequence[str] | None = None,
    between: Sequence[str] = (),
    noise: float = 0.0,
    generator: torch.Generator | None = None,
) -> None:
    """Give a layer more units in place, without changing what the model computes.

    In evaluation mode, that is: dropout would draw for each copy anew. Make a new
    optimizer afterwards, for the parameters are new.

    Args:
        model: Any module.
        name: The linear layer or convolution to widen.
        width: Its new number of units or channels, above the present one.
        then: All layers that read its output, linear or convolution, with nothing but
            entrywise activations, pooling, dropout and flattening on the way. None for
            a model made of `nn.Sequential`, where they are found.
        between: Layers on the way that hold a number for each channel: batch norms and
            PReLU. Only with `then`.
        noise: Unevenness of the shares, in [0, 1).
        generator: Draws which units are copied, and the noise.

    Raises:
        ValueError: If a name is not that of a fitting layer, something on the way mixes
            channels, or a number is out of range; the model is then as it was.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> widen_(model, "0", 7)
        >>> model[0].out_features, model[2].in_features
        (7, 7)
    """
    layer = _layer(model, name)
    if then is None:
        then, between = followers(model, name)
    present = len(layer.weight)
    readers = [_layer(model, key) for key in then]
    along = [_per_channel(model, key) for key in between]
    if not readers or layer in readers:
        raise ValueError(
            f"then must name the layers that read {name!r}, and not itself, got "
            f"{list(then)}"
        )
    for key, reader in zip(then, readers, strict=True):
        size = reader.weight.shape[1]
        flattened = isinstance(reader, nn.Linear) and not isinstance(layer, nn.Linear)
        if size % present or (size != present and not flattened):
            raise ValueError(
                f"layer {key!r} must read the {present} outputs of {name!r}, got one "
                f"with {size} inputs"
            )
    _refuse_shared(model, [layer, *readers, *along])
    mapping = replication_mapping(present, width, generator=generator)
    shares = copy_shares(mapping, noise=noise, generator=generator)

    # Everything is computed before the first write: a refusal changes nothing.
    writes: list[tuple[nn.Module, str, Tensor | int]] = []
    for entry, param in layer.named_parameters():
        writes.append((layer, entry, param[mapping.to(param.device)]))
    linear = isinstance(layer, nn.Linear)
    writes.append((layer, "out_features" if linear else "out_channels", width))
    for key, module in zip(between, along, strict=True):
        count = "num_parameters" if isinstance(module, nn.PReLU) else "num_features"
        size = getattr(module, count)
        if size % present:
            raise ValueError(
                f"layer {key!r} must hold a number for each of {present} channels, got "
                f"{size}"
            )
        entries = _entries(mapping, size, present)
        tensors: list[tuple[str, Tensor]] = [
            *module.named_parameters(),
            *module.named_buffers(),
        ]
        for entry, tensor in tensors:
            if tensor.ndim:
                writes.append((module, entry, tensor[entries.to(tensor.device)]))
        writes.append((module, count, len(entries)))
    for reader in readers:
        _, read = net2wider(layer.weight, reader.weight, mapping, shares=shares)
        writes.append((reader, "weight", read))
        linear = isinstance(reader, nn.Linear)
        writes.append(
            (reader, "in_features" if linear else "in_channels", len(read[0]))
        )
    for module, entry, value in writes:
        old = getattr(module, entry)
        if isinstance(old, nn.Parameter) and isinstance(value, Tensor):
            value = nn.Parameter(value, requires_grad=old.requires_grad)
        setattr(module, entry, value)


def _layer(model: nn.Module, name: str) -> Layer:
    layer = dict(model.named_modules(remove_duplicate=False)).get(name)
    if type(layer) not in LAYERS or getattr(layer, "groups", 1) != 1:
        raise ValueError(
            "a layer to widen or to follow must be a plain linear layer or convolution "
            f"with groups=1, got {layer or 'nothing'} for {name!r}"
        )
    assert isinstance(layer, Layer)
    return layer


def _per_channel(model: nn.Module, name: str) -> nn.Module:
    module = dict(model.named_modules(remove_duplicate=False)).get(name)
    if not isinstance(module, _BatchNorm | nn.PReLU):
        raise ValueError(
            "between must name batch norms and PReLU alone, got "
            f"{module or 'nothing'} for {name!r}"
        )
    return module


def _entries(mapping: Tensor, size: int, width: int) -> Tensor:
    """Return which of `size` old entries each new one copies, several to a channel."""
    if size % width:
        raise ValueError(
            f"following must have a multiple of {width} inputs, got {size}"
        )
    block = size // width
    return (mapping.cpu().unsqueeze(1) * block + torch.arange(block)).flatten()


def _refuse_shared(model: nn.Module, touched: list[nn.Module]) -> None:
    """Refuse a layer that stands, or whose weight is used, at a second place."""
    names: dict[nn.Parameter, list[str]] = {}
    for name, param in model.named_parameters(remove_duplicate=False):
        names.setdefault(param, []).append(name)
    for module in touched:
        for param in module.parameters():
            if len(names[param]) > 1:
                raise ValueError(
                    "layers that change must stand at one place in the model, got a "
                    f"parameter shared as {' and '.join(names[param])}"
                )
