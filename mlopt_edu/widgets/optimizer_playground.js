// The picture of OptimizerPlayground: who runs, the panels, and the controls.

const decimal = (value) => String(+value.toPrecision(2));
const PLAY_SPECS = {
  optimizers: { label: "Optimizers", toggle: true }, // drawn below, a row each
  playing: { label: "Play", press: (playing) => !playing },
  step: { min: 0, max: STEPS, step: 1, label: "Steps done", show: (v) => `${v} of ${STEPS}` },
  speed: {
    min: 0, max: 8, step: 1, label: "Speed",
    toValue: (p) => 2 ** p, toPosition: Math.log2, show: (v) => `${count(v)} a second`,
  },
  surface: {
    label: "Surface",
    choices: Object.fromEntries(Object.entries(SURFACES).map(([name, { label }]) => [name, label])),
  },
  tuned: { label: "Best lr for each", toggle: true },
  lr: {
    min: -4, max: 1, step: 0.05, label: "One lr for all",
    toValue: (p) => +(10 ** p).toPrecision(3), toPosition: Math.log10, show: decimal,
  },
  beta1: { min: 0, max: 0.99, step: 0.01, label: "Momentum, β₁", show: plain },
  beta2: {
    min: 0, max: 4, step: 0.05, label: "Average of squares, β₂",
    toValue: (p) => +(1 - 10 ** -p).toFixed(4), toPosition: (v) => -Math.log10(1 - v), show: String,
  },
  eps: {
    min: -10, max: 0, step: 0.5, label: "ε",
    toValue: (p) => 10 ** p, toPosition: Math.log10, show: scientific,
  },
};

// A row for each optimizer: a switch, its line and mark, its lr, and its loss.
function legend(control, { model, change, save }) {
  control.replaceChildren();
  const rows = NAMES.map((name, i) => {
    const row = html(control, "div", "mlopt-run");
    const label = html(row, "label");
    const input = html(label, "input", "mlopt-toggle");
    input.type = "checkbox";
    const sample = svg(label, "svg", { viewBox: "0 0 36 16", "aria-hidden": "true" });
    svg(sample, "path", { d: "M0 8h36", class: `mlopt-line mlopt-line-${i}` });
    svg(sample, "path", { d: HEADS[i], class: `mlopt-head mlopt-head-${i}`, transform: "translate(18 8)" });
    html(label, "span", "", OPTIMIZERS[name].name);
    input.addEventListener("input", () => {
      const on = model.get("optimizers");
      change("optimizers", NAMES.filter((n) => (n === name ? input.checked : on.includes(n))));
      save();
    });
    return { row, input, lr: html(row, "span"), loss: html(row, "span", "mlopt-value") };
  });
  return function draw(runs, step) {
    rows.forEach(({ row, input, lr, loss }, i) => {
      const run = runs[i];
      input.checked = Boolean(run);
      row.classList.toggle("mlopt-off", !run);
      lr.textContent = run ? `lr ${decimal(run.hyper.lr)}` : "";
      loss.textContent = !run ? "off"
        : step < run.losses.length ? lossInWords(run.losses[step]) : `lost at ${run.losses.length}`;
    });
  };
}

function lossChart(parent, id) {
  const series = NAMES.map((name) => ({ name: OPTIMIZERS[name].name }));
  const panel = chart(parent, id, { xTitle: "step", yTitle: "loss, log scale", series });
  const mark = heads(panel.clipped);
  return function draw(surface, runs, step, label) {
    const x = [0, 1.03 * [50, 100, 200, STEPS].find((end) => step <= end)];
    const y = SURFACES[surface].losses;
    const floor = y[0] + 0.02 * (y[1] - y[0]); // lower losses run along the axis
    const log = (loss) => Math.max(Math.log10(loss), floor);
    const lines = runs.map((run) => run?.losses.slice(0, step + 1).map((loss, t) => [t, log(loss)]));
    panel.draw({ x, y, log: "y", lines, label });
    lines.forEach((line, i) => {
      const end = line?.at(-1);
      mark(i, end && [panel.toX(end[0], x), limit(panel.toY(end[1], y))]);
    });
  };
}

function buildPlayground({ panels, id, made, ...page }) {
  panels.parentElement.classList.add("mlopt-play");
  const picture = playgroundPanel(panels, `${id}-paths`);
  const drawLosses = lossChart(panels, `${id}-losses`);
  const drawLegend = legend(made.optimizers.control, page);
  const counter = made.step.control.querySelector(".mlopt-value");
  made.playing.control.classList.add("mlopt-transport");
  const time = player(panels, page, { end: STEPS, show });
  for (const [text, press] of [["Step", time.next], ["Restart", time.restart]]) {
    const button = html(made.playing.control, "button", "mlopt-button mlopt-quiet", text);
    button.type = "button";
    button.addEventListener("click", press);
  }

  let now = {}; // the settings that are drawn
  let kept = {}; // their runs by name, each as far as it was looked at
  let keptFor = "";
  let label = "";
  function runs(step) {
    const { surface, optimizers, tuned, beta1, beta2, eps } = now;
    return NAMES.map((name) => {
      if (!optimizers.includes(name)) return undefined;
      const lr = tuned ? SURFACES[surface].lrs[name] : now.lr;
      return advance((kept[name] ??= startRun(surface, name, { lr, beta1, beta2, eps })), step);
    });
  }
  function show(step) {
    const all = runs(step);
    picture.draw(now.surface, all, step);
    drawLosses(now.surface, all, step, label);
    drawLegend(all, step);
    made.step.input.value = step;
    counter.textContent = PLAY_SPECS.step.show(step);
  }
  function draw(settings) {
    const { surface, playing, tuned, lr, beta1, beta2, eps } = settings;
    if (playing && now.surface && surface !== now.surface) time.rewind();
    const rules = [surface, tuned, lr, beta1, beta2, eps].join();
    if (rules !== keptFor) [keptFor, kept] = [rules, {}];
    now = settings;
    settings.step = time.step(); // the model's is that of the last pause
    const on = runs(settings.step).filter(Boolean);
    const words = describeRuns(surface, on, settings.step, playing);
    label = playing ? "Loss against step on a log scale, running."
      : `Loss against step on a log scale. ${losses(on, settings.step)}`;
    picture.root.setAttribute("aria-label", `${SURFACES[surface].label}: ` +
      (surface === "net" ? "where each net is undecided between the moons. "
      : `contours with the path of ${count(on.length, "optimizer")}. `) + words.verdict);
    show(settings.step);
    made.playing.input.textContent = playing ? "Pause" : "Play";
    made.lr.input.disabled = tuned;
    return words;
  }
  return Object.assign(draw, { stop: time.stop });
}

function losses(on, step) {
  const { order, lost } = standing(on, step);
  const list = order.map(([name, loss]) => `${name} ${lossInWords(loss)}`);
  return `After ${count(step)}: ${[...list, ...lost.map((name) => `${name} diverged`)].join(", ")}.`;
}

export default panelWidget({
  label: "Optimizers side by side",
  specs: PLAY_SPECS,
  note:
    "Equations as in torch.optim: Biased Adam is without the correction of its " +
    "averages; RMSprop averages squares by β₂; Lion takes the sign of a momentum. " +
    `The best lrs are tuned at β₁ = ${TUNED_AT.beta1}, β₂ = ${TUNED_AT.beta2}.`,
  build: buildPlayground,
});
