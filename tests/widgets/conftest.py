"""A bare page in a real browser, with a model that stands in for JupyterLab's."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

ORIGIN = "http://widgets.test"

# What a widget needs of a model: get, set, save_changes, send, on, off.
MODEL = """
class Model {
  constructor(state) {
    this.state = state;
    this.handlers = new Map();
    this.saved = 0;
  }
  get(name) { return this.state[name]; }
  set(name, value) {
    if (this.state[name] === value) return;
    this.state[name] = value;
    for (const handler of this.handlers.get("change:" + name) ?? []) handler();
  }
  on(event, handler) {
    this.handlers.set(event, [...(this.handlers.get(event) ?? []), handler]);
  }
  off(event, handler) {
    this.handlers.set(event, this.handlers.get(event).filter((h) => h !== handler));
  }
  save_changes() {
    if (!this.live) throw new Error("no comm");
    this.saved += 1;
  }
  send(content) {
    if (!this.live) throw new Error("no comm");
    window.toKernel(content).then((state) => {
      for (const name in state) this.state[name] = state[name];
      for (const handler of this.handlers.get("change:attempts") ?? []) handler();
    });
  }
}
"""

MOUNT = (
    "async ({ state, live }) => {"
    + MODEL
    + """
  const style = document.createElement("style");
  style.textContent = state._css;
  document.head.append(style);
  const el = document.createElement("div");
  document.querySelector("main").append(el);
  const model = Object.assign(new Model(state), { live });
  const url = URL.createObjectURL(new Blob([state._esm], { type: "text/javascript" }));
  const module = await import(url);
  const cleanup = module.default.render({ model, el });
  Object.assign(window, { model, module, cleanup, el });
}"""
)

PAGE = (
    "<!doctype html><html lang=en><title>widget</title>"
    "<style>@media (prefers-color-scheme: dark)"
    "{:root{color-scheme:dark}body{background:#121212;color:#fff}}</style>"
    "<main><h1>Lesson</h1></main>"
)


class Bench:
    """A page that shows one widget with the state its Python side really has."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.widget: Any = None
        self.page.expose_function("toKernel", self.to_kernel)

    def to_kernel(self, content: Any) -> Any:
        self.widget._handle_custom_msg(content, [])
        return plain_state(self.widget)

    def mount(self, widget: Any, *, live: bool = True) -> Any:
        self.widget = widget if live else None
        self.page.evaluate(MOUNT, {"state": plain_state(widget), "live": live})
        return self.page

    def has_all_labels(self) -> bool:
        """Whether no text of a panel is cut off at its left or right edge."""
        whole: bool = self.page.evaluate(
            """() => [...document.querySelectorAll(".mlopt-panels svg")].every(svg => {
                 const box = svg.getBoundingClientRect();
                 return [...svg.querySelectorAll("text")].every((text) => {
                   const at = text.getBoundingClientRect();
                   const cut = at.left < box.left - 1 || at.right > box.right + 1;
                   return !at.width || !cut;
                 });
               })"""
        )
        return whole

    def trait(self, name: str) -> Any:
        return self.page.evaluate("name => model.get(name)", name)


def plain_state(widget: Any) -> dict[str, Any]:
    return {k: v for k, v in widget.get_state().items() if k != "layout"}


@contextlib.contextmanager
def watched(bench: Bench) -> Iterator[Bench]:
    """Begin with an empty page; fail if it complains, or asks for anything else."""
    page, complaints = bench.page, []

    def hear(message: Any) -> None:
        if message.type == "error":
            complaints.append(message.text)

    def hear_error(error: Any) -> None:
        complaints.append(str(error))

    def serve(route: Any) -> None:
        if route.request.url == f"{ORIGIN}/":
            route.fulfill(body=PAGE, content_type="text/html")
        else:
            complaints.append(f"asked for {route.request.url}")
            route.abort()

    # What outlives the document is put back to what a new tab has.
    page.set_viewport_size({"width": 1040, "height": 900})
    page.emulate_media(color_scheme="light", reduced_motion="no-preference")
    page.mouse.move(0, 0)
    page.on("console", hear)
    page.on("pageerror", hear_error)
    page.route("http*://**/*", serve)
    page.goto(f"{ORIGIN}/")
    yield bench
    page.goto("about:blank")
    page.unroute_all()
    page.remove_listener("pageerror", hear_error)
    page.remove_listener("console", hear)
    assert complaints == []


@pytest.fixture(scope="session")
def shared_bench(browser: Any) -> Iterator[Bench]:
    """One tab for many tests: to open a window costs more than most of them."""
    context = browser.new_context()
    yield Bench(context.new_page())
    context.close()


@pytest.fixture
def bench(shared_bench: Bench) -> Iterator[Bench]:
    with watched(shared_bench):
        yield shared_bench


@pytest.fixture
def own_bench(browser: Any) -> Iterator[Bench]:
    """A tab that no other test sees, whose clock may stand still for good."""
    context = browser.new_context()
    with watched(Bench(context.new_page())) as bench:
        yield bench
    context.close()
