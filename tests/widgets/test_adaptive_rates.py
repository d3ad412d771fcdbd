import itertools

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from traitlets import TraitError

from mlopt_edu.optim import Lion
from mlopt_edu.widgets import OptimizerPlayground
from mlopt_edu.widgets.adaptive_rates import OPTIMIZERS, SURFACES

# --- the Python side ---------------------------------------------------------------


def test_what_is_out_of_range_or_unknown_is_refused():
    for name, (low, high) in OptimizerPlayground.RANGES.items():
        for end in (low, high):
            assert getattr(OptimizerPlayground(**{name: end}), name) == end
        for beyond in (low - 1, high + 1):
            with pytest.raises(TraitError, match=rf"^{name} must be in \[.*\], got "):
                OptimizerPlayground(**{name: beyond})
    with pytest.raises(TraitError, match="surface"):
        OptimizerPlayground("hill")
    with pytest.raises(TraitError, match="optimizers"):
        OptimizerPlayground("net", ["sgd", "adamw"])


# --- the mathematics in JavaScript -------------------------------------------------


def two_moons(page):
    points = page.evaluate("module.MOONS.map(({x, y, moon}) => [x, y, moon])")
    return torch.tensor(points, dtype=torch.float64)


def net_loss(w, moons):
    hidden = torch.tanh(moons[:, :2] @ w[:16].view(8, 2).T + w[16:24])
    return binary_cross_entropy_with_logits(hidden @ w[24:32] + w[32], moons[:, 2])


def ravine(p):
    return (p[0] ** 2 / 50 + p[1] ** 2) / 2


def turned(p):
    turn = np.deg2rad(-45)
    c, s = np.cos(turn), np.sin(turn)
    return ravine([c * p[0] - s * p[1], s * p[0] + c * p[1]])


