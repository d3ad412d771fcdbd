import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div
from traitlets import TraitError

from mlopt_edu.distillation import soft_target_loss
from mlopt_edu.widgets import SoftTargets

TEACHER = [6.0, 4.0, 2.0, -1.0, -4.0]

# --- the Python side ---------------------------------------------------------------


@pytest.mark.parametrize("name", SoftTargets.RANGES)
def test_ends_of_a_range_are_allowed_and_nothing_beyond(name):
    for end in SoftTargets.RANGES[name]:
        assert getattr(SoftTargets(**{name: end}), name) == end
    low, high = SoftTargets.RANGES[name]
    for beyond in (low - 1, high + 1):
        with pytest.raises(TraitError, match=rf"^{name} must be in \[.*\], got "):
            SoftTargets(**{name: beyond})


@pytest.mark.parametrize(
    "logits", [[1.0], [0.0] * 13, [0.0, float("nan")], [0.0, -51.0]]
)
def test_logits_that_cannot_be_drawn_are_refused(logits):
    with pytest.raises(TraitError, match=r"^teacher_logits must be 2 to 12 numbers"):
        SoftTargets(logits)


def test_every_class_has_a_name():
    assert SoftTargets([1, 2, 3]).names == ["class 0", "class 1", "class 2"]
    assert SoftTargets(np.array([1.0, 2.0]), names=("no", "yes")).names == ["no", "yes"]
    with pytest.raises(TraitError, match="names must be as many as the logits, 2, got"):
        SoftTargets([1, 2], names=["one"])


# --- the mathematics in JavaScript -------------------------------------------------


def by_autograd(teacher, loss, steps):
    """The logits of a student that descends from 0 with step size 1."""
    v = torch.tensor([teacher], dtype=torch.float64)
    z = torch.zeros_like(v)
    path = [z.squeeze(0).tolist()]
    for _ in range(steps):
        z = z.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(z, v), z)
        z = (z - gradient).detach()
        path.append(z.squeeze(0).tolist())
    return path


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_the_students_are_those_of_the_library(bench, temperature):
    page = bench.mount(SoftTargets(TEACHER))
    paths = page.evaluate(
        "settings => module.students(settings, 40)",
        {"teacher": TEACHER, "temperature": temperature},
    )

    def squared(z, v):
        return soft_target_loss(z, v, temperature=temperature)

    expected = {
        "squared": squared,
        "plain": lambda z, v: squared(z, v) / temperature**2,
        "label": lambda z, v: cross_entropy(z, v.argmax(1)),
    }
    for name, loss in expected.items():
        np.testing.assert_allclose(
            paths[name], by_autograd(TEACHER, loss, 40), atol=1e-9
        )


def test_the_divergence_is_that_of_torch_and_survives_large_logits(bench):
    page = bench.mount(SoftTargets())
    pairs = [
        ([6, 4, 2], [0, 1, 0], 1),
        ([50, -50], [-50, 50], 0.5),
        ([3, 3], [3, 3], 4),
    ]
    for v, z, temperature in pairs:
        p, q = (torch.tensor(x, dtype=torch.float64) / temperature for x in (v, z))
        log_p, log_q = p.log_softmax(0), q.log_softmax(0)
        expected = kl_div(log_q, log_p, reduction="sum", log_target=True)
        found = page.evaluate("a => module.divergence(...a)", [v, z, temperature])
        assert found == pytest.approx(expected.item(), abs=1e-9)


def test_without_the_factor_the_gradient_fades_like_one_over_t_squared(bench):
    page = bench.mount(SoftTargets())
    sizes = page.evaluate(
        """teacher => [10, 20].flatMap(T => [true, false].map(squared => module.length(
             module.softGradient(teacher, [0, 0, 0, 0, 0], T, squared))))""",
        TEACHER,
    )
    assert sizes[2] / sizes[0] == pytest.approx(1, abs=0.1)
    assert sizes[3] / sizes[1] == pytest.approx(1 / 4, abs=0.03)


# --- what the learner sees ---------------------------------------------------------


def test_the_words_follow_the_settings(bench):
    page = bench.mount(SoftTargets(TEACHER, temperature=10))
    status = page.locator(".mlopt-status")
    assert "It has learnt" in status.inner_text()
    page.evaluate("model.set('squared', false)")
    assert "It has learnt" not in status.inner_text()
    assert "After 20 steps without T²" in status.inner_text()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"teacher_logits": [0.0, 0.0], "temperature": 0.5},
        {"teacher_logits": [50.0, -50.0] * 6, "names": ["T-shirt"] * 12, "steps": 200},
        {"temperature": 20, "squared": False, "steps": 0},
    ],
)
def test_it_draws_numbers_only_and_cuts_no_label(bench, settings):
    page = bench.mount(SoftTargets(**settings))
    card = page.locator(".mlopt-card").evaluate("e => e.outerHTML")
    assert not any(bad in card for bad in ("NaN", "undefined", "Infinity"))
    assert bench.has_all_labels()


def test_the_controls_work_by_keyboard(bench):
    page = bench.mount(SoftTargets(TEACHER, temperature=4))
    bar = page.locator("rect.mlopt-bar-teacher").first
    before = bar.get_attribute("width")
    page.get_by_role("slider", name="Temperature").press("ArrowRight")
    assert bench.trait("temperature") > 4
    assert float(bar.get_attribute("width")) < float(before)
    page.get_by_role("slider", name="Steps").press("ArrowRight")
    page.get_by_role("checkbox", name="Factor").press("Space")
    assert (bench.trait("steps"), bench.trait("squared")) == (21, False)
    page.get_by_role("button", name="Reset").press("Enter")
    assert (bench.trait("steps"), bench.trait("squared")) == (20, True)
    assert bar.get_attribute("width") == before
