// A widget that draws panels over controls: what all of these share. Python puts this
// text in front of the mathematics and the picture of one widget.

const SVG = "http://www.w3.org/2000/svg";
const set = (node, attributes) => {
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  return node;
};
const svg = (parent, tag, attributes = {}, text = "") => {
  const node = set(document.createElementNS(SVG, tag), attributes);
  node.textContent = text;
  parent.append(node);
  return node;
};
const html = (parent, tag, className = "", text = "") => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.textContent = text;
  parent.append(node);
  return node;
};

const WIDTH = 460;
const HEIGHT = 392;
const BOTTOM = 340;
const TOP = 36;
const RIGHT = 438;

function frame(parent, id, left, xTitle, yTitle) {
  const root = svg(parent, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const box = { x: left, y: TOP, width: RIGHT - left, height: BOTTOM - TOP };
  svg(svg(root, "clipPath", { id }), "rect", box);
  svg(root, "rect", { ...box, class: "mlopt-panel" });
  const grid = svg(root, "g");
  const clipped = svg(root, "g", { "clip-path": `url(#${id})` });
  svg(root, "rect", { ...box, class: "mlopt-frame" });
  const middle = (TOP + BOTTOM) / 2;
  svg(root, "text", { x: (left + RIGHT) / 2, y: HEIGHT - 10, class: "mlopt-axis" }, xTitle);
  svg(root, "text",
    { x: 18, y: middle, class: "mlopt-axis", transform: `rotate(-90 18 ${middle})` }, yTitle);
  return { root, grid, clipped };
}

// Tick lines and labels are made once; `place` moves those in use and hides the rest.
function ticks(grid, number, { vertical, left }) {
  const made = Array.from({ length: number }, () => {
    const group = svg(grid, "g");
    const ends = vertical ? { y1: TOP, y2: BOTTOM } : { x1: left, x2: RIGHT };
    const line = svg(group, "line", { ...ends, class: "mlopt-grid" });
    const spot = vertical ? { y: BOTTOM + 19, "text-anchor": "middle" }
      : { x: left - 8, "text-anchor": "end" };
    return { group, line, label: svg(group, "text", spot) };
  });
  return function place(list) {
    made.forEach(({ group, line, label }, i) => {
      group.style.display = i < list.length ? "" : "none";
      if (i >= list.length) return;
      const [at, text] = list[i];
      set(line, vertical ? { x1: at, x2: at } : { y1: at, y2: at });
      set(label, vertical ? { x: at } : { y: at + 5 });
      label.textContent = text;
    });
  };
}

const join = (points) => "M" + points.map((p) => p.join(" ")).join("L");
const dots = (points) => points.map((p) => `M${p.join(" ")}h0`).join(""); // round caps

// --- numbers in words ----------------------------------------------------------------

const plain = (value) => {
  const rounded = value.toFixed(2);
  return Math.abs(rounded - value) < 1e-9 ? rounded : String(+value.toFixed(4));
};
const count = (n, noun = "step") => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
const superscript = (n) => String(n).replace(/./g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));
const scientific = (value) => {
  if (value === 0 || (value >= 0.01 && value < 1000)) return String(+value.toPrecision(2));
  const [digits, exponent] = value.toExponential(1).split("e");
  return `${digits} × 10${superscript(+exponent)}`;
};
const power = (log) => (log === 0 ? "1" : log === 1 ? "10" : `10${superscript(log)}`);

// --- axes ----------------------------------------------------------------------------

// Round numbers from low to high, at most `most`.
function roundNumbers(low, high, most = 7) {
  const rough = (high - low) / most || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const every = [1, 2, 5, 10].map((m) => m * unit).find((d) => (high - low) / d <= most);
  const first = Math.ceil(low / every - 1e-9);
  const number = Math.floor(high / every + 1e-9) - first + 1;
  const digits = Math.max(0, -Math.floor(Math.log10(every) + 1e-9));
  return Array.from({ length: number }, (_, i) => {
    const value = (first + i) * every;
    return [value, value.toFixed(digits).replace("-", "−").replace(/^−(0\.?0*)$/, "$1")];
  });
}

