"""Right answers to exercise 05, written in other ways."""

import math

import numpy as np
import torch
from torch import nn


def fans_by_sizes(weight_shape, groups):
    size = np.prod(weight_shape)
    return size / weight_shape[0], size / weight_shape[1] / groups


def fans_by_torch(weight_shape, groups):
    own = torch.empty(weight_shape[0] // groups, *weight_shape[1:])
    return nn.init._calculate_fan_in_and_fan_out(own)


def fans_by_loop(weight_shape, groups):
    fan_in, fan_out = weight_shape[1], weight_shape[0] // groups
    for side in weight_shape[2:]:
        fan_in *= side
        fan_out *= side
    return [fan_in, fan_out]


def fans_by_array(weight_shape, groups):
    window = np.prod(weight_shape[2:], dtype=int)
    return tuple(np.array([weight_shape[1], weight_shape[0] // groups]) * window)


def fans_by_tensor(weight_shape, groups):
    weight = torch.empty(weight_shape)
    return weight[0].numel(), weight[:, 0].numel() // groups


def fans_by_drawing_the_mask(weight_shape, groups):
    # Outputs and inputs, and 1 where they are in one group.
    out, per_group, *sides = weight_shape
    mask = np.kron(np.eye(groups), np.ones((out // groups, per_group)))
    window = math.prod(sides)
    return mask[0].sum() * window, mask[:, 0].sum() * window


def bounds_by_variance(fan_in, fan_out, slope):
    variances = np.array([2 / (fan_in + fan_out), 2 / (1 + slope**2) / fan_in])
    return tuple(np.sqrt(3 * variances))


def bounds_by_gain(fan_in, fan_out, slope):
    gain = (2 / (1 + slope * slope)) ** 0.5
    mean = (fan_in + fan_out) / 2
    return (3 / mean) ** 0.5, gain * 3**0.5 * fan_in**-0.5


def bounds_by_torch(fan_in, fan_out, slope):
    weight = torch.empty(fan_out, fan_in, device="meta")
    fan = nn.init._calculate_correct_fan(weight, "fan_in")
    gain = nn.init.calculate_gain("leaky_relu", slope)
    return math.sqrt(6 / sum(weight.shape)), gain * math.sqrt(3 / fan)


def bounds_by_hypotenuse(fan_in, fan_out, slope):
    return 6**0.5 / math.sqrt(fan_in + fan_out), math.sqrt(6 / fan_in) / math.hypot(
        1, slope
    )


def bounds_by_width(fan_in, fan_out, slope):
    # An interval of width w has the variance w^2 / 12.
    widths = [
        math.sqrt(12 * variance)
        for variance in (1 / ((fan_in + fan_out) / 2), 2 / (fan_in + fan_in * slope**2))
    ]
    return [width / 2 for width in widths]


def he_mended(uniform):
    fan_in = math.prod(uniform.shape[1:])
    bound = np.sqrt(6 / fan_in)
    return 2 * bound * (uniform - 0.5)


def he_by_interpolation(uniform):
    bound = (6 * len(uniform) / uniform.size) ** 0.5
    return np.interp(uniform, [0, 1], [-bound, bound])


def he_by_torch(uniform):
    uniform = torch.from_numpy(uniform)
    bound = math.sqrt(6) / math.sqrt(uniform.flatten(1).shape[1])
    return torch.lerp(
        torch.full_like(uniform, -bound), torch.full_like(uniform, bound), uniform
    )


def he_by_shift(uniform):
    bound = 2**0.5 * np.sqrt(3 / np.prod(uniform.shape[1:]))
    return uniform * bound - (1 - uniform) * bound


def he_from_std(uniform):
    # Numbers in [0, 1) have the standard deviation 1 / √12.
    std = np.sqrt(2 / uniform[0].size)
    return (uniform - 1 / 2) * np.sqrt(12) * std


def he_of_a_copy_in_place(uniform):
    weight = uniform.copy()
    weight *= 2
    weight -= 1
    weight *= np.sqrt(2 * 3 / weight[0].size)
    return weight


def _by_name(activation, z):
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-z))
    if activation == "tanh":
        return np.tanh(z)
    return z * (z > 0) if activation == "relu" else z


def stds_by_branches(weights, x, activation):
    stds = []
    for weight in weights:
        x = _by_name(activation, np.dot(x, weight.T))
        stds.append(np.mean(np.std(x, axis=0)))
    return stds


def stds_by_torch(weights, x, activation):
    functions = {"identity": lambda z: z, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
    x = torch.tensor(x)
    stds = []
    for weight in weights:
        x = nn.functional.linear(x, torch.tensor(weight))
        x = functions.get(activation, torch.relu)(x)
        stds.append(x.std(dim=0, correction=0).mean())
    return torch.stack(stds)


def stds_in_columns(weights, x, activation):
    x = x.T
    for weight in weights:
        x = _by_name(activation, weight @ x)
        centred = x - x.mean(axis=1, keepdims=True)
        yield np.mean(np.sqrt(np.mean(centred**2, axis=1)))


def stds_by_examples(weights, x, activation):
    layers = [[] for _ in weights]
    for h in x:
        for k, weight in enumerate(weights):
            h = np.array([_by_name(activation, row @ h) for row in weight])
            layers[k].append(h)
    return [sum(map(np.std, np.transpose(h))) / len(h[0]) for h in layers]


def stds_by_recursion(weights, x, activation):
    if not weights:
        return []
    x = _by_name(activation, np.einsum("ni,oi->no", x, weights[0]))
    return [x.std(0).mean(), *stds_by_recursion(weights[1:], x, activation)]


def stds_of_saved_layers(weights, x, activation):
    layers = [x]
    for weight in weights:
        layers.append(_by_name(activation, layers[-1] @ weight.transpose()))
    return np.array([np.sqrt(np.var(layer, axis=0)).mean() for layer in layers[1:]])


def _slope_from_output(activation, h):
    if activation == "sigmoid":
        return h * (1 - h)
    if activation == "tanh":
        return (1 - h) * (1 + h)
    return (h > 0) * 1.0 if activation == "relu" else np.ones_like(h)


def gradients_from_outputs(weights, x, activation, grad):
    layers = [x]
    for weight in weights:
        layers.append(_by_name(activation, layers[-1] @ weight.T))
    gradients = [None] * len(weights)
    for k in range(len(weights) - 1, -1, -1):
        delta = grad * _slope_from_output(activation, layers[k + 1])
        gradients[k] = (layers[k].T @ delta).T
        grad = np.dot(delta, weights[k])
    return gradients


def gradients_by_recursion(weights, x, activation, grad):
    def back(k, x):
        if k == len(weights):
            return grad, ()
        h = _by_name(activation, x @ weights[k].T)
        arrived, gradients = back(k + 1, h)
        delta = arrived * _slope_from_output(activation, h)
        return delta @ weights[k], (delta.T @ x, *gradients)

    return back(0, x)[1]


def gradients_by_sums_of_outer_products(weights, x, activation, grad):
    inputs = [x]
    for weight in weights:
        inputs.append(_by_name(activation, inputs[-1] @ weight.T))
    inputs, last = inputs[:-1], inputs[-1]
    gradients = []
    for weight, before in zip(weights[::-1], inputs[::-1], strict=True):
        grad = grad * _slope_from_output(activation, last)
        pairs = zip(grad, before, strict=True)
        gradients.insert(0, sum(np.outer(d, h) for d, h in pairs))
        grad, last = grad @ weight, before
    return gradients


def gradients_in_columns(weights, x, activation, grad):
    inputs, h = [], x.T
    for weight in weights:
        inputs.append(h)
        h = _by_name(activation, weight @ h)
    outputs, g, gradients = [*inputs[1:], h], grad.T, []
    for weight in reversed(weights):
        g = g * _slope_from_output(activation, outputs.pop())
        gradients.append(g @ inputs.pop().T)
        g = weight.T @ g
    return list(reversed(gradients))


def gradients_by_jacobians(weights, x, activation, grad):
    gradients = [np.zeros_like(weight) for weight in weights]
    for h, its_grad in zip(x, grad, strict=True):
        inputs, slopes = [], []
        for weight in weights:
            inputs.append(h)
            h = _by_name(activation, weight @ h)
            slopes.append(_slope_from_output(activation, h))
        for k, gradient in enumerate(gradients):
            row = its_grad
            for weight, slope in zip(weights[:k:-1], slopes[:k:-1], strict=True):
                row = row @ np.diag(slope) @ weight
            gradient += np.outer(row * slopes[k], inputs[k])
    return tuple(gradients)


def conv_by_torch(c_in, c_out, kernel, groups, stride, padding, height, width):
    layer = nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups)
    y = layer(torch.zeros(1, c_in, height, width))
    parameters = sum(p.numel() for p in layer.parameters())
    return parameters, layer.weight.numel() * y[0, 0].numel()


def conv_by_unfolding(c_in, c_out, kernel, groups, stride, padding, height, width):
    image = torch.zeros(1, 1, height, width)
    windows = torch.nn.functional.unfold(image, kernel, 1, padding, stride)
    inside = c_in // groups * windows.shape[1]
    return c_out * inside + c_out, c_out * inside * windows.shape[2]


def conv_group_by_group(c_in, c_out, kernel, groups, stride, padding, height, width):
    inside, outside = c_in // groups, c_out // groups
    places = len(range(0, height + 2 * padding - kernel + 1, stride)) * len(
        range(0, width + 2 * padding - kernel + 1, stride)
    )
    weights = sum(outside * inside * kernel * kernel for _ in range(groups))
    return weights + c_out, np.int64(weights) * places


def conv_by_outputs(c_in, c_out, kernel, groups, stride, padding, height, width):
    down = math.floor((height + 2 * padding - (kernel - 1) - 1) / stride + 1)
    across = math.floor((width + 2 * padding - (kernel - 1) - 1) / stride + 1)
    of_one_output = c_in * kernel**2 / groups
    return c_out * (of_one_output + 1), of_one_output * c_out * down * across


def conv_by_walking(c_in, c_out, kernel, groups, stride, padding, height, width):
    places, top = 0, -padding
    while top + kernel <= height + padding:
        left = -padding
        while left + kernel <= width + padding:
            places += 1
            left += stride
        top += stride
    window = kernel * kernel * (c_in // groups)
    return [c_out + window * c_out, places * window * c_out]


def _conv(c_in, c_out, kernel=1, stride=1, groups=1):
    return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups)


class _Fire(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.squeeze = _conv(c_in, c_out // 8)
        self.narrow = _conv(c_out // 8, c_out // 2)
        self.wide = _conv(c_out // 8, c_out // 2, 3)

    def forward(self, x):
        x = self.squeeze(x)
        return torch.cat([self.narrow(x), self.wide(x)], dim=1)


def _module(kind, c_in, c_out, stride):
    if kind == "fire":
        return _Fire(c_in, c_out)
    middle = c_out // 4
    layers = {
        "dense": lambda: [_conv(c_in, c_out, 3, stride)],
        "separable": lambda: [_conv(c_in, c_in, 3, stride, c_in), _conv(c_in, c_out)],
        "bottleneck": lambda: [
            _conv(c_in, middle),
            _conv(middle, middle, 3, stride),
            _conv(middle, c_out),
        ],
    }
    return nn.Sequential(*layers[kind]())


def block_by_hooks(kind, c_in, c_out, stride, height, width):
    macs = []

    def count(layer, _, y):
        macs.append(layer.weight.numel() * math.prod(y.shape[-2:]))

    block = _module(kind, c_in, c_out, stride)
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    block(torch.zeros(1, c_in, height, width))
    return sum(p.numel() for p in block.parameters()), sum(macs)


def block_by_formulas(kind, c_in, c_out, stride, height, width):
    before = height * width
    after = math.ceil(height / stride) * math.ceil(width / stride)
    if kind == "dense":
        return 9 * c_in * c_out + c_out, 9 * c_in * c_out * after
    if kind == "separable":
        weights = 9 * c_in + c_in * c_out
        return weights + c_in + c_out, weights * after
    if kind == "bottleneck":
        m = c_out // 4
        first, later = c_in * m, 9 * m * m + m * c_out
        return first + later + 2 * m + c_out, first * before + later * after
    s = c_out // 8
    weights = c_in * s + 5 * s * c_out
    return weights + s + c_out, weights * before


def block_layer_by_layer(kind, c_in, c_out, stride, height, width):
    total = np.zeros(2)

    def layer(inputs, outputs, side, height, width):
        weights = inputs * outputs * side**2
        total[:] += weights + outputs, weights * height * width

    small = -(-height // stride), -(-width // stride)
    if kind == "dense":
        layer(c_in, c_out, 3, *small)
    elif kind == "separable":
        for _ in range(c_in):
            layer(1, 1, 3, *small)
        layer(c_in, c_out, 1, *small)
    elif kind == "bottleneck":
        layer(c_in, c_out // 4, 1, height, width)
        layer(c_out // 4, c_out // 4, 3, *small)
        layer(c_out // 4, c_out, 1, *small)
    else:
        layer(c_in, c_out // 8, 1, height, width)
        for side in (1, 3):
            layer(c_out // 8, c_out // 2, side, height, width)
    return list(total)


def block_by_table(kind, c_in, c_out, stride, height, width):
    m, s, e = c_out / 4, c_out / 8, c_out / 2
    full = height * width
    small = len(range(0, height, stride)) * len(range(0, width, stride))
    table = {  # weights, biases, positions
        "dense": [(9 * c_in * c_out, c_out, small)],
        "separable": [(9 * c_in, c_in, small), (c_in * c_out, c_out, small)],
        "bottleneck": [
            (c_in * m, m, full),
            (9 * m**2, m, small),
            (m * c_out, c_out, small),
        ],
        "fire": [(c_in * s, s, full), (s * e, e, full), (9 * s * e, e, full)],
    }
    weights, biases, positions = np.array(table[kind]).T
    return weights.sum() + biases.sum(), weights @ positions


def block_by_conv_cost(kind, c_in, c_out, stride, height, width):
    small = (height - 1) // stride + 1, (width - 1) // stride + 1
    m, s = c_out // 4, c_out // 8

    def cost(inputs, outputs, kernel=1, groups=1, stride=1, size=small):
        padding = kernel // 2
        return conv_by_walking(inputs, outputs, kernel, groups, stride, padding, *size)

    size = height, width
    if kind == "dense":
        layers = [cost(c_in, c_out, 3, 1, stride, size)]
    elif kind == "separable":
        layers = [cost(c_in, c_in, 3, c_in, stride, size), cost(c_in, c_out)]
    elif kind == "bottleneck":
        layers = [cost(c_in, m, size=size), cost(m, m, 3, 1, stride, size)]
        layers.append(cost(m, c_out))
    else:
        layers = [cost(c_in, s), cost(s, c_out // 2), cost(s, c_out // 2, 3)]
    return tuple(map(sum, zip(*layers, strict=True)))


def fans_in_one_tensor(weight_shape, groups):
    out, *rest = torch.tensor(weight_shape)
    window = torch.stack(rest)[1:].prod()
    return torch.stack([rest[0] * window, out * window // groups])


def bounds_in_one_tensor(fan_in, fan_out, slope):
    sums = torch.tensor([fan_in + fan_out, fan_in * (1 + slope**2)])
    return (6 / sums).sqrt()


def stds_where_exp_overflows(weights, x, activation):
    stds = []
    for weight in weights:
        z = x @ weight.T
        x = {
            "identity": z,
            "sigmoid": 1 / (1 + np.exp(-z)),
            "tanh": 2 / (1 + np.exp(-2 * z)) - 1,
            "relu": z * (z > 0),
        }[activation]
        stds.append(np.sqrt(np.mean((x - x.mean(axis=0)) ** 2, axis=0)).mean())
    return stds


ALTERNATIVES = {
    "fans": [
        fans_by_sizes,
        fans_by_torch,
        fans_by_loop,
        fans_by_array,
        fans_by_tensor,
        fans_by_drawing_the_mask,
        fans_in_one_tensor,
    ],
    "uniform_bounds": [
        bounds_by_variance,
        bounds_by_gain,
        bounds_by_torch,
        bounds_by_hypotenuse,
        bounds_by_width,
        bounds_in_one_tensor,
    ],
    "he_uniform": [
        he_mended,
        he_by_interpolation,
        he_by_torch,
        he_by_shift,
        he_from_std,
        he_of_a_copy_in_place,
    ],
    "signal_stds": [
        stds_by_branches,
        stds_by_torch,
        stds_in_columns,
        stds_by_examples,
        stds_by_recursion,
        stds_of_saved_layers,
        stds_where_exp_overflows,
    ],
    "weight_gradients": [
        gradients_from_outputs,
        gradients_by_recursion,
        gradients_by_sums_of_outer_products,
        gradients_in_columns,
        gradients_by_jacobians,
    ],
    "conv_cost": [
        conv_by_torch,
        conv_by_unfolding,
        conv_group_by_group,
        conv_by_outputs,
        conv_by_walking,
    ],
    "block_cost": [
        block_by_hooks,
        block_by_formulas,
        block_layer_by_layer,
        block_by_table,
        block_by_conv_cost,
    ],
    "which_one_to_ship": ["c", "C", " c ", "(c)", "c."],
    "lower_training_loss": ["c", "C", " c ", "(c)", "c."],
    "is_relu_linear": ["b", "B", " b ", "(b)", "b."],
    "twenty_layers_later": ["c", "C", " c ", "(c)", "c."],
}
