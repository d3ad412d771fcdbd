"""Task 5: the gradient of each layer's weight, by the chain rule."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._network import ACTIVATIONS, SLOPES, Array, Functions, Layers, networks, sigmoid

Gradients = tuple[Array, ...]


def weight_gradients_reference(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """Gradients with respect to the weights, first layer first."""
    inputs, slopes = [], []
    for weight in weights:
        inputs.append(x)
        slopes.append(SLOPES[activation](x @ weight.T))
        x = ACTIVATIONS[activation](x @ weight.T)
    gradients: Gradients = ()
    for k in reversed(range(len(weights))):
        delta = grad * slopes[k]
        gradients = (delta.T @ inputs[k], *gradients)
        grad = delta @ weights[k]
    return gradients


def _gradient_cases(rng: np.random.Generator) -> Iterator[Case]:
    for label, inputs in networks(rng):
        shape = len(inputs["x"]), len(inputs["weights"][-1])
        yield Case(label, {**inputs, "grad": rng.normal(size=shape)})


weight_gradients = Task(
    "weight_gradients",
    points=3,
    section="05 · Derive",
    reference=weight_gradients_reference,
    draw=_gradient_cases,
    forbid=("torch", "mlopt_edu.initialization"),
    hints=(
        "Go forward once and keep, for each layer, what came in and z = x @ weight.T. "
        "Then go back with the gradient, from the last layer to the first.",
        "At each layer: times the activation's derivative at z; that gives the "
        "gradient for z. From it follow the weight's gradient, of the shape of the "
        "weight, and the gradient for the layer below, of the shape of its input.",
        "delta = grad * f'(z); the weight's gradient is delta.T @ x; and grad = delta "
        "@ weight for the layer below. Turn the list round at the end.",
    ),
)


Passed = tuple[Array, Array, Array, Array]  # input, output, grad and delta of a layer


def _passes(
    weights: Layers,
    x: Array,
    activation: str,
    grad: Array,
    slopes: Functions = SLOPES,
    at_output: bool = False,
) -> list[Passed]:
    """Go forward and back with these derivatives; one row for each layer."""
    seen = []
    for weight in weights:
        z = x @ weight.T
        after = ACTIVATIONS[activation](z)
        seen.append((x, after, slopes[activation](after if at_output else z)))
        x = after
    rows: list[Passed] = []
    for weight, (before, after, slope) in zip(weights[::-1], seen[::-1], strict=True):
        delta = grad * slope
        rows.insert(0, (before, after, grad, delta))
        grad = delta @ weight
    return rows


def _gradients(rows: list[Passed]) -> Gradients:
    return tuple(delta.T @ before for before, *_, delta in rows)


@weight_gradients.mistake
def no_derivative(weights: Layers, x: Array, activation: str, grad: Array) -> Gradients:
    """The activation's derivative is missing on the way back.

    Multiply by f'(z) at each layer. It is what makes a sigmoid's gradients vanish.
    """
    flat: Functions = dict.fromkeys(SLOPES, np.ones_like)
    return _gradients(_passes(weights, x, activation, grad, slopes=flat))


@weight_gradients.mistake
def relu_is_linear(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """You take ReLU for linear: where z is negative its derivative is 0, not 1."""
    slopes: Functions = {**SLOPES, "relu": np.ones_like}
    return _gradients(_passes(weights, x, activation, grad, slopes=slopes))


@weight_gradients.mistake
def relu_is_its_output(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """You multiply by max(z, 0); the derivative is 1 where z > 0, and 0 elsewhere."""
    slopes = {**SLOPES, "relu": ACTIVATIONS["relu"]}
    return _gradients(_passes(weights, x, activation, grad, slopes=slopes))


@weight_gradients.mistake
def relu_is_the_sign(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """Your ReLU has the derivative -1 where z is negative: it is flat there, so 0."""
    slopes: Functions = {**SLOPES, "relu": np.sign}
    return _gradients(_passes(weights, x, activation, grad, slopes=slopes))


@weight_gradients.mistake
def one_at_zero(weights: Layers, x: Array, activation: str, grad: Array) -> Gradients:
    """At exactly 0 your ReLU has the derivative 1; take 0 there, as torch does."""
    slopes: Functions = {**SLOPES, "relu": lambda z: np.where(z >= 0, 1.0, 0.0)}
    return _gradients(_passes(weights, x, activation, grad, slopes=slopes))


@weight_gradients.mistake
def derivative_at_the_output(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """You take the derivative at the layer's *output*; it belongs at z = x @ weight.T.

    s · (1 - s) has the sigmoid of z in it, once: not the sigmoid of the sigmoid.
    """
    return _gradients(_passes(weights, x, activation, grad, at_output=True))


@weight_gradients.mistake
def sigmoid_for_its_derivative(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """You multiply by the sigmoid itself; its derivative is s · (1 - s)."""
    slopes = {**SLOPES, "sigmoid": sigmoid}
    return _gradients(_passes(weights, x, activation, grad, slopes=slopes))


@weight_gradients.mistake
def half_of_the_sigmoid(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """You multiply by 1 - s; the derivative of the sigmoid is s · (1 - s)."""
    slopes: Functions = {**SLOPES, "sigmoid": lambda z: 1 - sigmoid(z)}
    return _gradients(_passes(weights, x, activation, grad, slopes=slopes))


@weight_gradients.mistake
def sigmoid_falls(weights: Layers, x: Array, activation: str, grad: Array) -> Gradients:
    """Your sigmoid's derivative has the wrong sign; it rises: s · (1 - s), above 0."""
    slopes: Functions = {**SLOPES, "sigmoid": lambda z: -SLOPES["sigmoid"](z)}
    return _gradients(_passes(weights, x, activation, grad, slopes=slopes))


