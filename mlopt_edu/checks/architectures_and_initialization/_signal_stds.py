"""Task 4: how much of the differences between examples is left after each layer."""

from collections.abc import Callable, Iterator

import numpy as np

from .._task import Case, Task
from ._network import ACTIVATIONS, Array, Functions, Layers, networks


def signal_stds_reference(weights: Layers, x: Array, activation: str) -> Array:
    """Standard deviation over the examples, averaged over the units of each layer."""
    stds = []
    for weight in weights:
        x = ACTIVATIONS[activation](x @ weight.T)
        stds.append(x.std(axis=0).mean())
    return np.array(stds)


def _signal_cases(rng: np.random.Generator) -> Iterator[Case]:
    for label, inputs in networks(rng):
        yield Case(label, inputs)


signal_stds = Task(
    "signal_stds",
    points=2,
    section="05 · Write it small",
    reference=signal_stds_reference,
    draw=_signal_cases,
    forbid=("torch.nn", "mlopt_edu.initialization"),
    hints=(
        "Carry the signal in one variable: what a layer puts out is what the next one "
        "gets.",
        "A layer is `x @ weight.T`, then the activation. Then `x` has a column for "
        "each unit, and `x.std(axis=0)` one number for each of them.",
        "In the loop, x = f(x @ weight.T) and stds.append(x.std(axis=0).mean()), where "
        'f is np.tanh for "tanh", np.maximum(z, 0) for "relu", and so on.',
    ),
)


def _measured(
    weights: Layers,
    x: Array,
    activation: str,
    measure: Callable[[Array], float] = lambda h: float(h.std(axis=0).mean()),
    functions: Functions = ACTIVATIONS,
) -> Array:
    """Do the right thing with another measure, or with other activations."""
    values = []
    for weight in weights:
        x = functions[activation](x @ weight.T)
        values.append(measure(x))
    return np.array(values)


@signal_stds.mistake
def no_activation(weights: Layers, x: Array, activation: str) -> Array:
    """The activation is never applied: this is a linear net, however deep."""
    return signal_stds_reference(weights, x, "identity")


@signal_stds.mistake
def relu_is_linear(weights: Layers, x: Array, activation: str) -> Array:
    """Your ReLU lets negative numbers through, so it does nothing: max(z, 0)."""
    functions: Functions = {**ACTIVATIONS, "relu": lambda z: z}
    return _measured(weights, x, activation, functions=functions)


@signal_stds.mistake
def relu_leaks(weights: Layers, x: Array, activation: str) -> Array:
    """That is a leaky ReLU: the plain one returns 0 for *every* negative number."""
    functions: Functions = {
        **ACTIVATIONS,
        "relu": lambda z: np.where(z > 0, z, 0.01 * z),
    }
    return _measured(weights, x, activation, functions=functions)


@signal_stds.mistake
def relu_of_the_size(weights: Layers, x: Array, activation: str) -> Array:
    """Your ReLU turns negative numbers positive; they become 0."""
    functions: Functions = {**ACTIVATIONS, "relu": np.abs}
    return _measured(weights, x, activation, functions=functions)


@signal_stds.mistake
def sigmoid_falls(weights: Layers, x: Array, activation: str) -> Array:
    """Your sigmoid falls: it is 1 / (1 + exp(-z)), with the minus.

    After the first layer the spread is still right, for 1 - s spreads as s does.
    """
    functions: Functions = {**ACTIVATIONS, "sigmoid": lambda z: 1 / (1 + np.exp(z))}
    return _measured(weights, x, activation, functions=functions)


@signal_stds.mistake
def tanh_for_sigmoid(weights: Layers, x: Array, activation: str) -> Array:
    """Your sigmoid goes from -1 to 1: that is tanh. A sigmoid goes from 0 to 1."""
    return signal_stds_reference(
        weights, x, "tanh" if activation == "sigmoid" else activation
    )


@signal_stds.mistake
def before_the_activation(weights: Layers, x: Array, activation: str) -> Array:
    """You measure *before* the activation; measure what the next layer gets."""
    stds = []
    for weight in weights:
        z = x @ weight.T
        stds.append(z.std(axis=0).mean())
        x = ACTIVATIONS[activation](z)
    return np.array(stds)


