"""Task 4: momentum goes on after pruning, and must not bring a weight back."""

from collections.abc import Callable, Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Mask

Fit = tuple[Array, float]


def train_pruned_reference(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """Heavy ball on a linear model; from `prune_after` steps on, masked weights are 0.

    The mask is applied after every step: the velocity still pushes what is pruned.
    """
    velocity_w, velocity_b = np.zeros(w.shape), 0.0
    for done in range(steps + 1):
        if done >= prune_after:
            w = w * keep_mask
        if done == steps:
            break
        residual = X @ w + b - y
        velocity_w = momentum * velocity_w + X.T @ residual / len(y)
        velocity_b = momentum * velocity_b + residual.mean()
        w = w - lr * velocity_w
        b = b - lr * velocity_b
    return w, b


def _fits(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, share, momentum, prune_after, steps, label in (
        (5, 2, 0.5, 0.9, 2, 4, "two weights"),
        (20, 6, 0.5, 0.9, 5, 12, "six weights"),
        (12, 4, 0.3, 0.5, 1, 9, "pruned after one step"),
        (12, 4, 0.8, 0.99, 6, 25, "25 steps, strong momentum"),
        (15, 5, 0.6, 0.0, 3, 8, "no momentum"),
        (9, 3, 0.5, 0.9, 0, 5, "pruned before any step"),
        (9, 3, 0.5, 0.9, 5, 5, "pruned at the very end"),
        (9, 3, 0.5, 0.9, 4, 5, "one step after pruning"),
        (8, 3, 0.0, 0.9, 1, 3, "step size 0"),
        (1, 4, 0.3, 0.9, 2, 5, "one example"),
        (7, 3, 0.5, 0.9, 0, 0, "no step, only the mask"),
    ):
        X = rng.normal(size=(n, d)) * rng.uniform(0.5, 2, size=d)
        y = X @ rng.normal(size=d) + 3 + 0.3 * rng.normal(size=n)
        keep = rng.permutation(d) >= (d + 1) // 2
        lr = share * n / np.linalg.norm(np.column_stack([X, np.ones(n)]), 2) ** 2
        inputs = {"X": X, "y": y, "w": rng.normal(size=d), "b": float(rng.normal())}
        inputs |= {"keep_mask": keep, "lr": float(lr), "momentum": momentum}
        yield Case(label, {**inputs, "prune_after": prune_after, "steps": steps})
        if label == "six weights":
            inputs |= {"prune_after": 3, "steps": 6}
            every, none = np.ones(d, dtype=bool), np.zeros(d, dtype=bool)
            yield Case("everything stays", {**inputs, "keep_mask": every})
            yield Case("only the bias is left", {**inputs, "keep_mask": none})


train_pruned = Task(
    "train_pruned",
    points=2,
    section="10 · Write it small",
    reference=train_pruned_reference,
    draw=_fits,
    forbid=(*LIBRARIES, "torch.optim", "mlopt_edu.optim"),
    hints=(
        "A weight is set to 0, and its gradient from now on too. Where does its "
        "velocity, from the steps before, take it?",
        "Write dense training first: two velocities, one of `w` and one of `b`. Then "
        "ask after each step whether it is time for the mask. Ask before the first "
        "step too: `prune_after` may be 0.",
        "`for done in range(steps + 1): if done >= prune_after: w = w * keep_mask`, "
        "then leave the loop if done is `steps`, else take a step. The mask has no "
        "entry for `b`.",
    ),
)


def _train(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    lr: float,
    momentum: float,
    steps: int,
    after: Callable[[int, Array, float], Fit],
    *,
    gradient: Callable[[int, Array], Array] = lambda _, grad: grad,
    seen: Callable[[int, Array], Array] = lambda _, w: w,
    restart: int = -1,
    new: float = 1.0,
) -> Fit:
    """Train; `after(done, w, b)` acts on the parameters, `gradient` on slopes of w."""
    velocity_w, velocity_b = np.zeros(w.shape), 0.0
    for done in range(steps + 1):
        w, b = after(done, w, b)
        if done == steps:
            break
        if done == restart:
            velocity_w, velocity_b = np.zeros(w.shape), 0.0
        residual = X @ seen(done, w) + b - y
        grad = gradient(done, X.T @ residual / len(y))
        velocity_w = momentum * velocity_w + new * grad
        velocity_b = momentum * velocity_b + new * residual.mean()
        w, b = w - lr * velocity_w, b - lr * velocity_b
    return w, b


@train_pruned.mistake
def mask_only_once(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """You apply the mask once, and the next steps bring the weights back.

    Apply it again after every step.
    """

    def after(done: int, w: Array, b: float) -> Fit:
        return w * keep_mask if done == prune_after else w, b

    return _train(X, y, w, b, lr, momentum, steps, after)


@train_pruned.mistake
def only_the_gradient_masked(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """You mask the weights once and then the *gradient*; the velocity moves them on.

    It still holds the gradients from before. Mask the weights after every step.
    """

    def after(done: int, w: Array, b: float) -> Fit:
        return w * keep_mask if done == prune_after else w, b

    def gradient(done: int, grad: Array) -> Array:
        return grad * keep_mask if done >= prune_after else grad

    return _train(X, y, w, b, lr, momentum, steps, after, gradient=gradient)


@train_pruned.mistake
def mask_before_the_step(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """You mask *before* each step, so the last step fills the zeros again.

    Apply the mask after the step.
    """

    def after(done: int, w: Array, b: float) -> Fit:
        return w * keep_mask if prune_after <= done < steps else w, b

    return _train(X, y, w, b, lr, momentum, steps, after)


@train_pruned.mistake
def weights_stay_dense(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """Only the predictions see the mask: the weights that you return are dense.

    Set the pruned ones to 0 before you return them.
    """

    def seen(done: int, w: Array) -> Array:
        return w * keep_mask if done >= prune_after else w

    return _train(X, y, w, b, lr, momentum, steps, lambda _, w, b: (w, b), seen=seen)


@train_pruned.mistake
def bias_pruned(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """You prune the bias as well; the mask is for the weights alone.

    One number is no saving, and without it all predictions are off.
    """

    def after(done: int, w: Array, b: float) -> Fit:
        return (w * keep_mask, 0.0) if done >= prune_after else (w, b)

    return _train(X, y, w, b, lr, momentum, steps, after)


@train_pruned.mistake
def pruned_at_the_start(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """You prune at once; the first `prune_after` steps should be dense."""
    return train_pruned_reference(X, y, w, b, keep_mask, lr, momentum, 0, steps)


@train_pruned.mistake
def pruned_at_the_end(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """You train dense and mask at the end: nobody has learned to do without.

    The steps after `prune_after` are there so that the other weights make up for it.
    """
    return train_pruned_reference(X, y, w, b, keep_mask, lr, momentum, steps, steps)


@train_pruned.mistake
def one_step_late(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """You prune one step late: after `prune_after` steps, which may be none."""
    late = prune_after + 1
    return train_pruned_reference(X, y, w, b, keep_mask, lr, momentum, late, steps)


@train_pruned.mistake
def not_before_the_first_step(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """You ask for the mask after a step only; `prune_after` may be 0.

    Then the weights are 0 before the first step.
    """
    late = max(prune_after, 1)
    return train_pruned_reference(X, y, w, b, keep_mask, lr, momentum, late, steps)


@train_pruned.mistake
def not_after_the_last_step(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """You decide on the mask before a step only; `prune_after` may be `steps`.

    Then no step follows, and the weights become 0 all the same.
    """
    when = steps + 1 if prune_after == steps else prune_after
    return train_pruned_reference(X, y, w, b, keep_mask, lr, momentum, when, steps)


@train_pruned.mistake
def one_after_the_other(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """You move `w` first, and the slope of `b` sees the new `w`.

    Both slopes belong to the same point: take both before you move either.
    """
    velocity_w, velocity_b = np.zeros(w.shape), 0.0
    for done in range(steps + 1):
        if done >= prune_after:
            w = w * keep_mask
        if done == steps:
            break
        velocity_w = momentum * velocity_w + X.T @ (X @ w + b - y) / len(y)
        w = w - lr * velocity_w
        velocity_b = momentum * velocity_b + float(np.mean(X @ w + b - y))
        b = b - lr * velocity_b
    return w, b


@train_pruned.mistake
def never_pruned(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """Nothing is pruned: `keep_mask` is not used."""
    never = steps + 1
    return train_pruned_reference(X, y, w, b, keep_mask, lr, momentum, never, steps)


@train_pruned.mistake
def mask_reversed(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """You set the weights to 0 that should stay: the mask is True for those."""
    mask = ~keep_mask
    return train_pruned_reference(X, y, w, b, mask, lr, momentum, prune_after, steps)


@train_pruned.mistake
def momentum_restarted(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """You throw all velocity away when you prune; that of the others should go on."""

    def after(done: int, w: Array, b: float) -> Fit:
        return w * keep_mask if done >= prune_after else w, b

    return _train(X, y, w, b, lr, momentum, steps, after, restart=prune_after)


@train_pruned.mistake
def momentum_left_out(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """These are steps of plain descent: `momentum` is not used."""
    return train_pruned_reference(X, y, w, b, keep_mask, lr, 0.0, prune_after, steps)


@train_pruned.mistake
def momentum_averages(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """You multiply the new gradient by 1 - momentum; here it enters whole, as in torch.

    The steps are that much shorter.
    """

    def after(done: int, w: Array, b: float) -> Fit:
        return w * keep_mask if done >= prune_after else w, b

    return _train(X, y, w, b, lr, momentum, steps, after, new=1 - momentum)


@train_pruned.mistake
def slope_doubled(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """The slope is twice too long: the 1/2 of the loss takes the 2 of the square."""
    lr = 2 * lr
    return train_pruned_reference(
        X, y, w, b, keep_mask, lr, momentum, prune_after, steps
    )


@train_pruned.mistake
def squares_not_averaged(
    X: Array,
    y: Array,
    w: Array,
    b: float,
    keep_mask: Mask,
    lr: float,
    momentum: float,
    prune_after: int,
    steps: int,
) -> Fit:
    """The loss is a *mean* over the examples: divide both slopes by n."""
    lr = len(y) * lr
    return train_pruned_reference(
        X, y, w, b, keep_mask, lr, momentum, prune_after, steps
    )