@weight_gradients.mistake
def tanh_not_squared(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """The derivative of tanh is 1 - tanh², and in yours the square is missing."""
    slopes: Functions = {**SLOPES, "tanh": lambda z: 1 - np.tanh(z)}
    return _gradients(_passes(weights, x, activation, grad, slopes=slopes))


@weight_gradients.mistake
def tanh_as_sigmoid(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """The derivative of tanh is 1 - t², not t · (1 - t): that form is the sigmoid's."""
    slopes: Functions = {**SLOPES, "tanh": lambda z: np.tanh(z) * (1 - np.tanh(z))}
    return _gradients(_passes(weights, x, activation, grad, slopes=slopes))


@weight_gradients.mistake
def last_layer_linear(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """The last layer's derivative is missing: its activation is like all others.

    `grad` belongs to the last *output*. Multiply by f'(z) before anything else.
    """
    *below, last = weights
    gradients = weight_gradients_reference(below, x, activation, grad @ last)
    for weight in below:
        x = ACTIVATIONS[activation](x @ weight.T)
    return *gradients, grad.T @ x


@weight_gradients.mistake
def grad_for_delta(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """The way back is right, but the weight's gradient lacks the derivative.

    It is delta.T @ input with delta = grad * f'(z), not grad.T @ input.
    """
    rows = _passes(weights, x, activation, grad)
    return tuple(arrived.T @ before for before, _, arrived, _ in rows)


@weight_gradients.mistake
def derivative_not_passed_on(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """You pass `grad @ weight` down; the derivative must go with it.

    It is delta @ weight: the factor of every layer above counts for those below.
    """
    rows = _passes(weights, x, activation, grad)
    gradients: Gradients = ()
    for weight, (before, *_) in zip(weights[::-1], rows[::-1], strict=True):
        delta = grad * SLOPES[activation](before @ weight.T)
        gradients = delta.T @ before, *gradients
        grad = grad @ weight
    return gradients


@weight_gradients.mistake
def output_for_input(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """You multiply by the layer's *output*; a weight's gradient needs its input."""
    rows = _passes(weights, x, activation, grad)
    return tuple(delta.T @ after for _, after, _, delta in rows)


@weight_gradients.mistake
def of_the_outputs(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """These are the gradients for each layer's *output*.

    Asked are those for its weight: delta.T @ input, of the shape of the weight.
    """
    return tuple(row[2] for row in _passes(weights, x, activation, grad))


@weight_gradients.mistake
def of_the_pre_activations(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """These are the gradients for z; one product is missing.

    The weight's gradient is delta.T @ input, of the shape of the weight.
    """
    return tuple(row[3] for row in _passes(weights, x, activation, grad))


@weight_gradients.mistake
def transposed(weights: Layers, x: Array, activation: str, grad: Array) -> Gradients:
    """Yours have the shape of weight.T: a gradient has the shape of its weight.

    It is delta.T @ input, and yours is input.T @ delta.
    """
    right = weight_gradients_reference(weights, x, activation, grad)
    return tuple(gradient.T for gradient in right)


@weight_gradients.mistake
def last_layer_first(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """The order is reversed: return the first layer's gradient first."""
    return weight_gradients_reference(weights, x, activation, grad)[::-1]


@weight_gradients.mistake
def downhill(weights: Layers, x: Array, activation: str, grad: Array) -> Gradients:
    """The signs are reversed: return the gradients; the optimizer subtracts them."""
    return weight_gradients_reference(weights, x, activation, -grad)


@weight_gradients.mistake
def divided_by_the_batch(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """You divide by the number of examples; if the loss is a mean, `grad` has it."""
    return weight_gradients_reference(weights, x, activation, grad / len(x))


@weight_gradients.mistake
def of_the_first_example(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """These are the gradients of the first example; add up those of all of them."""
    return weight_gradients_reference(weights, x[:1], activation, grad[:1])


@weight_gradients.mistake
def formula_of_the_output_at_z(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """Your s · (1 - s) and 1 - t² are right for the *output*, and you put z there.

    s is the sigmoid of z, and t the tanh of z.
    """
    slopes: Functions = {
        **SLOPES,
        "sigmoid": lambda z: z * (1 - z),
        "tanh": lambda z: 1 - z**2,
    }
    return _gradients(_passes(weights, x, activation, grad, slopes=slopes))


@weight_gradients.mistake
def pre_activation_for_input(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """You multiply by the z of the layer below; a layer's input is its *output*."""
    rows = _passes(weights, x, activation, grad)
    arrived = [x]
    for weight, (before, *_) in zip(weights, rows, strict=True):
        arrived.append(before @ weight.T)
    pairs = zip(rows, arrived, strict=False)
    return tuple(delta.T @ below for (*_, delta), below in pairs)


@weight_gradients.mistake
def quotient_of_infinities(
    weights: Layers, x: Array, activation: str, grad: Array
) -> Gradients:
    """e^-z / (1 + e^-z)² is inf / inf for large negative z: not a number.

    Write the sigmoid s as 1 / (1 + e^-z), and its derivative as s · (1 - s).
    """
    slopes: Functions = {
        **SLOPES,
        "sigmoid": lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
    }
    return _gradients(_passes(weights, x, activation, grad, slopes=slopes))
