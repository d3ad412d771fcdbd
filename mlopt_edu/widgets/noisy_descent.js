// The picture of NoisyDescent: surface_panel.js, and the loss of one run and of many.

const NOISY_SPECS = {
  lr: { min: 0, max: 2.5, step: 0.01, label: "Step size lr", show: plain },
  batch_size: {
    min: 0, max: 10, step: 1, label: "Batch size B",
    toValue: (p) => 2 ** p, toPosition: Math.log2,
  },
  momentum: { min: 0, max: 0.95, step: 0.01, label: "Momentum β", show: plain },
  condition_number: {
    min: 0, max: 100, step: 1, label: "Condition number κ",
    toValue: (p) => 10 ** (p / 50), toPosition: (v) => 50 * Math.log10(v),
    show: (v) => v.toPrecision(3),
  },
  steps: { min: 50, max: 1000, step: 50, label: "Steps", say: count },
  seed: { label: "New noise", press: (seed) => (seed + 1) % 1000 },
};

function buildNoisy({ panels, id }) {
  const surface = surfacePanel(panels, `${id}-surface`);
  const losses = chart(panels, `${id}-loss`, {
    xTitle: "step", yTitle: "loss f(x, y), log scale",
    series: [{ name: "this run" }, { name: `mean of ${RUNS} runs` },
      { name: "predicted floor", theory: true }],
  });
  return (settings) => {
    const runs = manyRuns(settings);
    const words = describeNoise(settings, runs);
    const floor = noiseFloor(settings);
    surface.draw(settings, runs.path);
    const logs = (values) => values.map((loss, step) => [step, Math.log10(Math.max(loss, 1e-12))]);
    const one = logs(runs.path.loss);
    const high = Math.min(8, Math.ceil(Math.max(...one.map(([, log]) => log), 1)));
    losses.draw({
      x: [0, settings.steps], y: [Math.min(-3, Math.floor(Math.log10(floor || 1) - 1)), high],
      log: "y",
      lines: [one, logs(runs.mean),
        floor > 0 && floor < Infinity
          ? [[0, Math.log10(floor)], [settings.steps, Math.log10(floor)]] : []],
      label: `Loss against step on a log scale. ${words.verdict}: ${words.text}`,
    });
    surface.root.setAttribute("aria-label",
      `Contours of the valley with one noisy path of ${count(runs.path.x.length - 1)}. ` +
      `${words.verdict}.`);
    return words;
  };
}

export default panelWidget({
  label: "Stochastic gradient descent on a valley",
  specs: NOISY_SPECS,
  note:
    "f = (L u² + μ v²)/2 with L = 1, μ = L/κ. Each gradient carries noise of variance " +
    "1/B in x and in y. Velocity ← β · velocity + gradient, point ← point − lr · velocity.",
  build: buildNoisy,
});
