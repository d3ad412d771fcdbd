"""Networks that are not ours, small, as the papers draw them: what pruning must follow.

`NETS` maps a name to a function that returns a model and example inputs.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from mlopt_edu.architectures import Bottleneck, ConvNormReLU, MobileNet, SqueezeNet
from mlopt_edu.models import CharGPT, SmallCNN, mlp


def conv_bn(in_channels, out_channels, kernel_size=3, stride=1, groups=1):
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            kernel_size // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
    )


class BasicBlock(nn.Module):
    """ResNet-18's, with shortcuts by a convolution (B) or by padding (A)."""

    def __init__(self, in_channels, out_channels, stride, option):
        super().__init__()
        self.one = conv_bn(in_channels, out_channels, 3, stride)
        self.two = conv_bn(out_channels, out_channels)
        self.stride, self.more = stride, out_channels - in_channels
        self.shortcut = None
        if option == "B" and (stride > 1 or self.more):
            self.shortcut = conv_bn(in_channels, out_channels, 1, stride)

    def forward(self, x):
        y = self.two(F.relu(self.one(x)))
        if self.shortcut is not None:
            x = self.shortcut(x)
        elif self.more:
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))
        return F.relu(y + x)


class ResNet(nn.Module):
    def __init__(self, option="B"):
        super().__init__()
        self.stem = conv_bn(3, 6)
        self.layers = nn.Sequential(
            BasicBlock(6, 6, 1, option),
            BasicBlock(6, 10, 2, option),
            BasicBlock(10, 10, 1, option),
        )
        self.head = nn.Linear(10, 5)

    def forward(self, x):
        x = self.layers(F.max_pool2d(F.relu(self.stem(x)), 2))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class DenseNet(nn.Module):
    """Every layer reads all earlier ones; a transition halves channels and size."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norms, self.convs = nn.ModuleList(), nn.ModuleList()
        for number in range(3):
            self.norms.append(nn.BatchNorm2d(6 + 4 * number))
            self.convs.append(nn.Conv2d(6 + 4 * number, 4, 3, padding=1, bias=False))
        self.transition = nn.Conv2d(18, 9, 1)
        self.last = nn.Conv2d(9, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(13)
        self.head = nn.Linear(13, 5)

    def forward(self, x):
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat([x, conv(F.relu(norm(x)))], dim=1)
        x = F.avg_pool2d(self.transition(x), 2)
        x = torch.cat((x, self.last(F.relu(x))), 1)
        return self.head(F.relu(self.norm(x)).mean((2, 3)))


class UNet(nn.Module):
    """Down and up again, with the early features joined on; an image comes out."""

    def __init__(self):
        super().__init__()
        self.down1 = nn.Sequential(*conv_bn(1, 6), nn.ReLU())
        self.down2 = nn.Sequential(*conv_bn(6, 8), nn.ReLU())
        self.bottom = nn.Sequential(*conv_bn(8, 12), nn.ReLU())
        self.up2 = nn.ConvTranspose2d(12, 8, 2, stride=2)
        self.merge2 = nn.Sequential(*conv_bn(16, 8), nn.ReLU())
        self.up1 = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(8, 6, 1))
        self.merge1 = nn.Sequential(*conv_bn(12, 6), nn.ReLU())
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x):
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        x = self.bottom(F.max_pool2d(two, 2))
        x = self.merge2(torch.cat([self.up2(x), two], dim=1))
        x = self.merge1(torch.cat([one, self.up1(x)], dim=1))
        return self.head(x)


class SqueezeExciteNet(nn.Module):
    """MobileNetV3's block: depthwise, gated by 1x1 convolutions, hard-swish."""

    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.expand = conv_bn(8, 16, 1)
        self.depthwise = conv_bn(16, 16, 3, groups=16)
        self.squeeze = nn.Conv2d(16, 4, 1)
        self.excite = nn.Conv2d(4, 16, 1)
        self.project = conv_bn(16, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = F.hardswish(self.stem(x))
        y = F.hardswish(self.depthwise(F.hardswish(self.expand(x))))
        gate = F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))
        y = y * F.hardsigmoid(self.excite(gate))
        x = x + self.project(y)
        return self.head(x.mean(dim=(2, 3)))


