// The picture of PruningExplorer: a square for each weight, and the decision line.

const percent = (share) => `${Math.round(100 * share)} %`;
const PRUNING_SPECS = {
  amount: {
    min: 0, max: 1, step: 0.02, label: "Amount that goes", toValue: (p) => +p.toFixed(2),
    show: percent,
  },
  pattern: {
    label: "Which",
    choices: {
      global: "the smallest, all layers together", layers: "the smallest, each layer alike",
      "n:4": "the smallest of every four inputs", units: "whole hidden units",
      any: "any weights, by chance",
    },
  },
  fine_tuning: { label: "Fine-tuning, 100 steps", toggle: true },
  seed: { label: "Other weights", press: (seed) => (seed + 1) % 1000 },
};

// Where the squares of a layer lie: from the left edge, cells of one size.
const CELL = 22;
const LAYERS = [
  { x: 32, name: "2 → 12" }, { x: 106, name: "12 → 12" }, { x: 398, name: "→ 1" },
];

function weightPanel(parent) {
  const box = html(parent, "div", "mlopt-figure");
  const root = svg(box, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const rows = SIZES[1];
  const top = TOP + 14;
  // The last matrix has one row of 12: it stands upright, so that all three fit.
  const spot = (k, i, j) => (k === 2 ? [0, j] : [j, i]);
  LAYERS.forEach(({ x, name }, k) => {
    const columns = k === 2 ? 1 : SIZES[k];
    svg(root, "rect", { x, y: top, width: columns * CELL, height: rows * CELL, class: "mlopt-panel" });
    svg(root, "rect", { x, y: top, width: columns * CELL, height: rows * CELL, class: "mlopt-frame" });
    svg(root, "text", { x: x + (columns * CELL) / 2, y: top - 9, class: "mlopt-axis" }, name);
  });
  svg(root, "text", { x: WIDTH / 2, y: BOTTOM + 5, class: "mlopt-axis" }, "a square a weight, by its size within its layer");
  const paths = ["positive", "negative", "pruned"].map((kind) => svg(root, "path", { class: `mlopt-weight-${kind}` }));
  const key = html(box, "div", "mlopt-key");
  const samples = ["M11 0h8v8h-8Z", "M11 0h8v8h-8Z", "M12 1l6 6m0-6l-6 6"];
  ["positive", "negative", "pruned"].forEach((kind, n) => {
    const item = html(key, "span");
    const sample = svg(item, "svg", { viewBox: "0 0 30 8", "aria-hidden": "true" });
    svg(sample, "path", { d: samples[n], class: `mlopt-weight-${kind}` });
    html(item, "span", "", kind);
  });
  return function draw(net, mask, label) {
    const drawn = ["", "", ""];
    net.forEach(({ weight }, k) => {
      const largest = Math.max(...weight.flat().map(Math.abs), 1e-9);
      weight.forEach((row, i) => row.forEach((w, j) => {
        const [column, line] = spot(k, i, j);
        const [x, y] = [LAYERS[k].x + (column + 0.5) * CELL, top + (line + 0.5) * CELL];
        const half = Math.max(0.8, 10 * Math.sqrt(Math.abs(w) / largest));
        if (mask[k].weight[i][j])
          drawn[w < 0 ? 1 : 0] += `M${(x - half).toFixed(1)} ${(y - half).toFixed(1)}h${(2 * half).toFixed(1)}v${(2 * half).toFixed(1)}h${(-2 * half).toFixed(1)}Z`;
        else drawn[2] += `M${x - 3} ${y - 3}l6 6m0-6l-6 6`;
      }));
    });
    paths.forEach((path, n) => set(path, { d: drawn[n] }));
    root.setAttribute("aria-label", label);
  };
}

function planePanel(parent, id) {
  const left = 54;
  const view = [[-1.6, 2.6], [-1.1, 1.7]];
  const box = html(parent, "div", "mlopt-figure");
  const { root, grid, clipped } = frame(box, id, left, "x", "y");
  const toX = (x) => left + ((RIGHT - left) * (x - view[0][0])) / (view[0][1] - view[0][0]);
  const toY = (y) => BOTTOM - ((BOTTOM - TOP) * (y - view[1][0])) / (view[1][1] - view[1][0]);
  const at = ([x, y]) => [toX(x).toFixed(1), toY(y).toFixed(1)];
  ticks(grid, 12, { vertical: true, left })(roundNumbers(...view[0]).map(([v, text]) => [toX(v), text]));
  ticks(grid, 12, { vertical: false, left })(roundNumbers(...view[1], 6).map(([v, text]) => [toY(v), text]));
  const side = svg(clipped, "path", { class: "mlopt-side" });
  const spots = (moon) => POINTS.filter((p) => p.moon === moon).map((p) => at([p.x, p.y]));
  svg(clipped, "path", { d: dots(spots(0)), class: "mlopt-point-0" });
  svg(clipped, "path", { d: spots(1).map(([x, y]) => `M${x - 3.5} ${y - 3.5}h7v7h-7Z`).join(""), class: "mlopt-point-1" });
  const key = html(box, "div", "mlopt-key");
  const samples = [["M15 4h0", "mlopt-point-0", "one moon"],
    ["M11.5 .5h7v7h-7Z", "mlopt-point-1", "the other"], ["M0 4h30", "mlopt-line-decision", "the network's border"]];
  for (const [d, name, text] of samples) {
    const item = html(key, "span");
    svg(svg(item, "svg", { viewBox: "0 0 30 8", "aria-hidden": "true" }), "path", { d, class: name });
    html(item, "span", "", text);
  }
  return function draw(net, label) {
    const decide = (x, y) => logitOf(net, x, y);
    const lines = levelLines(sample(decide, view, 44, 34), 0);
    set(side, { d: lines.map((line) => `${join(line.map(at))}Z`).join("") });
    root.setAttribute("aria-label", label);
  };
}

function buildPruning({ panels, id }) {
  const weights = weightPanel(panels);
  const plane = planePanel(panels, `${id}-plane`);
  return (settings) => {
    const pruned = pruneNet(settings);
    const words = describePruned(settings, pruned);
    const { net, mask } = pruned;
    const gone = mask.map(({ weight }) =>
      `${weight.flat().filter((keep) => !keep).length} of ${weight.flat().length}`);
    weights(net, mask, `The weights of three layers. Pruned: ${gone.join(", ")}.`);
    plane(net, `Two moons of 50 points each, and the border that the network draws. ${words.verdict}.`);
    return words;
  };
}

export default panelWidget({
  label: "Pruning a small network",
  specs: PRUNING_SPECS,
  note:
    "Two inputs, two hidden layers of 12 tanh units, one output; biases stay, except those " +
    "of removed units. Of every four inputs: the first layer has two and stays whole. " +
    "Bytes are of the weights as 32-bit floats, with indices of one byte.",
  build: buildPruning,
});