@signal_stds.mistake
def last_layer_linear(weights: Layers, x: Array, activation: str) -> Array:
    """The last layer has no activation in yours; here every layer has it."""
    stds = signal_stds_reference(weights, x, activation)
    for weight in weights[:-1]:
        x = ACTIVATIONS[activation](x @ weight.T)
    stds[-1] = (x @ weights[-1].T).std(axis=0).mean()
    return stds


@signal_stds.mistake
def mean(weights: Layers, x: Array, activation: str) -> Array:
    """You return means; asked is the standard deviation, the spread about the mean."""
    return _measured(weights, x, activation, lambda h: float(h.mean()))


@signal_stds.mistake
def variance(weights: Layers, x: Array, activation: str) -> Array:
    """These are variances; the standard deviation is the root."""
    return _measured(weights, x, activation, lambda h: float(h.var(axis=0).mean()))


@signal_stds.mistake
def root_of_the_mean_variance(weights: Layers, x: Array, activation: str) -> Array:
    """You average the variances and take the root; average the roots."""
    return _measured(weights, x, activation, lambda h: h.var(axis=0).mean() ** 0.5)


@signal_stds.mistake
def root_mean_square(weights: Layers, x: Array, activation: str) -> Array:
    """That is the root of the mean square: subtract each unit's mean first.

    Outputs of a sigmoid are all positive, whatever the example: that is no signal.
    """
    return _measured(weights, x, activation, lambda h: float(np.sqrt((h**2).mean())))


@signal_stds.mistake
def length(weights: Layers, x: Array, activation: str) -> Array:
    """That is the length of all outputs; take the spread over the examples."""
    return _measured(weights, x, activation, lambda h: float(np.linalg.norm(h)))


@signal_stds.mistake
def sample_std(weights: Layers, x: Array, activation: str) -> Array:
    """You divide by the number less one, as `torch.std` does by default.

    Divide by the number: `np.std`, or `correction=0` in torch.
    """
    return _measured(weights, x, activation, lambda h: h.std(axis=0, ddof=1).mean())


@signal_stds.mistake
def over_all_entries(weights: Layers, x: Array, activation: str) -> Array:
    """You take one std over all entries: the units differ from each other in it too.

    They do so even when every example gives the same. Take it over the examples, unit
    by unit, and average.
    """
    return _measured(weights, x, activation, lambda h: float(h.std()))


@signal_stds.mistake
def over_the_units(weights: Layers, x: Array, activation: str) -> Array:
    """You take the std over the units, for each example; it is the other axis.

    Examples are rows: the spread over them goes down the columns, `axis=0`.
    """
    return _measured(weights, x, activation, lambda h: float(h.std(axis=1).mean()))


@signal_stds.mistake
def input_too(weights: Layers, x: Array, activation: str) -> Array:
    """The first number is that of the input; begin after the first layer."""
    return np.array(
        [x.std(axis=0).mean(), *signal_stds_reference(weights, x, activation)]
    )


@signal_stds.mistake
def one_layer_early(weights: Layers, x: Array, activation: str) -> Array:
    """You measure what goes *into* each layer; measure what comes out."""
    before = float(x.std(axis=0).mean())
    return np.array([before, *signal_stds_reference(weights, x, activation)[:-1]])


@signal_stds.mistake
def only_the_last(weights: Layers, x: Array, activation: str) -> float:
    """You return one number, after the last layer; return one for each layer."""
    return float(signal_stds_reference(weights, x, activation)[-1])


@signal_stds.mistake
def scaled_to_one(weights: Layers, x: Array, activation: str) -> Array:
    """You divide by the spread of the input; return the numbers as they are."""
    before = float(x.std(axis=0).mean())
    return signal_stds_reference(weights, x, activation) / before


@signal_stds.mistake
def sigmoid_of_two_infinities(weights: Layers, x: Array, activation: str) -> Array:
    """Your sigmoid is e^z / (1 + e^z): for a large z that is inf / inf, not a number.

    Write 1 / (1 + e^-z). There e^-z may become infinite too, and 1 / inf is 0.
    """
    functions: Functions = {
        **ACTIVATIONS,
        "sigmoid": lambda z: np.exp(z) / (1 + np.exp(z)),
    }
    return _measured(weights, x, activation, functions=functions)
