// The picture of ShrinkageExplorer: one penalised parabola, and the paths of weights.

const SHRINKAGE_SPECS = {
  penalty: {
    label: "Penalty",
    choices: { l1: "L1: strength · |w|", l2: "L2: strength · w²/2", both: "half of each" },
  },
  strength: {
    min: 0, max: 91, step: 1, label: "Strength",
    toValue: (p) => (p ? STRENGTHS[p - 1] : 0),
    toPosition: (v) => (v < STRENGTHS[0] ? 0 : Math.round(30 * (Math.log10(v) + 2)) + 1),
    show: scientific,
  },
  without: {
    min: -3, max: 3, step: 0.1, label: "Best w without penalty",
    toValue: (p) => +p.toFixed(1), show: signed,
  },
};

function buildShrinkage({ panels, id }) {
  const data = problem();
  const paths = {};
  const one = chart(panels, `${id}-one`, {
    xTitle: "w", yTitle: "loss + penalty",
    series: [
      { name: "with the penalty" }, { name: "without" },
      { name: "lowest point", theory: true },
    ],
  });
  const many = chart(panels, `${id}-many`, {
    xTitle: "strength, log scale", yTitle: "weight",
    series: [
      { name: "4 weights that matter" }, { name: "4 that do not" },
      { name: "strength chosen", theory: true },
    ],
  });
  const axis = Array.from({ length: 281 }, (_, k) => (k - 140) / 40);
  return (settings) => {
    const { penalty, strength } = settings;
    paths[penalty] ??= path(data, penalty);
    const weights = solve(data, penalty, strength);
    const words = describeShrinkage(settings, weights);
    const lowest = minimiser(settings);
    const top = Math.max(2, 1.25 * penalised(lowest, settings) + 2);
    one.draw({
      x: [-3.5, 3.5], y: [0, top],
      lines: [
        axis.map((w) => [w, penalised(w, settings)]),
        axis.map((w) => [w, penalised(w, { ...settings, strength: 0 })]),
        [[lowest, 0], [lowest, top]],
      ],
      label: `Loss of one weight with its penalty; lowest at ${signed(lowest)}.`,
    });
    // One series holds several weights: a gap, which is not finite, parts them.
    const group = (from, to) => {
      const points = [];
      for (let j = from; j < to; j++) {
        paths[penalty].forEach((w, k) => points.push([Math.log10(STRENGTHS[k]), w[j]]));
        points.push([NaN, NaN]);
      }
      return points;
    };
    const at = Math.log10(Math.max(strength, STRENGTHS[0]));
    many.draw({
      x: [-2, 1], y: [-2, 2.5], log: "x",
      lines: [group(0, 4), group(4, 8), strength ? [[at, -2], [at, 2.5]] : []],
      label: `Eight weights against the strength of the penalty. ${words.text}`,
    });
    return words;
  };
}

export default panelWidget({
  label: "Penalties that shrink weights",
  specs: SHRINKAGE_SPECS,
  note:
    "Left: (w − w₀)²/2 + penalty. Right: mean squared error / 2 + penalty for 24 examples " +
    "with eight features, of which four have a true weight (2, −1.5, 1 and 0.5), solved " +
    "by coordinate descent.",
  build: buildShrinkage,
});
