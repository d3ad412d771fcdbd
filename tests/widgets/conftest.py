"""A bare page in a real browser, with a model that stands in for JupyterLab's."""

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


class Bench:
    """A page that shows one widget with the state its Python side really has."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def mount(self, widget: Any, *, live: bool = True) -> Any:
        def to_kernel(content: Any) -> Any:
            widget._handle_custom_msg(content, [])
            return plain_state(widget)

        if live:
            self.page.expose_function("toKernel", to_kernel)
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


@pytest.fixture
def bench(browser: Any) -> Iterator[Bench]:
    context = browser.new_context(viewport={"width": 1040, "height": 900})
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else 0)
    page.on("pageerror", lambda e: complaints.append(str(e)))
    html = (
        "<!doctype html><html lang=en><title>widget</title>"
        "<style>@media (prefers-color-scheme: dark)"
        "{:root{color-scheme:dark}body{background:#121212;color:#fff}}</style>"
        "<main><h1>Lesson</h1></main>"
    )

    def serve(route: Any) -> None:
        if route.request.url == f"{ORIGIN}/":
            route.fulfill(body=html, content_type="text/html")
        else:
            complaints.append(f"asked for {route.request.url}")
            route.abort()

    context.route("http*://**/*", serve)
    page.goto(f"{ORIGIN}/")
    yield Bench(page)
    context.close()
    assert complaints == []
