"""Prediction and Quiz: what Python holds, and what the browser shows."""

import json
from types import SimpleNamespace

import ipywidgets
import pytest
from traitlets import TraitError

from mlopt_edu.widgets import LossSurface, Prediction, Quiz

GUESSES = ["It grows", "It shrinks by `1/2`", "It jumps <b>for ever</b>"]


def prediction(**options):
    return Prediction("What happens at `lr = 2.2`?", GUESSES, **options)


def quiz(check=None):
    def secret(key):
        why = f"The reason is {'SECRET' if key == 'b' else 'another one'}: `2/L`."
        return SimpleNamespace(passed=key == "b", message=why)

    options = {"2": "first", "b": "second", "1": "third"}
    return Quiz("Which <i>bound</i>?", options, check or secret)


# --- Prediction --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((3, GUESSES), TypeError, "question and reveal must be strings"),
        (("q", "abc"), TypeError, "options must be a list of strings"),
        (("q", ["a", 1]), TypeError, "options must be a list of strings"),
        ((" ", GUESSES), ValueError, "question must say what to predict"),
        (("q", ["a"]), ValueError, "at least two different texts"),
        (("q", ["a", "a"]), ValueError, "at least two different texts"),
        (("q", ["a", ""]), ValueError, "at least two different texts"),
    ],
)
def test_prediction_refuses(arguments, error, says):
    with pytest.raises(error, match=says):
        Prediction(*arguments)


def test_choice_must_be_an_option():
    with pytest.raises(TraitError, match="choice must be one of"):
        prediction().choice = "something else"


def test_unlocks_locks_first_and_links_in_the_browser():
    guess, surface = prediction(), LossSurface()
    guess.unlocks(surface)
    assert not surface.unlocked
    link = list(ipywidgets.widgets.widget._instances.values())[-1]
    assert link.get_state(["_model_name", "source", "target"]) == {
        "_model_name": "DirectionalLinkModel",
        "source": [f"IPY_MODEL_{guess.model_id}", "committed"],
        "target": [f"IPY_MODEL_{surface.model_id}", "unlocked"],
    }
    with pytest.raises(TypeError, match="must have a trait named unlocked"):
        guess.unlocks(ipywidgets.IntSlider())
    with pytest.raises(TypeError, match="must have a trait named unlocked"):
        guess.unlocks("surface")


def test_a_guess_is_committed_once_by_keyboard_and_then_frozen(bench):
    page = bench.mount(prediction(reveal="It *grows* by `1.2 * 3 * 4`."))
    button = page.get_by_role("button", name="Commit my guess")
    assert button.is_disabled()
    assert page.get_by_text("What really happens").is_hidden()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert bench.trait("choice") == GUESSES[1]
    assert bench.trait("committed") is True
    assert page.get_by_role("radio").nth(1).is_checked()
    assert page.locator("input:enabled").count() == 0
    assert button.is_hidden()
    said = page.get_by_role("status").inner_text()
    assert said.startswith("You predicted: It shrinks by 1/2. Keep it in mind")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "status"
    page.get_by_text("What really happens").click()
    assert page.get_by_text("It grows by 1.2 * 3 * 4.").is_visible()
    assert page.locator("details code").inner_text() == "1.2 * 3 * 4"
    assert page.locator("details em").inner_text() == "grows"


def test_a_restored_guess_shows_without_a_kernel(bench):
    guess = prediction()
    guess.choice, guess.committed = GUESSES[0], True
    page = bench.mount(guess, live=False)
    assert "You predicted: It grows." in page.get_by_role("status").inner_text()
    assert page.get_by_role("radio").first.is_checked()
    assert page.get_by_text(
        "What really happens"
    ).is_hidden()  # there is nothing to tell


def test_committing_without_a_kernel_works(bench):
    page = bench.mount(prediction(), live=False)
    page.get_by_role("radio").first.check()
    page.get_by_role("button").click()
    assert bench.trait("committed") is True


def test_arrow_keys_do_not_reach_the_notebook(bench):
    listen = "() => document.addEventListener('keydown', () => { window.out = 1; })"
    bench.page.evaluate(listen)
    for widget in (prediction(), quiz()):
        page = bench.mount(widget, live=False)
        page.get_by_role("radio").last.press("ArrowDown")
    assert page.evaluate("window.out") is None


def test_texts_are_text_and_never_html(bench):
    page = bench.mount(prediction(reveal="<img src=x onerror=alert(1)>"))
    assert page.get_by_text("It jumps <b>for ever</b>").is_visible()
    assert page.locator("b, img").count() == 0


# --- Quiz --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((3, {"a": "x", "b": "y"}, print), TypeError, "question must be a string"),
        (("q", ["a", "b"], print), TypeError, "options must map keys to texts"),
        (("q", {1: "x", 2: "y"}, print), TypeError, "options must map keys to texts"),
        (("q", {"a": "x", "b": "y"}, "b"), TypeError, "check must be callable"),
        (("", {"a": "x", "b": "y"}, print), ValueError, "question must ask"),
        (("q", {"a": "x"}, print), ValueError, "at least two"),
    ],
)
def test_quiz_refuses(arguments, error, says):
    with pytest.raises(error, match=says):
        Quiz(*arguments)


def test_nothing_of_the_answer_is_in_the_state_before_it_is_asked_for():
    state = quiz().get_state()
    shown = {k: v for k, v in state.items() if k not in ("_esm", "_css", "layout")}
    assert "SECRET" not in json.dumps(shown)
    untouched = (state["choice"], state["passed"], state["message"], state["attempts"])
    assert untouched == ("", False, "", 0)


def test_the_learner_checks_reads_why_and_tries_again(bench):
    page = bench.mount(quiz())
    button, verdict = (
        page.get_by_role("button", name="Check"),
        page.get_by_role("status"),
    )
    assert button.is_disabled()
    options = page.locator(".mlopt-option").all_inner_texts()
    assert options == ["first", "second", "third"]  # the author's order
    page.get_by_label("first").check()
    button.click()
    page.get_by_text("✗ Not yet. The reason is another one: 2/L.").wait_for()
    page.get_by_label("second").check()
    assert verdict.inner_text() == ""
    button.click()
    page.get_by_text("✓ Right. The reason is SECRET: 2/L.").wait_for()
    assert (bench.trait("choice"), bench.trait("attempts")) == ("b", 2)
    button.click()  # the same answer again: still an answer
    page.wait_for_function("model.get('attempts') === 3")
    assert verdict.inner_text().startswith("✓ Right.")


def test_a_check_that_raises_is_reported_where_it_was_asked(bench):
    def broken(key):
        raise KeyError(key)

    page = bench.mount(quiz(broken))
    page.get_by_label("first").check()
    page.get_by_role("button").click()
    page.get_by_text("The check could not run: KeyError: '2'").wait_for()


def test_messages_that_ask_nothing_sensible_are_ignored():
    asked = []
    widget = quiz(asked.append)
    for content in ({"check": "zzz"}, {"check": ["b"]}, {}, "b", None):
        widget._handle_custom_msg(content, [])
    assert (asked, widget.attempts) == ([], 0)


@pytest.mark.parametrize("marked", [True, False])
def test_quiz_without_a_kernel_says_what_to_do(bench, marked):
    page = bench.mount(quiz(), live=False)
    if marked:  # the class that the ipywidgets view has when its comm is gone
        page.evaluate("() => { el.classList.add('jupyter-widgets-disconnected'); }")
    page.get_by_label("first").check()
    page.get_by_role("button").click()
    told = page.get_by_role("status").inner_text()
    assert told == "Start the kernel and run this cell to check."