class ResNeXt(nn.Module):
    """Grouped convolutions: many narrow groups, and few wide ones."""

    def __init__(self, groups):
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.reduce = conv_bn(8, 16, 1)
        self.grouped = conv_bn(16, 16, 3, groups=groups)
        self.widen = conv_bn(16, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = F.relu(self.stem(x))
        y = F.relu(self.grouped(F.relu(self.reduce(x))))
        return self.head(F.relu(x + self.widen(y)).mean((2, 3)))


class Inception(nn.Module):
    """Four branches, joined; flattened with its pixels; a head for training alone."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 4, 1)
        self.three = nn.Sequential(
            nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1)
        )
        self.five = nn.Sequential(
            nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 3, 5, padding=2)
        )
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(3, 4, 1))
        self.auxiliary = nn.Linear(17, 5)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(17 * 16, 7), nn.ReLU())
        self.classifier = nn.Linear(7, 5)

    def forward(self, x):
        branches = [self.one(x), self.three(x), self.five(x), self.pool(x)]
        x = F.avg_pool2d(torch.relu(torch.cat(branches, 1)), 2)
        logits = self.classifier(self.head(x))
        if self.training:
            return logits, self.auxiliary(x.mean((2, 3)))
        return logits


class ShuffleNet(nn.Module):
    """ShuffleNetV2's unit: split, work on one half, join, shuffle by views."""

    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 12)
        self.first = conv_bn(6, 6, 1)
        self.depthwise = conv_bn(6, 6, 3, groups=6)
        self.last = conv_bn(6, 6, 1)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = F.relu(self.stem(x))
        for _ in range(2):
            left, right = x.chunk(2, dim=1)
            right = self.last(self.depthwise(F.relu(self.first(right))))
            x = torch.cat((left, F.relu(right)), dim=1)
            batch, channels, height, width = x.shape
            x = x.view(batch, 2, channels // 2, height, width)
            x = x.transpose(1, 2).reshape(batch, channels, height, width)
        return self.head(x.mean((2, 3)))


class Attention(nn.Module):
    """Separate projections, heads by views, everything written out."""

    def __init__(self, width, heads):
        super().__init__()
        self.num_heads, self.head_dim = heads, width // heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def split(self, x):
        batch, time, _ = x.shape
        return x.view(batch, time, self.num_heads, self.head_dim).transpose(1, 2)

    def forward(self, x):
        q, k, v = (self.split(f(x)) for f in (self.query, self.key, self.value))
        shares = (q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)).softmax(-1)
        mixed = (shares @ v).transpose(1, 2)
        return self.out(mixed.reshape(*mixed.shape[:2], -1))


