// The picture of LossSurface: surface_panel.js, and the loss beside it.

const SPECS = {
  lr: {
    min: 0, max: 4, step: 0.01, label: "Step size lr",
    show: (v) => `${plain(v)} = ${plain((v * L) / 2)} × (2/L)`,
    say: (v) => `${plain(v)}, which is ${plain((v * L) / 2)} times 2 over L`,
  },
  condition_number: {
    min: 0, max: 100, step: 1, label: "Condition number κ",
    toValue: (p) => 10 ** (p / 50), toPosition: (v) => 50 * Math.log10(v),
    show: (v) => v.toPrecision(3), say: (v) => v.toPrecision(3),
  },
  momentum: {
    min: 0, max: 0.99, step: 0.01, label: "Momentum β", show: plain, say: plain,
  },
  steps: { min: 1, max: 200, step: 1, label: "Steps", show: String, say: count },
  start_x: {
    min: -3, max: 3, step: 0.05, label: "Start x", show: signed, say: spoken("x"),
  },
  start_y: {
    min: -2, max: 2, step: 0.05, label: "Start y", show: signed, say: spoken("y"),
  },
};
function signed(value) {
  return plain(value).replace("-", "−");
}
function spoken(name) {
  return (value) => `${name} = ${plain(value).replace("-", "minus ")}`;
}

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

    placeY(decades(low, high).map(([log, text]) => [toY(log), text]));
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

// A tick under the slider of lr where the step size becomes too large.
function boundMark(control) {
  const mark = html(control, "div", "mlopt-edge");
  const text = html(mark, "span");
  return (settings) => {
    const bound = stepSizeBound(settings);
    mark.style.setProperty("--at", bound / SPECS.lr.max);
    text.textContent = `bound 2(1 + β)/L = ${plain(bound)}`;
  };
}

// The ring at the start follows the pointer.
function draggable({ start, locate }, { model, change, save }) {
  start.classList.add("mlopt-grab");
  start.addEventListener("pointerdown", (event) => {
    if (model.get("unlocked")) start.setPointerCapture(event.pointerId);
  });
  start.addEventListener("pointermove", (event) => {
    if (!start.hasPointerCapture(event.pointerId)) return;
    locate(event).forEach((value, i) => {
      const name = ["start_x", "start_y"][i];
      const { min, max, step } = SPECS[name];
      const snapped = Math.round(Math.min(Math.max(value, min), max) / step) * step;
      change(name, +snapped.toFixed(2));
    });
  });
  start.addEventListener("pointerup", save);
}

function build({ panels, id, made, ...page }) {
  const surface = surfacePanel(panels, `${id}-surface`);
  const losses = lossPanel(panels, `${id}-loss`);
  const bound = boundMark(made.lr.control);
  draggable(surface, page);
  return (settings) => {
    const path = trajectory(settings);
    const words = describe(settings, path);
    surface.draw(settings, path);
    losses.draw(settings, path);
    bound(settings);
    surface.root.setAttribute("aria-label",
      `Contours of the valley with the path of ${count(path.x.length - 1)} from ` +
      `(${plain(settings.start_x)}, ${plain(settings.start_y)}). ${words.verdict}.`);
    losses.root.setAttribute("aria-label",
      `Loss against step on a log scale, with its theoretical rate. ${words.verdict}: ${words.text}`);
    return words;
  };
}

export default panelWidget({
  label: "Gradient descent on a valley",
  specs: SPECS,
  note:
    "f = (L u² + μ v²)/2 with L = 1, μ = L/κ: u crosses the valley, v runs along it. " +
    "Each step: velocity ← β · velocity + ∇f, then point ← point − lr · velocity. " +
    "The ring can be dragged.",
  build,
});
