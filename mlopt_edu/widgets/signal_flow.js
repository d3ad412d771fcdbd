// The picture of SignalFlow: the signal on its way up, the gradient on its way down.

const FLOW_SPECS = {
  depth: { min: 2, max: 30, step: 1, label: "Depth", say: (n) => count(n, "layer") },
  width: {
    min: 3, max: 6, step: 1, label: "Width",
    toValue: (p) => 2 ** p, toPosition: Math.log2, say: (n) => count(n, "unit"),
  },
  activation: {
    label: "Activation",
    choices: {
      identity: "none (identity)", sigmoid: "sigmoid", tanh: "tanh", relu: "ReLU", gelu: "GELU",
    },
  },
  scheme: {
    label: "Variance of the weights",
    choices: {
      xavier: "Xavier: 1 / width", he: "He: 2 / width",
      torch: "torch's default: 1 / (3 · width)",
      small: "0.01² at any width", one: "1 at any width",
    },
  },
  gain: {
    min: -20, max: 20, step: 1, label: "Weights multiplied by",
    toValue: (p) => 2 ** (p / 10), toPosition: (v) => 10 * Math.log2(v),
    show: (v) => v.toFixed(2),
  },
  seed: { label: "New weights", press: (seed) => (seed + 1) % 1000 },
};

const logs = (values) => values.map((value, layer) => [layer, Math.log10(value)]);

// At least two decades either side of 1, so that a signal that survives looks level.
function logRange(lines) {
  const seen = lines.flat().map(([, log]) => log).filter(Number.isFinite);
  return [Math.min(-2, Math.floor(Math.min(...seen))), Math.max(2, Math.ceil(Math.max(...seen)))];
}

function buildFlow({ panels, id }) {
  const up = chart(panels, `${id}-up`, {
    xTitle: "layer, 0 the inputs", yTitle: "std of the signal",
    series: [{ name: "all numbers of a layer" }, { name: "between the examples" },
      { name: "predicted", theory: true }],
  });
  const down = chart(panels, `${id}-down`, {
    xTitle: "layer, from the last to the inputs", yTitle: "std of the gradient",
    series: [{ name: "gradient at a layer" }, { name: "predicted", theory: true }],
  });
  return (settings) => {
    const [seen, expected] = [measuredFlow(settings), predictedFlow(settings)];
    const words = describeFlow(settings, seen, expected);
    const x = [0, settings.depth];
    const signals = [seen.signal, seen.between, expected.signal].map(logs);
    const gradients = [seen.gradient, expected.gradient].map(logs);
    const ends = (values) => `${scientific(values[0])} at layer 0, ` +
      `${scientific(values.at(-1))} at layer ${settings.depth}`;
    up.draw({
      x, y: logRange(signals), log: "y", lines: signals,
      label: `Standard deviation of the signal by layer, log scale: ${ends(seen.signal)}. ` +
        `Between the examples ${scientific(seen.between.at(-1))} at the last layer.`,
    });
    down.draw({
      x, y: logRange(gradients), log: "y", lines: gradients,
      label: "Standard deviation of the gradient by layer, log scale: " +
        `${ends(seen.gradient)}. ${words.verdict}.`,
    });
    return words;
  };
}

export default panelWidget({
  label: "Signals in a deep random net",
  specs: FLOW_SPECS,
  note:
    `${BATCH} examples of normal numbers, normal weights, no biases. The gradient starts ` +
    "at the last layer with standard deviation 1. Vanished or exploded: a hundredfold.",
  build: buildFlow,
});
