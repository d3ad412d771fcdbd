"""Exercise 01: gradient descent on least squares, its bound, its rate, its end.

Everywhere the loss is |X w - y|^2 / (2 n), with `X` of shape (n, d), `y` of shape
(n,) and `w` of shape (d,). Its Hessian is X^T X / n; write lambda for its eigenvalues.
Gradient descent multiplies the error along each eigenvector by 1 - lr lambda a step
(Nesterov, "Lectures on Convex Optimization", 2018, section 1.2.3).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._task import Case, Task, choice, number

Array = NDArray[np.float64]


def _problem(rng: np.random.Generator, n: int, d: int) -> tuple[Array, Array]:
    """Features of different scales, targets that no weights fit exactly."""
    X = rng.normal(size=(n, d)) * rng.uniform(0.3, 2, size=d)
    return X, X @ rng.normal(size=d) + 0.5 * rng.normal(size=n)


def _bound(X: Array) -> float:
    return float(2 / np.linalg.eigvalsh(X.T @ X / len(X))[-1])


def gradient_reference(X: Array, y: Array, w: Array) -> Array:
    """Gradient of |X w - y|^2 / (2 n) with respect to w."""
    residual = X @ w - y
    return X.T @ residual / len(y)


def _gradient_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, label in ((3, 2, "3 examples"), (30, 1, "one weight"), (50, 7, "50 × 7")):
        X, y = _problem(rng, n, d)
        yield Case(label, {"X": X, "y": y, "w": rng.normal(size=d)})
    X, y = _problem(rng, 1, 8)
    yield Case("one example", {"X": X, "y": y, "w": rng.normal(size=8)})
    X, y = _problem(rng, 4, 9)
    columns = np.asfortranarray(X)
    yield Case("more weights than examples", {"X": columns, "y": y, "w": np.ones(9)})
    yield Case("zero weights", {"X": X, "y": y, "w": np.zeros(9)})


gradient = Task(
    "gradient",
    points=2,
    section="01 · Real data",
    reference=gradient_reference,
    draw=_gradient_cases,
    hints=(
        "Check the shapes: `X @ w - y` has one entry an example, the gradient has one "
        "a weight. What turns the first into the second?",
        "Write the residual first. Each weight's entry sums residual times feature "
        "over the examples, then comes the average.",
        "The chain rule gives transpose of X times the residual, divided by the number "
        "of examples. The 2 of the square cancels the 2 under the fraction.",
    ),
)


@gradient.mistake
def sum_over_examples(X: Array, y: Array, w: Array) -> Array:
    """You sum over the examples; the loss is their *mean*. Divide by `len(y)`.

    Otherwise the right step size changes with the amount of data.
    """
    return X.T @ (X @ w - y)


@gradient.mistake
def twice_the_gradient(X: Array, y: Array, w: Array) -> Array:
    """It is twice too large: the loss has 2 n below the fraction, so the 2 cancels."""
    return 2 * X.T @ (X @ w - y) / len(y)


@gradient.mistake
def half_kept(X: Array, y: Array, w: Array) -> Array:
    """It is half of the gradient: you kept the ½, but the square's 2 cancels it."""
    return X.T @ (X @ w - y) / (2 * len(y))


@gradient.mistake
def residual_reversed(X: Array, y: Array, w: Array) -> Array:
    """The sign is wrong: the residual is prediction minus target, `X @ w - y`.

    With this sign the gradient points downhill, and a step against it climbs.
    """
    return X.T @ (y - X @ w) / len(y)


@gradient.mistake
def target_forgotten(X: Array, y: Array, w: Array) -> Array:
    """The targets `y` are not used: subtract them from the predictions first."""
    return X.T @ (X @ w) / len(y)


@gradient.mistake
def divided_by_weights(X: Array, y: Array, w: Array) -> Array:
    """You divide by the number of weights; the mean is over the examples, `len(y)`."""
    return X.T @ (X @ w - y) / len(w)


