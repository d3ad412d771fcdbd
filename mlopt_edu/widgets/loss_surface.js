// The picture and the controls of LossSurface. Python puts gradient_descent.js in front.

// A slider shows `position`; the trait holds `value`.
const same = { toValue: (p) => p, toPosition: (v) => v };
const SLIDERS = {
  lr: {
    ...same, min: 0, max: 4, step: 0.01, label: "Step size lr",
    show: (v) => `${plain(v)} = ${plain((v * L) / 2)} × (2/L)`,
    say: (v) => `${plain(v)}, which is ${plain((v * L) / 2)} times 2 over L`,
  },
  condition_number: {
    min: 0, max: 100, step: 1, label: "Condition number κ",
    toValue: (p) => 10 ** (p / 50), toPosition: (v) => 50 * Math.log10(v),
    show: (v) => v.toPrecision(3), say: (v) => v.toPrecision(3),
  },
  momentum: {
    ...same, min: 0, max: 0.99, step: 0.01, label: "Momentum β", show: plain, say: plain,
  },
  steps: { ...same, min: 1, max: 200, step: 1, label: "Steps", show: String, say: count },
  start_x: {
    ...same, min: -3, max: 3, step: 0.05, label: "Start x", show: signed, say: spoken("x"),
  },
  start_y: {
    ...same, min: -2, max: 2, step: 0.05, label: "Start y", show: signed, say: spoken("y"),
  },
};
function signed(value) {
  return plain(value).replace("-", "−");
}
function spoken(name) {
  return (value) => `${name} = ${plain(value).replace("-", "minus ")}`;
}

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
const RIGHT = 442;

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

function surfacePanel(parent, id) {
  const left = 46;
  const { root, grid, clipped } = frame(parent, id, left, "x", "y");
  const scale = (BOTTOM - TOP) / 5.2;
  const [x0, y0] = [(left + RIGHT) / 2, (TOP + BOTTOM) / 2];
  const place = (x, y) => [x0 + scale * x, y0 - scale * y];
  ticks(grid, 7, { vertical: true, left })([-3, -2, -1, 0, 1, 2, 3].map((x) => [place(x, 0)[0], signed0(x)]));
  ticks(grid, 5, { vertical: false, left })([-2, -1, 0, 1, 2].map((y) => [place(0, y)[1], signed0(y)]));
  const degrees = (-TILT * 180) / Math.PI;
  const tilted = svg(clipped, "g", { transform: `translate(${x0} ${y0}) rotate(${degrees})` });
  const contours = Array.from({ length: 10 }, (_, i) =>
    svg(tilted, "ellipse", { ry: scale * 0.42 * (10 - i), class: "mlopt-contour" }));
    const line = svg(clipped, "path", { class: "mlopt-path" });
  const points = svg(clipped, "path", { class: "mlopt-dots" });
  svg(clipped, "path", { d: plus(x0, y0, 8), class: "mlopt-minimum" });
  const end = svg(clipped, "circle", { r: 6, class: "mlopt-end" });
  const start = svg(clipped, "circle", { r: 8, class: "mlopt-start" });

  const legend = svg(root, "g", { class: "mlopt-legend" });
  svg(legend, "circle", { cx: left + 9, cy: 18, r: 7, class: "mlopt-start" });
  svg(legend, "text", { x: left + 22, y: 23 }, "start");
  svg(legend, "circle", { cx: left + 88, cy: 18, r: 6, class: "mlopt-end" });
  const endLabel = svg(legend, "text", { x: left + 100, y: 23 });
  svg(legend, "path", { d: plus(left + 250, 18, 7), class: "mlopt-minimum" });
  svg(legend, "text", { x: left + 263, y: 23 }, "minimum");

  function draw({ condition_number }, path) {
    contours.forEach((ellipse) =>
      set(ellipse, { rx: ellipse.getAttribute("ry") * Math.sqrt(condition_number) }));
    let pixels = path.x.map((x, i) => place(x, path.y[i]));
    const lost = pixels.findIndex(([x, y]) => Math.hypot(x, y) > 2e4);
    if (lost >= 0) pixels = pixels.slice(0, lost + 1);
    set(line, { d: join(pixels) });
    set(points, { d: dots(pixels.slice(1)) });
    const [ex, ey] = pixels.at(-1);
    set(end, { cx: ex, cy: ey });
    endLabel.textContent = `after ${count(path.x.length - 1)}`;
    set(start, { cx: pixels[0][0], cy: pixels[0][1] });
  }

  // The pointer's position as (x, y) of the surface.
  function locate(event) {
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(root.getScreenCTM().inverse());
    return [(p.x - x0) / scale, (y0 - p.y) / scale];
  }
  return { root, draw, start, locate };
}
const signed0 = (n) => String(n).replace("-", "−");
const plus = (x, y, r) => `M${x - r} ${y}h${2 * r}M${x} ${y - r}v${2 * r}`;