// Powers of ten between two exponents, at most `most`.
function decades(low, high, most = 7) {
  const every = [1, 2, 5, 10, 20, 50, 100].find((d) => (high - low) / d <= most) ?? 1000;
  const first = Math.ceil(low / every) * every;
  const marks = [];
  for (let log = first; log <= high; log += every) marks.push([log, power(log)]);
  return marks;
}

// Lines over a common x axis. `series` names them; the i-th has colour and dashes of its
// own (class mlopt-line-i), or those of `theory`. A value that is not finite breaks a line.
function chart(parent, id, { xTitle, yTitle, series }) {
  const left = 72;
  const box = html(parent, "div", "mlopt-figure");
  const { root, grid, clipped } = frame(box, id, left, xTitle, yTitle);
  const placeX = ticks(grid, 12, { vertical: true, left });
  const placeY = ticks(grid, 12, { vertical: false, left });
  const key = html(box, "div", "mlopt-key");
  const made = series.map(({ name, theory }, i) => {
    const style = theory ? "mlopt-theory" : `mlopt-line mlopt-line-${i}`;
    const item = html(key, "span");
    const sample = svg(item, "svg", { viewBox: "0 0 30 8", "aria-hidden": "true" });
    svg(sample, "path", { d: "M0 4h30", class: style });
    const label = html(item, "span", "", name);
    return { item, label, path: svg(clipped, "path", { class: style }) };
  });

  const toX = (value, [low, high]) => left + ((RIGHT - left) * (value - low)) / (high - low);
  const toY = (value, [low, high]) => BOTTOM - ((BOTTOM - TOP) * (value - low)) / (high - low);

  // x, y: [low, high]; on a logarithmic axis (log: "x", "y" or "xy") exponents of ten.
  // lines: per series the points [x, y], in the same units; names: new names for the key.
  function draw({ x, y, log = "", lines, names = [], label }) {
    const marks = (axis, [low, high]) =>
      log.includes(axis) ? decades(low, high) : roundNumbers(low, high);
    placeX(marks("x", x).map(([value, text]) => [toX(value, x), text]));
    placeY(marks("y", y).map(([value, text]) => [toY(value, y), text]));
    made.forEach(({ item, label: text, path }, i) => {
      let d = "";
      let pen = "M";
      for (const [a, b] of lines[i] ?? []) {
        if (!Number.isFinite(a) || !Number.isFinite(b)) {
          pen = "M";
          continue;
        }
        const height = Math.min(Math.max(toY(b, y), -2e4), 2e4); // far outside is cut anyway
        d += `${pen}${toX(a, x).toFixed(2)} ${height.toFixed(2)}`;
        pen = "L";
      }
      set(path, { d });
      item.hidden = !d;
      if (names[i] !== undefined) text.textContent = names[i];
    });
    root.setAttribute("aria-label", label);
  }
  return { root, clipped, draw, toX, toY };
}

// --- controls ------------------------------------------------------------------------

// One control a trait. A range: {label, min, max, step, show, say}, with toValue and
// toPosition where the slider's position is not the value. A list: {label, choices:
// {value: text}}. A switch: {label, toggle: true}. A button: {label, press: old => new}.
function controls(parent, id, title, specs, onInput, onRelease) {
  const fieldset = html(parent, "fieldset", "mlopt-controls");
  html(fieldset, "legend", "mlopt-hidden", title);
  const made = {};
  for (const [name, spec] of Object.entries(specs)) {
    const control = html(fieldset, "div", "mlopt-control");
    const build = spec.press ? button : spec.choices ? list : spec.toggle ? toggle : range;
    made[name] = { control, ...build(control, spec, name) };
  }

  function labelled(control, spec, tag, name) {
    const label = html(control, "label", "", spec.label);
    const shown = html(control, "span", "mlopt-value");
    const input = html(control, tag);
    input.id = label.htmlFor = `${id}-${name}`;
    input.addEventListener("change", onRelease);
    return { input, shown };
  }
  function range(control, spec, name) {
    const { toValue = (p) => p, toPosition = (v) => v, show = String, say = show } = spec;
    const { input, shown } = labelled(control, spec, "input", name);
    input.className = "mlopt-slider";
    Object.assign(input, { type: "range", min: spec.min, max: spec.max, step: spec.step });
    input.addEventListener("input", () => onInput(name, toValue(+input.value)));
    return {
      input,
      draw(value) {
        const position = toPosition(value);
        if (document.activeElement !== input || Math.abs(input.value - position) > 1e-9)
          input.value = position;
        shown.textContent = show(value);
        input.setAttribute("aria-valuetext", say(value));
      },
    };
  }
  function list(control, spec, name) {
    const { input } = labelled(control, spec, "select", name);
    input.className = "mlopt-select";
    for (const [value, text] of Object.entries(spec.choices))
      Object.assign(html(input, "option", "", text), { value });
    input.addEventListener("input", () => onInput(name, input.value));
    return { input, draw: (value) => (input.value = value) };
  }
  function toggle(control, spec, name) {
    const { input } = labelled(control, spec, "input", name);
    Object.assign(input, { type: "checkbox", className: "mlopt-toggle" });
    input.addEventListener("input", () => onInput(name, input.checked));
    return { input, draw: (value) => (input.checked = value) };
  }
  function button(control, spec, name) {
    const input = html(control, "button", "mlopt-button mlopt-quiet", spec.label);
    input.type = "button";
    let value;
    input.addEventListener("click", () => {
      onInput(name, spec.press(value));
      onRelease();
    });
    return { input, draw: (now) => (value = now) };
  }
  function draw(settings) {
    for (const name in made) made[name].draw(settings[name]);
  }
  return { fieldset, made, draw };
}