def losses_in_torch(page):
    moons = two_moons(page)
    return {
        "ravine": ravine,
        "turned_ravine": turned,
        "rosenbrock": lambda p: (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2,
        "saddle": lambda p: p[0] ** 2 / 2 + (p[1] ** 2 - 1) ** 2 / 4,
        "noisy_bowl": lambda p: p.square().sum() / 2,
        "beale": lambda p: (
            (1.5 - p[0] + p[0] * p[1]) ** 2
            + (2.25 - p[0] + p[0] * p[1] ** 2) ** 2
            + (2.625 - p[0] + p[0] * p[1] ** 3) ** 2
        ),
        "net": lambda w: net_loss(w, moons),
    }


EVALUATE = """([surface, points, step]) => points.map((point) => {
  const { loss, gradient } = module.SURFACES[surface].evaluate(point, step);
  return [loss, [...gradient]];
})"""


def test_losses_and_gradients_are_those_of_autograd(bench):
    page = bench.mount(OptimizerPlayground(playing=False))
    generator = torch.Generator().manual_seed(0)
    noise = page.evaluate(EVALUATE, ["noisy_bowl", [[0, 0]], 7])[0][1]
    expected = losses_in_torch(page)
    assert tuple(expected) == SURFACES
    for surface, loss in expected.items():
        size = 33 if surface == "net" else 2
        points = 2 * torch.randn(
            9, size, generator=generator, dtype=torch.float64
        ).requires_grad_(True)
        seen = page.evaluate(EVALUATE, [surface, points.tolist(), 7])
        for point, (value, gradient) in zip(points, seen, strict=True):
            (by_torch,) = torch.autograd.grad(loss(point), point)
            if surface == "noisy_bowl":
                by_torch = by_torch + torch.tensor(noise, dtype=torch.float64)
            assert value == pytest.approx(loss(point).item(), rel=1e-11), surface
            assert gradient == pytest.approx(by_torch.tolist(), rel=1e-9, abs=1e-11)
        minima = page.evaluate("name => module.SURFACES[name].minima ?? []", surface)
        assert [v for v, _ in page.evaluate(EVALUATE, [surface, minima, 0])] == [0] * (
            len(minima)
        )


def test_the_noise_of_the_bowl_is_normal_and_the_same_for_all(bench):
    page = bench.mount(OptimizerPlayground(playing=False))
    noise = page.evaluate(
        """Array.from({ length: 1000 }, (_, step) =>
             module.noisyBowl([3, -2], step).gradient)"""
    )
    noise = np.array(noise) - [3, -2]
    assert noise.mean(axis=0) == pytest.approx([0, 0], abs=0.1)
    assert np.cov(noise.T) == pytest.approx(np.eye(2), abs=0.1)
    again = page.evaluate("module.noisyBowl([0, 0], 5).gradient")
    assert again == pytest.approx(noise[5].tolist())


class UncorrectedAdam(torch.optim.Optimizer):
    """Adam's two averages as they are; kept apart from the class under test."""

    def __init__(self, params, lr, betas, eps):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                m, v = state.get("m", 0 * p), state.get("v", 0 * p)
                beta1, beta2 = group["betas"]
                state["m"] = m = m.lerp(p.grad, 1 - beta1)
                state["v"] = v = v.lerp(p.grad**2, 1 - beta2)
                p -= group["lr"] * m / (v.sqrt() + group["eps"])


def torch_optimizer(name, w, lr, beta1, beta2, eps):
    betas = (beta1, beta2)
    return {
        "sgd": lambda: torch.optim.SGD([w], lr),
        "momentum": lambda: torch.optim.SGD([w], lr, momentum=beta1),
        "adagrad": lambda: torch.optim.Adagrad([w], lr, eps=eps),
        "rmsprop": lambda: torch.optim.RMSprop([w], lr, alpha=beta2, eps=eps),
        "adam": lambda: torch.optim.Adam([w], lr, betas, eps),
        "adam_uncorrected": lambda: UncorrectedAdam([w], lr, betas, eps),
        "lion": lambda: Lion([w], lr, betas=betas, weight_decay=0.0),
    }[name]()


UNUSUAL = {
    "turned_ravine": {"lr": 0.07, "beta1": 0.37, "beta2": 0.9999, "eps": 1e-2},
    "beale": {"lr": 0.003, "beta1": 0.99, "beta2": 0.0, "eps": 1e-10},
    "net": {"lr": 0.11, "beta1": 0.63, "beta2": 0.93, "eps": 1e-5},
}


def test_every_path_is_that_of_torch(bench):
    page = bench.mount(OptimizerPlayground(playing=False))
    all_losses = losses_in_torch(page)
    for surface, name in itertools.product(UNUSUAL, OPTIMIZERS):
        loss, hyper = all_losses[surface], UNUSUAL[surface]
        start, seen_points, seen_losses = page.evaluate(
            """([surface, name, hyper]) => {
              const run = module.startRun(surface, name, hyper);
              module.advance(run, 20); // in two parts: a run can be gone on with
              module.advance(run, 55);
              return [module.SURFACES[surface].start,
                      run.points.map((point) => [...point]), run.losses];
            }""",
            [surface, name, hyper],
        )
        w = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        optimizer = torch_optimizer(name, w, **hyper)
        points, losses = [], []
        for _ in range(56):
            optimizer.zero_grad()
            value = loss(w)
            points.append(w.tolist())
            losses.append(value.item())
            value.backward()
            optimizer.step()
        close = {"rtol": 1e-6, "atol": 1e-8, "err_msg": f"{name} on {surface}"}
        np.testing.assert_allclose(seen_points, points, **close)
        np.testing.assert_allclose(seen_losses, losses, **close)


# The loss that every optimizer comes below with its best lr, at some step.
REACHED = {
    "ravine": 1e-4,
    "turned_ravine": 1e-3,
    "rosenbrock": 2.0,
    "saddle": 1e-3,
    "noisy_bowl": 0.05,
    "beale": 0.02,
    "net": 0.02,
}


def test_the_best_lrs_converge_and_are_the_best_of_the_grid(bench):
    page = bench.mount(OptimizerPlayground(playing=False))
    for surface, reached in REACHED.items():
        lrs = page.evaluate("name => module.SURFACES[name].lrs", surface)
        assert tuple(lrs) == OPTIMIZERS
        for name, lr in lrs.items():
            losses, seen, others = page.evaluate(
                """([surface, name, lr]) => {
                  const run = module.startRun(surface, name, {...module.TUNED_AT, lr});
                  module.advance(run, module.STEPS);
                  const tried = surface === "net" ? [lr / 3, lr * 3]
                    : [module.tune(surface, name)];
                  return [run.losses, module.score(surface, name, lr),
                    tried.map((other) => module.score(surface, name, other))];
                }""",
                [surface, name, lr],
            )
            assert len(losses) == 401
            assert min(losses) < reached, (surface, name)
            assert losses[-1] < 0.25 * losses[0], (surface, name)
            assert all(seen <= other + 0.01 for other in others), (surface, name)


def test_turning_the_ravine_changes_only_those_with_a_rate_for_each_coordinate(bench):
    page = bench.mount(OptimizerPlayground(playing=False))
    first = page.evaluate(
        """Object.keys(module.OPTIMIZERS).map((name) =>
             ["ravine", "turned_ravine"].map((surface) =>
               module.advance(module.startRun(surface, name,
                 {...module.TUNED_AT, lr: 0.2}), 50).losses[50]))"""
    )
    same = {
        name: straight == pytest.approx(turned, rel=1e-6)
        for name, (straight, turned) in zip(OPTIMIZERS, first, strict=True)
    }
    assert [name for name in same if same[name]] == ["sgd", "momentum"]


def test_level_lines_are_closed_and_on_the_level(bench):
    page = bench.mount(OptimizerPlayground("net", playing=False, step=50))
    circle = page.evaluate(
        """() => {
          const view = [[-2, 2], [-1, 1]];
          const grid = module.sample((x, y) => x * x + y * y, view, 80, 60);
          return module.levelLines(grid, 0.64);
        }"""
    )
    assert len(circle) == 1
    radii = np.hypot(*np.array(circle[0]).T)
    np.testing.assert_allclose(radii, 0.8, atol=2e-3)
    steps = np.diff([*circle[0], circle[0][0]], axis=0)
    assert np.hypot(*steps.T).max() < 0.1  # closed: the last is beside the first
    two = page.evaluate(
        """() => {
          const well = (x, y) => module.SURFACES.saddle.evaluate([x, y], 0).loss;
          const grid = module.sample(well, [[-2, 2], [-2, 2]], 60, 60);
          return [0.2, 0.3].map((level) => module.levelLines(grid, level).length);
        }"""
    )
    assert two == [2, 1]  # below and above the saddle's 1/4


def test_a_net_is_drawn_where_its_logit_changes_sign(bench):
    page = bench.mount(OptimizerPlayground(playing=False))
    on_line, everywhere = page.evaluate(
        """() => {
          const hyper = { ...module.TUNED_AT, lr: 0.1 };
          const run = module.startRun("net", "adam", hyper);
          const w = module.advance(run, 100).points[100];
          const f = (x, y) => module.logit(w, x, y);
          const grid = module.sample(f, [[-1, 2], [-1, 1]], 36, 30);
          const inside = ([x, y]) => -1 < x && x < 2 && -1 < y && y < 1;
          const line = module.levelLines(grid, 0).flat().filter(inside);
          const all = [...grid.values].filter((v) => v < 1e6); // without the rim
          return [line.map(([x, y]) => f(x, y)), all];
        }"""
    )
    assert len(on_line) > 20
    assert np.abs(on_line).max() < 0.05 * np.abs(everywhere).max()