const FLOOR = -16; // below 1e-16 the losses are rounding

function lossPanel(parent, id) {
  const left = 72;
  const { root, grid, clipped } = frame(parent, id, left, "step", "loss f(x, y), log scale");
  const placeX = ticks(grid, 9, { vertical: true, left });
  const placeY = ticks(grid, 10, { vertical: false, left });
  const theory = svg(clipped, "path", { class: "mlopt-theory" });
  const line = svg(clipped, "path", { class: "mlopt-path" });
  const points = svg(clipped, "path", { class: "mlopt-dots" });
  const legend = svg(root, "g", { class: "mlopt-legend" });
  svg(legend, "path", { d: `M${left} 18h26`, class: "mlopt-path" });
  svg(legend, "path", { d: `M${left + 13} 18h0`, class: "mlopt-dots" });
  svg(legend, "text", { x: left + 33, y: 23 }, "loss");
  svg(legend, "path", { d: `M${left + 88} 18h30`, class: "mlopt-theory" });
  const theoryLabel = svg(legend, "text", { x: left + 125, y: 23 });

  function draw(settings, path) {
    const { steps, momentum, condition_number } = settings;
    const logs = path.loss.map((loss) => Math.log10(Math.max(loss, 1e-20)));
    let [low, high] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs))];
    low = Math.min(Math.max(low, FLOOR), high - 2);
    const toX = (step) => left + ((RIGHT - left) * step) / steps;
    const toY = (log) => BOTTOM - ((BOTTOM - TOP) * (log - low)) / (high - low);

    const decades = [1, 2, 5, 10, 20, 50, 100].find((d) => (high - low) / d <= 7);
    const first = Math.ceil(low / decades) * decades;
    const marks = [];
    for (let log = first; log <= high; log += decades)
      marks.push([toY(log), log === 0 ? "1" : log === 1 ? "10" : `10${superscript(log)}`]);
    placeY(marks);
    const every = [1, 2, 5, 10, 20, 50].find((d) => steps / d <= 6);
    placeX(Array.from({ length: Math.floor(steps / every) + 1 }, (_, i) => [toX(i * every), i * every]));

    const pixels = logs.map((log, step) => [toX(step), toY(log)]);
    set(line, { d: join(pixels) });
    set(points, { d: steps <= 100 ? dots(pixels) : "" });
    const rate = Math.max(spectralRadius(settings, L), spectralRadius(settings, L / condition_number));
    const slope = 2 * Math.log10(Math.max(rate, 1e-10));
    set(theory, { d: `M${toX(0)} ${toY(logs[0])}L${toX(steps)} ${toY(logs[0] + slope * steps)}` });
    const bound = momentum ? "long-run rate" : "worst case";
    theoryLabel.textContent = `${bound}: × ${factor(rate * rate)} a step`;
  }
  return { root, draw };
}

function controls(parent, id, onInput, onRelease) {
  const fieldset = html(parent, "fieldset", "mlopt-controls");
  html(fieldset, "legend", "mlopt-hidden", "Controls of gradient descent");
  const sliders = {};
  const edge = document.createElement("div");
  edge.className = "mlopt-edge";
  const edgeText = html(edge, "span");
  for (const [name, spec] of Object.entries(SLIDERS)) {
    const control = html(fieldset, "div", "mlopt-control");
    const label = html(control, "label", "", spec.label);
    const shown = html(control, "span", "mlopt-value");
    const input = html(control, "input", "mlopt-slider");
    Object.assign(input, { type: "range", min: spec.min, max: spec.max, step: spec.step });
    input.id = label.htmlFor = `${id}-${name}`;
    input.addEventListener("input", () => onInput(name, spec.toValue(+input.value)));
    input.addEventListener("change", onRelease);
    if (name === "lr") control.append(edge);
    sliders[name] = { input, shown, ...spec };
  }
  function draw(settings) {
    for (const [name, { input, shown, show, say, toPosition }] of Object.entries(sliders)) {
      const position = toPosition(settings[name]);
      if (document.activeElement !== input || Math.abs(input.value - position) > 1e-9)
        input.value = position;
      shown.textContent = show(settings[name]);
      input.setAttribute("aria-valuetext", say(settings[name]));
    }
    const bound = stepSizeBound(settings);
    edge.style.setProperty("--at", bound / SLIDERS.lr.max);
    edgeText.textContent = `bound 2(1 + β)/L = ${plain(bound)}`;
  }
  return { fieldset, draw };
}

