"""Small models that lessons, checks and tests share.

Each draws its weights from `generator`, or from the global one that `torch.manual_seed`
sets if that is None: the same seed gives the same model.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention, softmax


def mlp(
    sizes: Sequence[int],
    *,
    activation: Callable[[], nn.Module] = nn.ReLU,
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """Return linear layers with an activation between them, and none after the last.

    Args:
        sizes: Features of the input, of each hidden layer and of the output: at least
            two numbers, each at least 1.
        activation: Makes the activation of each hidden layer, as `torch.nn.Tanh` does.
        generator: Draws the weights, as torch does: uniform within 1 / sqrt(fan_in).

    Raises:
        ValueError: If there are fewer than two sizes, or one is below 1.

    Example:
        >>> mlp([784, 32, 10])
        Sequential(
          (0): Linear(in_features=784, out_features=32, bias=True)
          (1): ReLU()
          (2): Linear(in_features=32, out_features=10, bias=True)
        )
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(
            f"sizes must be two or more numbers of at least 1, got {list(sizes)}"
        )
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    model = nn.Sequential(*layers[:-1])
    _draw_uniform_(model, generator)
    return model


class SmallCNN(nn.Module):
    """Two convolutions, each halved by max-pooling, and a linear layer.

    Takes grey images of 28 × 28 pixels, a tensor of shape (n, 1, 28, 28), and returns
    logits of shape (n, classes). With the default channels it has 20,490 parameters.

    Args:
        classes: Number of outputs, at least 1.
        channels: Filters of the first and the second convolution, each at least 1.
        generator: Draws the weights, as torch does: uniform within 1 / sqrt(fan_in).

    Raises:
        ValueError: If a number is below 1.
    """

    def __init__(
        self,
        classes: int = 10,
        *,
        channels: tuple[int, int] = (16, 32),
        generator: torch.Generator | None = None,
    ) -> None:
        if classes < 1 or min(channels) < 1:
            raise ValueError(
                "classes and channels must be at least 1, "
                f"got {classes} and {tuple(channels)}"
            )
        first, second = channels
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, first, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(second * 7 * 7, classes)
        _draw_uniform_(self, generator)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of each class, shape (n, classes)."""
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits


class Block(nn.Module):
    """One layer of a decoder-only transformer, normalized before each part.

    x = x + attention(norm(x)),  x = x + mlp(norm(x)); no biases, no dropout.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.LayerNorm(width, bias=False)
        self.mlp_in = nn.Linear(width, 4 * width, bias=False)
        self.mlp_out = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`, (batch, time, width)."""
        qkv = self.query_key_value(self.attention_norm(x))
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in qkv.chunk(3, dim=-1)
        )
        mixed = scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attention_out(mixed.transpose(1, 2).flatten(2))
        change: Tensor = self.mlp_out(gelu(self.mlp_in(self.mlp_norm(x))))
        return x + change


class CharGPT(nn.Module):
    """Decoder-only transformer that predicts the next character.

    The matrices inside the blocks, which Muon is for, are
    `[p for p in model.blocks.parameters() if p.ndim == 2]`.

    Args:
        vocabulary: Number of different characters, at least 1.
        width: Features of a character inside the model, a multiple of `heads`.
        heads: Attention heads, at least 1.
        layers: Blocks, at least 1.
        context: Most characters that the model sees at once, at least 1.
        generator: Draws the weights: normal with standard deviation 0.02, and
            0.02 / sqrt(2 * layers) for the two matrices of a block that add to its
            input, so that the sum does not grow with the depth.

    Raises:
        ValueError: If a number is below 1, or `heads` does not divide `width`.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        width: int = 64,
        heads: int = 4,
        layers: int = 2,
        context: int = 32,
        generator: torch.Generator | None = None,
    ) -> None:
        sizes = (vocabulary, width, heads, layers, context)
        if min(sizes) < 1:
            raise ValueError(
                "vocabulary, width, heads, layers and context must be at least 1, "
                f"got {sizes}"
            )
        if width % heads:
            raise ValueError(f"heads must divide width {width}, got {heads}")
        super().__init__()
        self.context = context
        self.characters = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                adds_to_input = name.endswith(
                    ("attention_out.weight", "mlp_out.weight")
                )
                std = 0.02 / math.sqrt(2 * layers) if adds_to_input else 0.02
                nn.init.normal_(weight, std=std, generator=generator)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the logits of each next character.

        Args:
            ids: Integer tensor of shape (batch, time), time at most `context`.

        Returns:
            Tensor of shape (batch, time, vocabulary); the logits at a place depend on
            the characters up to it and on none after it.
        """
        time = ids.shape[-1]
        if ids.ndim != 2 or time > self.context:
            raise ValueError(
                f"ids must have shape (batch, at most {self.context}), "
                f"got {tuple(ids.shape)}"
            )
        x = self.characters(ids) + self.positions.weight[:time]
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits

    @torch.no_grad()
    def generate(
        self,
        ids: Tensor,
        count: int,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return `ids` with `count` characters more, drawn one after another.

        Args:
            ids: Integer tensor of shape (batch, time), time at least 1; the model sees
                the last `context` of them.
            count: Characters to add, at least 0.
            temperature: Divides the logits, at least 0: below 1 prefers the likely
                ones, 0 takes the likeliest.
            generator: Draws the characters.

        Returns:
            Tensor of shape (batch, time + count).
        """
        if ids.ndim != 2 or ids.shape[1] < 1:
            raise ValueError(
                f"ids must have shape (batch, at least 1), got {tuple(ids.shape)}"
            )
        if count < 0 or temperature < 0:
            raise ValueError(
                "count and temperature must be at least 0, "
                f"got {count} and {temperature}"
            )
        for _ in range(count):
            logits = self(ids[:, -self.context :])[:, -1]
            if temperature == 0:
                drawn = logits.argmax(dim=-1, keepdim=True)
            else:
                shares = softmax(logits / temperature, dim=-1)
                drawn = torch.multinomial(shares, 1, generator=generator)
            ids = torch.cat([ids, drawn], dim=1)
        return ids


def _draw_uniform_(model: nn.Module, generator: torch.Generator | None) -> None:
    """Draw weights and biases within 1 / sqrt(fan_in), as torch's layers do."""
    for layer in model.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