// --- the widget ----------------------------------------------------------------------

const SYMBOL = { converges: "✓", diverges: "✗", edge: "◆" };
const LOCKED = "Commit to your prediction above first; then the controls unlock.";

// `build({panels, id, model, change, save, made})` makes the panels once and returns
// draw(settings), which redraws them and returns {kind, verdict, text}: green, red or
// blue, a word or two, and a sentence. It may have a `stop` that ends what it started.
function panelWidget({ label, specs, note, build }) {
  function render({ model, el }) {
    el.classList.add("mlopt-widget");
    // JupyterLab takes the arrow keys for its cells unless they stay inside the widget.
    el.addEventListener("keydown", (event) => event.stopPropagation());
    const id = "mlopt-" + Math.random().toString(36).slice(2); // a page may show two views
    const card = html(el, "div", "mlopt-card");
    card.setAttribute("role", "group"); // not a landmark: a lesson has many
    card.setAttribute("aria-label", label);
    const locked = html(card, "p", "mlopt-locked");
    locked.setAttribute("role", "status");
    const panels = html(card, "div", "mlopt-panels");
    const status = html(card, "p", "mlopt-status");
    status.setAttribute("role", "status");
    const verdict = html(status, "strong");
    const text = html(status, "span");
    const panel = controls(card, id, `Controls: ${label}`, specs, change, save);
    const foot = html(card, "div", "mlopt-foot");
    html(foot, "span", "mlopt-note", note);
    const reset = html(foot, "button", "mlopt-button mlopt-quiet", "Reset");
    reset.type = "button";
    const picture = build({ panels, id, model, change, save, made: panel.made });

    let pending;
    function save() {
      clearTimeout(pending);
      try {
        model.save_changes();
      } catch {
        // no kernel: the picture needs none
      }
    }
    function change(name, value) {
      model.set(name, value); // draws, through the change event
      clearTimeout(pending);
      pending = setTimeout(save, 250); // the kernel hears of a pause, not of every pixel
    }
    function draw() {
      const settings = {};
      for (const name in specs) settings[name] = model.get(name);
      const words = picture(settings);
      panel.draw(settings);
      status.dataset.kind = words.kind;
      verdict.textContent = `${SYMBOL[words.kind]} ${words.verdict}. `;
      text.textContent = words.text;
    }
    function lock() {
      const open = model.get("unlocked");
      panel.fieldset.disabled = reset.disabled = !open;
      card.classList.toggle("mlopt-is-locked", !open);
      locked.textContent = open ? "" : LOCKED;
    }
    reset.addEventListener("click", () => {
      const initial = model.get("_initial");
      for (const name in specs) model.set(name, initial[name]);
      save();
    });
    const names = Object.keys(specs).map((name) => `change:${name}`);
    for (const name of names) model.on(name, draw);
    model.on("change:unlocked", lock);
    draw();
    lock();
    return () => {
      clearTimeout(pending);
      picture.stop?.();
      for (const name of names) model.off(name, draw);
      model.off("change:unlocked", lock);
    };
  }
  return { render };
}