const SYMBOL = { converges: "✓", diverges: "✗", edge: "◆" };
const LOCKED = "Commit to your prediction above first; then the controls unlock.";

function render({ model, el }) {
  el.classList.add("mlopt-widget");
  // JupyterLab takes the arrow keys for its cells unless they stay inside the widget.
  el.addEventListener("keydown", (event) => event.stopPropagation());
  const id = "mlopt-" + Math.random().toString(36).slice(2); // a page may show two views
  const card = html(el, "div", "mlopt-card");
  card.setAttribute("role", "group"); // not a landmark: a lesson has many
  card.setAttribute("aria-label", "Gradient descent on a valley");
  const locked = html(card, "p", "mlopt-locked");
  locked.setAttribute("role", "status");
  const panels = html(card, "div", "mlopt-panels");
  const surface = surfacePanel(panels, `${id}-surface`);
  const losses = lossPanel(panels, `${id}-loss`);
  const status = html(card, "p", "mlopt-status");
  status.setAttribute("role", "status");
  const verdict = html(status, "strong");
  const text = html(status, "span");
  const panel = controls(card, id, change, save);
  const foot = html(card, "div", "mlopt-foot");
  html(foot, "span", "mlopt-note",
    "f = (L u² + μ v²)/2 with L = 1, μ = L/κ: u crosses the valley, v runs along it. " +
    "Each step: velocity ← β · velocity + ∇f, then point ← point − lr · velocity. " +
    "The ring can be dragged.");
  const reset = Object.assign(html(foot, "button", "mlopt-button mlopt-quiet", "Reset"), { type: "button" });

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
    for (const name in SLIDERS) settings[name] = model.get(name);
    const path = trajectory(settings);
    const words = describe(settings, path);
    surface.draw(settings, path);
    losses.draw(settings, path);
    panel.draw(settings);
    status.dataset.kind = words.kind;
    verdict.textContent = `${SYMBOL[words.kind]} ${words.verdict}. `;
    text.textContent = words.text;
    surface.root.setAttribute("aria-label",
      `Contours of the valley with the path of ${count(path.x.length - 1)} from ` +
      `(${plain(settings.start_x)}, ${plain(settings.start_y)}). ${words.verdict}.`);
    losses.root.setAttribute("aria-label",
      `Loss against step on a log scale, with its theoretical rate. ${words.verdict}: ${words.text}`);
  }
  function lock() {
    const open = model.get("unlocked");
    panel.fieldset.disabled = reset.disabled = !open;
    card.classList.toggle("mlopt-is-locked", !open);
    locked.textContent = open ? "" : LOCKED;
  }

  reset.addEventListener("click", () => {
    const initial = model.get("_initial");
    for (const name in SLIDERS) model.set(name, initial[name]);
    save();
  });
  surface.start.addEventListener("pointerdown", (event) => {
    if (model.get("unlocked")) surface.start.setPointerCapture(event.pointerId);
  });
  surface.start.addEventListener("pointermove", (event) => {
    if (!surface.start.hasPointerCapture(event.pointerId)) return;
    surface.locate(event).forEach((value, i) => {
      const name = ["start_x", "start_y"][i];
      const { min, max, step } = SLIDERS[name];
      const snapped = Math.round(Math.min(Math.max(value, min), max) / step) * step;
      change(name, +snapped.toFixed(2));
    });
  });
  surface.start.addEventListener("pointerup", save);

  const names = Object.keys(SLIDERS).map((name) => `change:${name}`);
  for (const name of names) model.on(name, draw);
  model.on("change:unlocked", lock);
  draw();
  lock();
  return () => {
    clearTimeout(pending);
    for (const name of names) model.off(name, draw);
    model.off("change:unlocked", lock);
  };
}

export default { render };
