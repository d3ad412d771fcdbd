"""Who reads a layer's output, in a model made of nested `nn.Sequential`."""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

# What treats every channel alike and mixes none.
_ENTRYWISE = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh,
    nn.Identity, nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.PReLU, nn.ReLU, nn.ReLU6,
    nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh,
    nn.Tanhshrink, nn.Threshold,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
)  # fmt: skip
_SPATIAL = (
    nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    nn.Upsample, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d,
)  # fmt: skip


def followers(model: nn.Module, name: str) -> tuple[list[str], list[str]]:
    """Return the layer that reads `name`, and what on the way holds numbers by channel.

    Raises:
        ValueError: If the model is not made of `nn.Sequential`, nothing reads the
            layer, or something on the way mixes channels.
    """
    order = list(_in_order(model, ""))
    names = [key for key, _ in order]
    if name not in names:
        raise ValueError(
            f"then must name the layers that read {name!r}: they can be found only "
            f"where all is nn.Sequential, got {type(model).__name__}"
        )
    place = names.index(name)
    start = order[place][1]
    between: list[str] = []
    flat = isinstance(start, nn.Linear)
    for key, module in order[place + 1 :]:
        if type(module) in LAYERS:
            if isinstance(module, nn.Linear) and not flat:
                raise ValueError(
                    f"a linear layer after convolutions must read flattened maps, got "
                    f"{key!r} without nn.Flatten before it"
                )
            return [key], between
        if isinstance(module, _BatchNorm) or (
            type(module) is nn.PReLU and module.num_parameters > 1
        ):
            between.append(key)
        elif type(module) is nn.Flatten and module.start_dim == 1:
            flat = True
        elif type(module) in _SPATIAL and not flat:
            pass
        elif type(module) not in _ENTRYWISE:
            raise ValueError(
                f"between {name!r} and its reader every module must leave channels "
                f"apart, got {type(module).__name__} at {key!r}"
            )
    raise ValueError(
        f"name must be that of a layer that another one reads, got {name!r}, which is "
        "the last: its width is the number of outputs"
    )


def _in_order(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    if type(module).forward is nn.Sequential.forward:
        for key, child in module._modules.items():
            assert child is not None
            yield from _in_order(child, f"{name}.{key}" if name else key)
    else:
        yield name, module
