// The picture of ScheduleExplorer: the lr by step, and the expected loss.

const SCHEDULE_SPECS = {
  schedule: {
    label: "Schedule",
    choices: {
      constant: "constant", inverse_sqrt: "1 / √(step + 1)", step_decay: "÷ 10 every 70 steps",
      exponential: "× 0.98 every step", cosine: "cosine", sgdr: "cosine with warm restarts",
      wsd: "constant, then a line to 0",
    },
  },
  lr: {
    min: 0, max: 120, step: 1, label: "Base lr",
    toValue: (p) => +(0.01 * 10 ** (p / 40)).toPrecision(3),
    toPosition: (v) => 40 * Math.log10(v / 0.01),
    show: (v) => `${plain(v)} = ${plain(v / 2)} × (2/L)`,
    say: (v) => `${plain(v)}, which is ${plain(v / 2)} times 2 over L`,
  },
  warmup: { min: 0, max: 100, step: 5, label: "Warm-up", show: count },
  noise: {
    min: 0, max: 60, step: 1, label: "Variance of the noise",
    toValue: (p) => (p ? +(10 ** (p / 15 - 4)).toPrecision(2) : 0),
    toPosition: (v) => (v ? 15 * (Math.log10(v) + 4) : 0),
    show: scientific,
  },
};

function buildSchedule({ panels, id }) {
  const rates = chart(panels, `${id}-lr`, {
    xTitle: "step", yTitle: "lr",
    series: [{ name: "lr" }, { name: "bound 2/L", theory: true }],
  });
  const losses = chart(panels, `${id}-loss`, {
    xTitle: "step", yTitle: "expected loss, log scale",
    series: [{ name: "with the schedule" }, { name: "best constant lr" }],
  });
  return (settings) => {
    const run = scheduleRun(settings);
    const best = bestConstant(settings.noise);
    const words = describeSchedule(settings, run, best);
    const top = Math.max(...run.lrs) * 1.08;
    rates.draw({
      x: [0, TOTAL], y: [0, top],
      lines: [run.lrs.map((lr, step) => [step, lr]), top > 2 ? [[0, 2], [TOTAL, 2]] : []],
      label: `Learning rate against step: ${SCHEDULE_SPECS.schedule.choices[settings.schedule]} ` +
        `after ${count(settings.warmup)} of warm-up.`,
    });
    const logs = (values) =>
      values.map((loss, step) => [step, Math.log10(Math.min(Math.max(loss, 1e-12), 1e12))]);
    const [mine, constant] = [
      logs(run.losses), logs(expectedLoss(Array(TOTAL).fill(best.lr), settings.noise)),
    ];
    const all = [...mine, ...constant].map(([, log]) => log);
    const low = Math.max(Math.floor(Math.min(...all)), -6);
    losses.draw({
      x: [0, TOTAL], y: [low, Math.max(Math.ceil(Math.max(...all)), low + 1)], log: "y",
      lines: [mine, constant],
      label: `Expected loss against step, on a log scale. ${words.verdict}: ${words.text}`,
    });
    return words;
  };
}

export default panelWidget({
  label: "Learning-rate schedules on a noisy valley",
  specs: SCHEDULE_SPECS,
  note:
    "A valley with curvatures L = 1 and 0.05, 200 steps, and noise in every gradient. The " +
    "expected loss is computed exactly: a step turns the mean squared error V of a " +
    "direction into (1 − lr h)² V + lr² · variance.",
  build: buildSchedule,
});