def descend_reference(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """Every point that gradient descent visits, the start included."""
    path = [w0]
    for _ in range(steps):
        w = path[-1]
        path.append(w - lr * gradient_reference(X, y, w))
    return np.array(path)


def _descend_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, share, steps, label in (
        (3, 2, 0.3, 4, "two weights, 4 steps"),
        (30, 1, 0.2, 6, "one weight"),
        (40, 5, 0.5, 50, "50 steps"),
        (20, 3, 0.95, 30, "just below the bound"),
        (60, 2, 0.5, 300, "300 steps"),
        (20, 3, 1.1, 12, "above the bound: it must diverge"),
    ):
        X, y = _problem(rng, n, d)
        inputs = {"X": X, "y": y, "w0": rng.normal(size=d), "lr": share * _bound(X)}
        yield Case(label, {**inputs, "steps": steps})
    X, y = _problem(rng, 8, 2)
    inputs = {"X": X, "y": y, "w0": np.zeros(2), "lr": 0.1, "steps": 1}
    yield Case("a single step from zero", inputs)
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    yield Case("a start at the minimum", {**inputs, "w0": best, "steps": 5})
    yield Case("no step at all", {**inputs, "w0": rng.normal(size=2), "steps": 0})
    yield Case("step size 0", {**inputs, "w0": rng.normal(size=2), "lr": 0.0})


def _path(_: Mapping[str, Any], value: Any) -> tuple[Any, Any]:
    return value[:, 0], value[:, 1]


descend = Task(
    "descend",
    points=3,
    section="01 · Write it small",
    reference=descend_reference,
    draw=_descend_cases,
    forbid=("torch.optim", "mlopt_edu.optim"),
    picture=_path,
    axes=("w[0]", "w[1]"),
    hints=(
        "Do the first two steps on paper. At which point is the second gradient taken?",
        "Keep a list of points that begins with the start. In each step take the last "
        "point, compute the gradient *there*, and append the next point.",
        "The next point is the last one minus `lr` times the gradient at the last one. "
        "Turn the list into an array at the end: it has `steps + 1` rows.",
    ),
)


@descend.mistake
def climbs(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """You climb: the gradient points uphill, so *subtract* `lr` times the gradient.

    If you do subtract it, look at the sign in your `gradient` of task 1.
    """
    path = [w0]
    for _ in range(steps):
        path.append(path[-1] + lr * gradient_reference(X, y, path[-1]))
    return np.array(path)


@descend.mistake
def stale_gradient(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """Every step uses the gradient at the start, so the path is a straight line.

    Compute the gradient inside the loop, at the point where you are now.
    """
    slope = gradient_reference(X, y, w0)
    return np.array([w0 - k * lr * slope for k in range(steps + 1)])


@descend.mistake
def gradient_at_the_point_before(
    X: Array, y: Array, w0: Array, lr: float, steps: int
) -> Array:
    """Each step uses the gradient at the point *before* the last one.

    The gradient is one step late. Compute it at the point that you are leaving.
    """
    path = [w0]
    for k in range(steps):
        at = path[max(k - 1, 0)]
        path.append(path[-1] - lr * gradient_reference(X, y, at))
    return np.array(path)


@descend.mistake
def starts_again(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """Each step starts from `w0` again, so every point is the first step's.

    Go on from the last point.
    """
    first = w0 - lr * gradient_reference(X, y, w0)
    return np.array([w0] + [first] * steps)


@descend.mistake
def steps_too_long(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """Your steps are n times too long: the gradient is a *mean* over the examples.

    Check your `gradient` of task 1 first.
    """
    return descend_reference(X, y, w0, lr * len(y), steps)


@descend.mistake
def steps_doubled(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """Your steps are twice too long: the 2 of the square cancels the ½ of the loss.

    Check your `gradient` of task 1 first.
    """
    return descend_reference(X, y, w0, 2 * lr, steps)


@descend.mistake
def one_step_more(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """There is one point too many: `steps` steps visit `steps + 1` points."""
    return descend_reference(X, y, w0, lr, steps + 1)


@descend.mistake
def points_in_columns(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """Your points stand in columns; return one point a *row*."""
    return descend_reference(X, y, w0, lr, steps).T


@descend.mistake
def gradient_at_zero(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """The gradient is taken at w = 0 in every step, not at the current point."""
    slope = gradient_reference(X, y, np.zeros_like(w0))
    return np.array([w0 - k * lr * slope for k in range(steps + 1)])


@descend.mistake
def start_left_out(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """The start is missing: the first row must be `w0`, so there are `steps + 1`."""
    return descend_reference(X, y, w0, lr, steps)[1:]


@descend.mistake
def only_the_last_point(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """You return the last point; return *all* of them, one a row, from the start on."""
    return np.asarray(descend_reference(X, y, w0, lr, steps)[-1])


@descend.mistake
def one_array_many_times(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """All rows are the last point: the list holds the *same* array again and again.

    An update in place (`w -= …`) changes the rows that you stored before. Store a
    copy, or write `w = w - …`, which makes a new array.
    """
    last = descend_reference(X, y, w0, lr, steps)[-1]
    return np.array([last] * (steps + 1))


@descend.mistake
def step_shrinks(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """Your step size shrinks from step to step; here `lr` stays the same."""
    path = [w0]
    for k in range(steps):
        path.append(path[-1] - lr / (k + 1) * gradient_reference(X, y, path[-1]))
    return np.array(path)


def largest_lr_reference(X: Array) -> float:
    """Bound 2 / lambda_max above which gradient descent diverges."""
    curvatures = np.linalg.eigvalsh(X.T @ X / len(X))
    return float(2 / curvatures[-1])


def _feature_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("two weights", {"X": np.array([[1.0, 0], [0, 3]])})
    for n, d, label in (
        (40, 1, "one weight"),
        (60, 6, "60 × 6"),
        (5, 12, "12 weights"),
    ):
        yield Case(label, {"X": _problem(rng, n, d)[0]})
    X = 1 + _problem(rng, 30, 3)[0]
    yield Case("a weight that nothing depends on", {"X": X * np.array([1.0, 0, 2])})
    yield Case("large features", {"X": 100 + X})


largest_lr = Task(
    "largest_lr",
    points=2,
    section="01 · Derive",
    reference=largest_lr_reference,
    draw=_feature_cases,
    hints=(
        "Which direction is the first to blow up: the flattest or the steepest?",
        "Build the Hessian, take its eigenvalues, and use the one of the steepest "
        "direction. `np.linalg.eigvalsh` is made for symmetric matrices.",
        "A step multiplies the error by `1 - lr * eigenvalue`. Its size stays below 1 "
        "as long as `lr * eigenvalue` stays below 2, for every eigenvalue.",
    ),
)


@largest_lr.mistake
def smallest_eigenvalue(X: Array) -> float:
    """You use the smallest eigenvalue; the *largest* one blows up first."""
    curvatures = np.linalg.eigvalsh(X.T @ X / len(X))
    with np.errstate(divide="ignore"):
        return float(np.float64(2) / curvatures[0])


@largest_lr.mistake
def half_the_bound(X: Array) -> float:
    """This is half of it. 1/L is a safe choice, but descent converges up to 2/L.

    If you did write 2, your Hessian is twice too large: the loss has 2 n below.
    """
    return largest_lr_reference(X) / 2


@largest_lr.mistake
def twice_the_bound(X: Array) -> float:
    """This is twice the bound: differentiating the square twice cancels the ½."""
    return 2 * largest_lr_reference(X)


@largest_lr.mistake
def curvature_itself(X: Array) -> float:
    """This is the largest curvature; the bound is 2 *divided by* it."""
    return 2 / largest_lr_reference(X)


@largest_lr.mistake
def one_for_each_direction(X: Array) -> Array:
    """These are the bounds of all directions; one `lr` must respect the smallest."""
    with np.errstate(divide="ignore"):
        return np.asarray(2 / np.linalg.eigvalsh(X.T @ X / len(X)))


@largest_lr.mistake
def best_step_size(X: Array) -> float:
    """This is the *best* step size, 2 / (λ_min + λ_max); the bound is 2 / λ_max."""
    curvatures = np.linalg.eigvalsh(X.T @ X / len(X))
    return float(2 / (curvatures[0] + curvatures[-1]))


@largest_lr.mistake
def features_centred(X: Array) -> float:
    """You subtract the mean of the features first; the Hessian uses X as it is."""
    return largest_lr_reference(X - X.mean(axis=0))


@largest_lr.mistake
def hessian_of_the_sum(X: Array) -> float:
    """The Hessian of the mean loss is X^T X *divided by n*; the n is missing."""
    return largest_lr_reference(X) / len(X)


@largest_lr.mistake
def singular_value_not_squared(X: Array) -> float:
    """You use a singular value of X; the eigenvalue is its *square* over n."""
    return float(2 / np.linalg.norm(X, 2))


@largest_lr.mistake
def trace_for_eigenvalue(X: Array) -> float:
    """You use the sum of the eigenvalues (the trace); only the largest one counts."""
    return float(2 / np.trace(X.T @ X / len(X)))


def contraction_reference(X: Array, lr: float) -> float:
    """Worst factor max |1 - lr lambda| by which one step multiplies the error."""
    curvatures = np.linalg.eigvalsh(X.T @ X / len(X))
    return float(np.abs(1 - lr * curvatures).max())


def _contraction_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("slow in the flat direction", {"X": np.diag([1.0, 3]), "lr": 0.1})
    yield Case("fast in the flat direction", {"X": np.diag([1.0, 3]), "lr": 0.43})
    for n, d, share, label in (
        (30, 1, 0.8, "one weight"),
        (40, 5, 0.3, "small step"),
        (40, 5, 0.97, "near the bound"),
        (40, 5, 1.4, "above the bound"),
        (12, 4, 0.0, "step size 0"),
        (5, 9, 0.5, "more weights than examples"),
    ):
        X = _problem(rng, n, d)[0]
        yield Case(label, {"X": X, "lr": share * _bound(X)})


contraction = Task(
    "contraction",
    points=2,
    section="01 · Derive",
    reference=contraction_reference,
    draw=_contraction_cases,
    hints=(
        "Each eigenvector has its own factor. Which of them decides how fast the "
        "whole error shrinks?",
        "Compute all factors at once as an array, then ask for the largest in size. A "
        "factor of -0.9 is as slow as 0.9.",
        "Take 1 minus `lr` times each eigenvalue of X^T X / n, then the absolute "
        "value, then the maximum.",
    ),
)


@contraction.mistake
def steep_direction_only(X: Array, lr: float) -> float:
    """You look only at the steepest direction; for small steps the flat one is slow."""
    return float(abs(1 - lr * np.linalg.eigvalsh(X.T @ X / len(X))[-1]))


@contraction.mistake
def flat_direction_only(X: Array, lr: float) -> float:
    """This is the flattest direction; near the bound the steep one is slower.

    Take the absolute value of *all* factors first, and the maximum then.
    """
    return float(abs(1 - lr * np.linalg.eigvalsh(X.T @ X / len(X))[0]))


@contraction.mistake
def sign_kept(X: Array, lr: float) -> float:
    """This is the largest *signed* factor, and it belongs to the flattest direction.

    -0.9 is slower than 0.5: take the absolute values first, and the maximum then.
    """
    return float((1 - lr * np.linalg.eigvalsh(X.T @ X / len(X))).max())


@contraction.mistake
def steep_and_signed(X: Array, lr: float) -> float:
    """This is the steepest direction alone, with its sign. A size is never negative.

    Take the absolute values of all factors, and the maximum of these.
    """
    return float(1 - lr * np.linalg.eigvalsh(X.T @ X / len(X))[-1])


@contraction.mistake
def all_factors(X: Array, lr: float) -> Array:
    """You return the factors of all directions; return only the largest in size."""
    return np.asarray(np.abs(1 - lr * np.linalg.eigvalsh(X.T @ X / len(X))))


@contraction.mistake
def rate_of_the_best_step(X: Array, lr: float) -> float:
    """(κ - 1) / (κ + 1) holds for the *best* step size; use the `lr` you are given."""
    curvatures = np.linalg.eigvalsh(X.T @ X / len(X))
    return float((curvatures[-1] - curvatures[0]) / (curvatures[-1] + curvatures[0]))


@contraction.mistake
def best_direction(X: Array, lr: float) -> float:
    """You report the *fastest* direction; the slowest decides when you are done."""
    return float(np.abs(1 - lr * np.linalg.eigvalsh(X.T @ X / len(X))).min())


@contraction.mistake
def loss_factor(X: Array, lr: float) -> float:
    """This is the factor of the *loss*; the error in w shrinks by its square root."""
    return contraction_reference(X, lr) ** 2


@contraction.mistake
def examples_not_averaged(X: Array, lr: float) -> float:
    """The Hessian of the mean loss is X^T X *divided by n*; the n is missing."""
    return float(np.abs(1 - lr * np.linalg.eigvalsh(X.T @ X)).max())


def steps_needed_reference() -> float:
    """Steps with the best constant lr until the slowest error is 1000 times smaller."""
    condition_number, shrink = 100, 1000
    factor = (condition_number - 1) / (condition_number + 1)
    return float(np.ceil(np.log(shrink) / -np.log(factor)))


steps_needed = number(
    "steps_needed",
    "The condition number is 100, and you use the best constant step size. How many "
    "steps until the slowest part of the error in w is at least 1000 times smaller?",
    reference=steps_needed_reference,
    points=1,
    section="01 · Derive",
    rtol=1e-6,
    hints=(
        "One step multiplies the slowest error by a factor; k steps by factor ** k.",
        "With the best step size the factor is (κ - 1) / (κ + 1). Solve factor ** k = "
        "1/1000 for k.",
        "Take logarithms: k is log(1000) divided by -log(factor), rounded up.",
    ),
)


@steps_needed.mistake
def step_size_one_over_l() -> float:
    """This belongs to lr = 1/L, with factor 1 - 1/κ.

    The best step size, 2 / (λ_min + λ_max), is about twice as fast.
    """
    return float(np.ceil(np.log(1000) / -np.log(1 - 1 / 100)))


@steps_needed.mistake
def loss_for_error() -> float:
    """After these steps the *loss* is 1000 times smaller, but the error in w is not.

    The loss is quadratic, so the error has shrunk by the square root of that.
    """
    return float(np.ceil(np.log(1000) / -np.log(99 / 101) / 2))


@steps_needed.mistake
def rounded_down() -> float:
    """Nearly: after 345 steps it is not quite there yet. Round up."""
    return float(np.floor(np.log(1000) / -np.log(99 / 101)))


@steps_needed.mistake
def not_rounded() -> float:
    """The formula is right. Steps are whole: round up to the first that is enough."""
    return float(np.log(1000) / -np.log(99 / 101))


@steps_needed.mistake
def logarithms_mixed() -> float:
    """You divided a decimal logarithm by a natural one; use the same one twice."""
    return float(np.ceil(np.log10(1000) / -np.log(99 / 101)))


@steps_needed.mistake
def kappa_times_log() -> float:
    """This is twice too many. κ log(1000) is the rule of thumb for lr = 1/L.

    And it is the *error* that shrinks by (κ - 1) / (κ + 1), not its square root.
    """
    return float(np.round(100 * np.log(1000)))


@steps_needed.mistake
def rate_of_momentum() -> float:
    """This is the rate of the best *momentum*, with √κ; plain descent has κ."""
    return float(np.ceil(np.log(1000) / -np.log(9 / 11)))


def stubborn_start_reference(X: Array, y: Array, lr: float) -> Array:
    """A start that differs from the minimum along the flattest direction only."""
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    directions = np.linalg.eigh(X.T @ X / len(X))[1]
    return np.asarray(best + 2 * directions[:, 0])


def _stubborn_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, share in ((6, 2, 1.1), (20, 3, 1.5), (30, 6, 1.3)):
        # One direction diverges; the others shrink, but not to rounding in 10 steps.
        left = np.linalg.qr(rng.normal(size=(n, d)))[0]
        right = np.linalg.qr(rng.normal(size=(d, d)))[0]
        curvatures = np.r_[2.0, rng.uniform(0.1, 0.3, size=d - 1)]
        X = left * np.sqrt(n * curvatures) @ right
        y = X @ rng.normal(size=d) + rng.normal(size=n)
        yield Case(f"{d} weights", {"X": X, "y": y, "lr": share * _bound(X)})


def _is_a_start(inputs: Mapping[str, Any], value: Any) -> str:
    """The start must be one vector of finite weights, of shape (d,)."""
    if value.shape != inputs["X"].shape[1:]:
        return f"yours has shape {value.shape} where d = {inputs['X'].shape[1]}"
    return "" if np.isfinite(value).all() else "yours holds inf or nan"


def _is_away(inputs: Mapping[str, Any], value: Any) -> str:
    """The start must be at least 1 away from the minimum."""
    best = np.linalg.lstsq(inputs["X"], inputs["y"], rcond=None)[0]
    distance = np.linalg.norm(value - best)
    return "" if distance >= 0.999 else f"yours is {distance:.2g} away"


def _still_descends(inputs: Mapping[str, Any], value: Any) -> str:
    """Each of the first 10 steps must make the loss smaller."""
    X, y, lr = inputs["X"], inputs["y"], inputs["lr"]
    losses = ((descend_reference(X, y, value, lr, 10) @ X.T - y) ** 2).mean(axis=1)
    if (np.diff(losses) < 0).all():
        return ""
    step = int(np.argmax(~(np.diff(losses) < 0))) + 1
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    steep = abs(np.linalg.eigh(X.T @ X)[1][:, -1] @ (value - best))
    return (
        f"step {step} does not; your start is {steep:.2g} away from the minimum along "
        "the steepest direction"
    )


stubborn_start = Task(
    "stubborn_start",
    kind="law",
    points=2,
    section="01 · Derive",
    reference=stubborn_start_reference,
    draw=_stubborn_cases,
    laws=(_is_a_start, _is_away, _still_descends),
    hints=(
        "Above the bound only *one* direction grows here. Can you start without any "
        "error in that direction?",
        "Begin at the minimum (`np.linalg.lstsq`) and walk away from it along an "
        "eigenvector that this `lr` still shrinks.",
        "`np.linalg.eigh` sorts from flat to steep; column 0 of its second result is "
        "the flattest direction. Add a multiple of it to the minimum.",
    ),
)


@stubborn_start.mistake
def starts_steep(X: Array, y: Array, lr: float) -> Array:
    """You walked away along the *steepest* direction, the one that grows."""
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    return np.asarray(best + np.linalg.eigh(X.T @ X / len(X))[1][:, -1])


@stubborn_start.mistake
def starts_at_the_minimum(X: Array, y: Array, lr: float) -> Array:
    """You start *at* the minimum, where there is nothing left to descend.

    Stay at least 1 away from it.
    """
    return np.asarray(np.linalg.lstsq(X, y, rcond=None)[0])


@stubborn_start.mistake
def direction_without_minimum(X: Array, y: Array, lr: float) -> Array:
    """This is the flat direction measured from zero; add the minimum to it."""
    return np.asarray(np.linalg.eigh(X.T @ X / len(X))[1][:, 0])


@stubborn_start.mistake
def row_for_column(X: Array, y: Array, lr: float) -> Array:
    """You took a *row* of the eigenvector matrix; each eigenvector is a column."""
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    return np.asarray(best + 2 * np.linalg.eigh(X.T @ X / len(X))[1][0])


@stubborn_start.mistake
def starts_at_zero(X: Array, y: Array, lr: float) -> Array:
    """Zero is nothing special here: it has an error along the steep direction too."""
    return np.zeros(X.shape[1])


def descend_until_reference(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[Array, int]:
    """Descend until the gradient's norm is at most `tolerance`."""
    w = w0
    for step in range(max_steps):
        slope = gradient_reference(X, y, w)
        if np.linalg.norm(slope) <= tolerance:
            return w, step
        w = w - lr * slope
    return w, max_steps


def _until_cases(rng: np.random.Generator) -> Iterator[Case]:
    # Along (1, -1) the entries of the gradient cancel: its sum is 0, its norm is not.
    X = np.array([[1.0, 0], [0, 1]])
    limits = {"lr": 0.5, "tolerance": 0.1, "max_steps": 100}
    inputs = {"X": X, "y": np.zeros(2), "w0": np.array([1.0, -1]), **limits}
    yield Case("entries that cancel", inputs)
    at_rest = {"X": X, "y": np.ones(2), "w0": np.ones(2), **limits, "tolerance": 0.0}
    yield Case("gradient 0, tolerance 0", at_rest)
    for n, d, tolerance, most, label in (
        (20, 3, 1e-3, 1000, "three weights"),
        (30, 1, 1e-2, 1000, "one weight"),
        (40, 5, 1e-9, 25, "too few steps allowed"),
        (10, 2, 1e-6, 0, "no step allowed"),
    ):
        X, y = _problem(rng, n, d)
        limits = {"lr": 0.4 * _bound(X), "tolerance": tolerance, "max_steps": most}
        yield Case(label, {"X": X, "y": y, "w0": rng.normal(size=d), **limits})
    X, y = _problem(rng, 12, 2)
    limits = {"lr": 0.1, "tolerance": 1e-6, "max_steps": 50}
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    yield Case("already there", {"X": X, "y": y, "w0": best, **limits})
    start = np.asarray(best + 1, dtype=np.float64)
    slope = float(np.linalg.norm(gradient_reference(X, y, start)))
    limits = {"lr": 0.1, "tolerance": slope * (1 + 1e-9), "max_steps": 50}
    yield Case("a tolerance just met", {"X": X, "y": y, "w0": start, **limits})


descend_until = Task(
    "descend_until",
    kind="repair",
    points=2,
    section="01 · What goes wrong",
    reference=descend_until_reference,
    draw=_until_cases,
    forbid=("torch.optim", "mlopt_edu.optim"),
    hints=(
        "Run it for three steps and print the gradient in each. Does it change?",
        "There are two faults. One: where the gradient is computed. Two: what is "
        "compared with the tolerance.",
        "Move the gradient's line into the loop, before the test. Compare the *norm*, "
        "`np.linalg.norm`: a sum is small when entries cancel.",
    ),
)


@descend_until.mistake
def as_given(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[Array, int]:
    """Both faults of the given program are still in it.

    Ask of each line in the loop: does it see where `w` is *now*?
    """
    w, slope = w0, gradient_reference(X, y, w0)
    for step in range(max_steps):
        if abs(slope.sum()) <= tolerance:
            return w, step
        w = w - lr * slope
    return w, max_steps


@descend_until.mistake
def gradient_never_renewed(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[Array, int]:
    """The gradient is computed once, before the loop, and never renewed.

    The walk goes straight on and its test never changes. Compute it in the loop.
    """
    w, slope = w0, gradient_reference(X, y, w0)
    for step in range(max_steps):
        if np.linalg.norm(slope) <= tolerance:
            return w, step
        w = w - lr * slope
    return w, max_steps


@descend_until.mistake
def sum_for_norm(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[Array, int]:
    """The test adds up the entries, and +1 and -1 cancel: it stops too early.

    Compare the norm of the gradient with the tolerance.
    """
    w = w0
    for step in range(max_steps):
        slope = gradient_reference(X, y, w)
        if abs(slope.sum()) <= tolerance:
            return w, step
        w = w - lr * slope
    return w, max_steps


@descend_until.mistake
def norm_squared(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[Array, int]:
    """You compare the *square* of the norm with the tolerance; take the root."""
    w = w0
    for step in range(max_steps):
        slope = gradient_reference(X, y, w)
        if slope @ slope <= tolerance:
            return w, step
        w = w - lr * slope
    return w, max_steps


@descend_until.mistake
def steps_before_point(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[int, Array]:
    """The order is reversed: return the point first, then the number of steps."""
    w, step = descend_until_reference(X, y, w0, lr, tolerance, max_steps)
    return step, w


@descend_until.mistake
def strictly_below(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[Array, int]:
    """You stop only *below* the tolerance; "at most" includes the tolerance: `<=`."""
    w = w0
    for step in range(max_steps):
        slope = gradient_reference(X, y, w)
        if np.linalg.norm(slope) < tolerance:
            return w, step
        w = w - lr * slope
    return w, max_steps


@descend_until.mistake
def one_step_too_many(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[Array, int]:
    """You step first and test then, so you take one step more than is needed."""
    w = w0
    for step in range(max_steps):
        slope = gradient_reference(X, y, w)
        w = w - lr * slope
        if np.linalg.norm(slope) <= tolerance:
            return w, step + 1
    return w, max_steps


what_now = choice(
    "what_now",
    "The losses of the first five steps are 0.50, 0.65, 0.85, 1.10, 1.43: about 30 % "
    "more each time. The gradient is right. What do you do?",
    {
        "a": (
            "Train longer",
            "Waiting does not help: each step multiplies the error by the same factor "
            "above 1, and the next hundred steps will too.",
        ),
        "b": (
            "Make the step size smaller",
            "Right: growth by a steady factor means that lr is above 2 / λ_max.",
        ),
        "c": (
            "Make the step size larger",
            "The step already overshoots the valley by more than it came from; a "
            "larger one overshoots further.",
        ),
        "d": (
            "Start somewhere else",
            "A start without any error in the steep direction exists, but rounding "
            "alone brings that direction back. The step size is the cause.",
        ),
    },
    answer="b",
    points=1,
    section="01 · What goes wrong",
    module=__name__,
    hints=(
        "Does the loss creep, or grow by a steady factor?",
        "A factor above 1 in some direction: what makes |1 - lr λ| larger than 1?",
        "Compare lr with 2 / λ_max.",
    ),
)

nearly_the_bound = choice(
    "nearly_the_bound",
    "A valley has the curvatures 1 and 4, so the bound on lr is 0.5. You raise lr from "
    "0.25 to 0.49. What happens to the number of steps you need?",
    {
        "a": (
            "It halves: the steps are twice as long",
            "In the flat direction, yes: its factor falls from 0.75 to 0.51. But look "
            "at the steep one: 1 - 4 · 0.49.",
        ),
        "b": (
            "It grows: the steep direction now decides",
            "Right. At 0.25 the factors are 0.75 and 0, at 0.49 they are 0.51 and "
            "-0.96: it jumps from side to side. Best is 2 / (1 + 4) = 0.4, with 0.6.",
        ),
        "c": (
            "Descent diverges",
            "Not yet: below the bound every factor is smaller than 1 in size.",
        ),
    },
    answer="b",
    points=0,
    section="01 · Derive",
    module=__name__,
)

scale_one_feature = choice(
    "scale_one_feature",
    "You record one feature in metres instead of kilometres: its column of X becomes "
    "1000 times larger. Nothing else changes. What happens to the largest stable lr?",
    {
        "a": (
            "Nothing: it is the same data",
            "The data tell the same story, but the loss as a function of *w* has "
            "another shape: along that weight it is far steeper.",
        ),
        "b": (
            "It becomes about 1000 times smaller",
            "More than that: the Hessian holds products of *two* features, so the "
            "curvature along this weight grows with the square.",
        ),
        "c": (
            "It becomes up to a million times smaller",
            "Right: the curvature along this weight grows by 1000², and soon it is "
            "the largest. That is why features are standardised first.",
        ),
    },
    answer="c",
    points=0,
    section="01 · Real data",
    module=__name__,
)

reading_a_curve = choice(
    "reading_a_curve",
    "On a logarithmic axis the loss falls steeply for 20 steps, then along a straight, "
    "nearly flat line. What does the second part show?",
    {
        "a": (
            "The minimum is reached",
            "At the minimum the line would be level, at the smallest loss possible. "
            "This one still falls, by the same factor in each step.",
        ),
        "b": (
            "The gradient is wrong",
            "A wrong gradient would hardly give a straight line on a logarithmic axis.",
        ),
        "c": (
            "The flat directions: their error shrinks by a factor near 1",
            "Right. The steep directions are done after a few steps; what is left "
            "shrinks by 1 - lr λ_min a step. Momentum, in lesson 02, helps here.",
        ),
    },
    answer="c",
    points=0,
    section="01 · Derive",
    module=__name__,
)