class VisionTransformer(nn.Module):
    """Patches by a convolution, a class token, positions; pre-norm; reads the token."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 12))
        self.positions = nn.Parameter(torch.randn(1, 5, 12))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(12) for _ in range(3))
        self.attention = Attention(12, 3)
        self.mlp = nn.Sequential(nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 12))
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.positions
        x = x + self.attention(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return self.head(self.norm3(x)[:, 0])


class FusedAttention(nn.Module):
    """Queries, keys and values from one matrix, reshaped to (3, heads, features)."""

    def __init__(self):
        super().__init__()
        self.num_heads = 3
        self.embed = nn.Linear(7, 12)
        self.qkv = nn.Linear(12, 36, bias=False)
        self.proj = nn.Linear(12, 12)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = self.embed(x)
        batch, time, _ = x.shape
        qkv = self.qkv(x).reshape(batch, time, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.head((x + self.proj(y)).mean(1))


class Encoder(nn.Module):
    """torch's own transformer layers between an embedding and a head."""

    def __init__(self, norm_first):
        super().__init__()
        self.embedding = nn.Embedding(11, 12)
        layer = nn.TransformerEncoderLayer(
            12, 3, 16, batch_first=True, norm_first=norm_first
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(12, 5)

    def forward(self, ids):
        return self.head(self.encoder(self.embedding(ids)).mean(1))


class GatedLM(nn.Module):
    """LLaMA's parts: RMS norm, SwiGLU, grouped queries; embedding and head are tied."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 12)
        self.norm, self.last_norm = nn.RMSNorm(12), nn.RMSNorm(12)
        self.q = nn.Linear(12, 16, bias=False)
        self.kv = nn.Linear(12, 16, bias=False)
        self.o = nn.Linear(16, 12, bias=False)
        self.gate = nn.Linear(12, 14, bias=False)
        self.up = nn.Linear(12, 14, bias=False)
        self.down = nn.Linear(14, 12, bias=False)
        self.head = nn.Linear(12, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        x = self.embedding(ids)
        y = self.norm(x)
        q = self.q(y).unflatten(-1, (-1, 4)).transpose(1, 2)
        k, v = (
            part.unflatten(-1, (-1, 4)).transpose(1, 2).repeat_interleave(2, dim=1)
            for part in self.kv(y).chunk(2, dim=-1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).flatten(2))
        y = self.last_norm(x)
        x = x + self.down(F.silu(self.gate(y)) * self.up(y))
        return self.head(x)


class Recurrent(nn.Module):
    """A tagger: embedding, two layers both ways, a linear layer on every step."""

    def __init__(self, kind, layers=2, bidirectional=True):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.rnn = kind(
            6, 8, num_layers=layers, bidirectional=bidirectional, batch_first=True
        )
        self.head = nn.Linear(16 if bidirectional else 8, 5)

    def forward(self, ids):
        return self.head(self.rnn(self.embedding(ids))[0])


class TwoInputs(nn.Module):
    """An image and numbers in, a class and a position out, by names."""

    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.PReLU(6), nn.Conv2d(6, 4, 3, bias=False)
        )
        self.norm = nn.InstanceNorm2d(4, affine=True)
        self.numbers = nn.Sequential(nn.Linear(3, 9), nn.Tanh(), nn.Linear(9, 4))
        self.kind = nn.Linear(8, 5)
        self.place = nn.Linear(4, 2)

    def forward(self, image, numbers):
        a = F.relu(self.norm(self.image(image))).amax((2, 3))
        b = self.numbers(numbers)
        return {"kind": self.kind(torch.cat([a, b], 1)), "place": self.place(a * b)}


class WaveNet(nn.Module):
    """Dilated 1-d convolutions with weight norm, gated by halves, skips summed."""

    def __init__(self):
        super().__init__()
        weight_norm = nn.utils.parametrizations.weight_norm
        self.first = nn.Conv1d(1, 6, 1)
        self.gates = nn.ModuleList(
            weight_norm(nn.Conv1d(6, 16, 2, dilation=d, padding=d)) for d in (1, 2)
        )
        self.skips = nn.ModuleList(nn.Conv1d(8, 6, 1) for _ in range(2))
        self.last = nn.Conv1d(6, 5, 1)

    def forward(self, x):
        x, total = self.first(x), 0
        for gate, skip in zip(self.gates, self.skips, strict=True):
            y = skip(F.glu(gate(x)[..., : x.shape[-1]], dim=1))
            x, total = x + y, total + y
        return self.last(F.relu(total))


class GroupNormNet(nn.Module):
    """Group norms of both kinds, a 3-d convolution, pixel shuffle."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv3d(1, 12, 3, padding=1)
        self.many = nn.GroupNorm(6, 12)
        self.two = nn.Conv3d(12, 8, (2, 3, 3), padding=(0, 1, 1))
        self.few = nn.GroupNorm(2, 8)
        self.three = nn.Conv2d(8, 12, 1)
        self.last = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        x = F.relu(self.many(self.one(x)))
        x = F.relu(self.few(self.two(x))).squeeze(2)
        return self.last(F.pixel_shuffle(self.three(x), 2))


class PerHead(nn.Module):
    """Attention with one weight of three dimensions a projection, by einsum."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (
            nn.Parameter(torch.randn(3, 7, 4) / 3) for _ in range(3)
        )
        self.o = nn.Parameter(torch.randn(3, 4, 6) / 3)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        q, k, v = (
            torch.einsum("btc,hcd->bhtd", x, w) for w in (self.q, self.k, self.v)
        )
        shares = torch.einsum("bhtd,bhsd->bhts", q, k).softmax(-1)
        mixed = torch.einsum("bhts,bhsd->bhtd", shares, v)
        return self.head(torch.einsum("bhtd,hdc->btc", mixed, self.o))


def image(batch=2, channels=3, side=8):
    return (torch.randn(batch, channels, side, side),)


def ids(vocabulary=11, time=5):
    return (torch.randint(vocabulary, (2, time)),)


NETS = {
    "ResNet B": lambda: (ResNet("B"), image()),
    "ResNet A": lambda: (ResNet("A"), image()),
    "DenseNet": lambda: (DenseNet(), image()),
    "UNet": lambda: (UNet(), image(channels=1)),
    "SqueezeExciteNet": lambda: (SqueezeExciteNet(), image()),
    "ResNeXt, 8 groups": lambda: (ResNeXt(8), image()),
    "ResNeXt, 2 groups": lambda: (ResNeXt(2), image()),
    "Inception": lambda: (Inception(), image()),
    "ShuffleNet": lambda: (ShuffleNet(), image()),
    "VisionTransformer": lambda: (VisionTransformer(), image()),
    "FusedAttention": lambda: (FusedAttention(), (torch.randn(2, 4, 7),)),
    "Encoder, post-norm": lambda: (Encoder(False), ids()),
    "Encoder, pre-norm": lambda: (Encoder(True), ids()),
    "GatedLM": lambda: (GatedLM(), ids()),
    "LSTM": lambda: (Recurrent(nn.LSTM), ids()),
    "GRU": lambda: (Recurrent(nn.GRU), ids()),
    "RNN": lambda: (Recurrent(nn.RNN, 1, False), ids()),
    "TwoInputs": lambda: (
        TwoInputs(),
        (torch.randn(2, 1, 8, 8), torch.randn(2, 3)),
    ),
    "WaveNet": lambda: (WaveNet(), (torch.randn(2, 1, 9),)),
    "GroupNormNet": lambda: (GroupNormNet(), (torch.randn(2, 1, 2, 5, 5),)),
    "PerHead": lambda: (PerHead(), (torch.randn(2, 4, 7),)),
    "mlp": lambda: (mlp([6, 9, 7, 5]), (torch.randn(3, 6),)),
    "SmallCNN": lambda: (SmallCNN(5, channels=(4, 6)), image(2, 1, 28)),
    "CharGPT": lambda: (CharGPT(11, width=16, heads=4, context=8), ids()),
    "Bottleneck": lambda: (
        nn.Sequential(
            ConvNormReLU(3, 8),
            Bottleneck(8, 16, squeeze_excite=4, stride=2),
            Bottleneck(16, 16),
            nn.Conv2d(16, 5, 1),
        ),
        image(),
    ),
    "MobileNet": lambda: (MobileNet.small(5, in_channels=3, width=0.25), image()),
    "SqueezeNet": lambda: (SqueezeNet.small(5, width=0.25), image(2, 1, 16)),
}


def make(name, seed=0):
    """Return a net in float64 with lively batch norms, in evaluation mode."""
    torch.manual_seed(seed)
    model, inputs = NETS[name]()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    inputs = tuple(x.double() if x.is_floating_point() else x for x in inputs)
    return model.double().eval(), inputs
