// The picture of ClusterPlanner: bars of time and memory, and efficiency by devices.

const POWER_OF_TWO = { toValue: (p) => p, toPosition: (v) => v, show: (v) => (2 ** v).toLocaleString("en") };
const CLUSTER_SPECS = {
  devices: { min: 0, max: 14, step: 1, label: "Devices", ...POWER_OF_TWO },
  model: {
    label: "Model",
    choices: Object.fromEntries(["1.7", "7.5", "39", "175", "530"].map((b) => [b, `GPT of ${b} billion`])),
  },
  bandwidth: {
    min: -10, max: 20, step: 1, label: "Bandwidth between hosts",
    toValue: (p) => +(10 ** (p / 10)).toPrecision(3), toPosition: (v) => Math.round(10 * Math.log10(v)),
    show: (v) => `${+v.toPrecision(3)} GB/s`, say: (v) => `${+v.toPrecision(3)} gigabytes a second`,
  },
  batch: { min: 4, max: 14, step: 1, label: "Samples of a step", ...POWER_OF_TWO },
  split: { label: "What may be cut", choices: SPLITS },
};

const TIMES = { compute: "compute", bubble: "bubble", tensor: "tensor groups", handOver: "hand-over", data: "gradients" };
const BYTES = { state: "weights, gradients, Adam", activations: "activations" };
const KINDS = { all: "all", tensor: "tensor", pipeline: "pipeline", data: "data" };

// Rows of stacked bars with a number behind each; `mark` is a vertical line.
function stackPanel(parent, title, parts) {
  const left = 82;
  const right = RIGHT - 62;
  const high = 46;
  const height = TOP + 4 * high + 34;
  const box = html(parent, "div", "mlopt-stack");
  const root = svg(box, "svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img" });
  svg(root, "text", { x: left, y: TOP - 12 }, title);
  svg(root, "rect", { x: left, y: TOP, width: right - left, height: 4 * high, class: "mlopt-panel" });
  const rows = Object.values(KINDS).map((name, row) => {
    const y = TOP + row * high;
    svg(root, "text", { x: left - 8, y: y + high / 2 + 5, "text-anchor": "end" }, name);
    const bars = Object.keys(parts).map((part) =>
      svg(root, "rect", { y: y + 8, height: high - 16, class: `mlopt-part mlopt-part-${part}` }));
    return { bars, words: svg(root, "text", { y: y + high / 2 + 5 }) };
  });
  svg(root, "rect", { x: left, y: TOP, width: right - left, height: 4 * high, class: "mlopt-frame" });
  const line = svg(root, "path", { class: "mlopt-theory" });
  const foot = svg(root, "text", { x: (left + right) / 2, y: height - 10, class: "mlopt-axis" });
  const key = html(box, "div", "mlopt-key");
  for (const [part, name] of Object.entries(parts)) {
    const item = html(key, "span");
    const sample = svg(item, "svg", { viewBox: "0 0 30 8", "aria-hidden": "true" });
    svg(sample, "rect", { x: 2, y: 0.5, width: 26, height: 7, class: `mlopt-part mlopt-part-${part}` });
    html(item, "span", "", name);
  }
  return function draw({ best, why, top, show, total, mark, below, label }) {
    const scale = (right - left) / top;
    Object.keys(KINDS).forEach((kind, row) => {
      const { bars, words } = rows[row];
      let x = left;
      Object.keys(parts).forEach((part, i) => {
        const room = right - x;
        const width = best[kind] ? Math.min(best[kind].cost[part] * scale, room) : 0;
        set(bars[i], { x: x.toFixed(2), width: Math.max(0, width).toFixed(2) });
        x += width;
      });
      words.textContent = best[kind] ? show(total(best[kind].cost)) : why(kind);
      set(words, { x: best[kind] ? right + 6 : left + 8 });
    });
    set(line, { d: mark ? `M${(left + mark * scale).toFixed(2)} ${TOP}v${4 * high}` : "" });
    foot.textContent = below;
    root.setAttribute("aria-label", label);
  };
}

function buildCluster({ panels, id }) {
  const box = html(panels, "div", "mlopt-figure");
  const time = stackPanel(box, "time of a step, best split of each kind", TIMES);
  const memory = stackPanel(box, "memory of a device", BYTES);
  const scaling = chart(panels, `${id}-scaling`, {
    xTitle: "devices", yTitle: "% of FLOP/s used by the model",
    series: [...Object.values(SPLITS).map((name) => ({ name })), { name: "now", theory: true }],
  });
  const cache = new Map(); // the curves do not depend on the number of devices
  function curves({ model, bandwidth, batch }) {
    const name = `${model} ${bandwidth} ${batch}`;
    if (!cache.has(name)) {
      cache.clear();
      const each = Array.from({ length: 15 }, (_, devices) => planned({ model, bandwidth, batch, devices }));
      cache.set(name, each);
    }
    return cache.get(name);
  }
  return (settings) => {
    const each = curves(settings);
    const best = each[settings.devices];
    const words = describePlan(settings, best);
    const model = gpt(MODELS[settings.model]);
    const why = (kind) => 2 ** settings.batch < leastReplicas(model, 2 ** settings.devices, kind)
      ? "too few samples" : "too little memory";
    const costs = Object.values(best).filter(Boolean).map(({ cost }) => cost);
    const spoken = (total, show) => Object.keys(KINDS).map((kind) =>
      `${SPLITS[kind]}: ${best[kind] ? show(total(best[kind].cost)) : why(kind)}`).join("; ");
    // A split many times slower must not squeeze the others: its bar is cut at the edge.
    const fastest = Math.min(...costs.map((cost) => cost.seconds), Infinity);
    const slowest = Math.max(...costs.map((cost) => cost.seconds), 0);
    const top = costs.length ? Math.min(slowest, 4 * fastest) : 1;
    time({
      best, why, top, show: seconds, total: (cost) => cost.seconds,
      below: slowest > top ? "bars that reach the edge go on" : "",
      label: `Time of a step. ${spoken((cost) => cost.seconds, seconds)}.`,
    });
    const bytes = (value) => `${+(value / 1e9).toPrecision(2)} GB`;
    memory({
      best, why, top: 1.06 * MEMORY, show: bytes, total: (cost) => cost.memory, mark: MEMORY,
      below: `dashed: the ${MEMORY / 1e9} GB of a device`,
      label: `Memory of a device of ${MEMORY / 1e9} gigabytes. ${spoken((cost) => cost.memory, bytes)}.`,
    });
    const lines = Object.keys(SPLITS).map((kind) => each.map((found, log) => [
      log * Math.log10(2),
      found[kind] ? 100 * efficiency(model, 2 ** log, 2 ** settings.batch, found[kind].cost) : NaN,
    ]));
    const now = settings.devices * Math.log10(2);
    const shown = best[settings.split];
    scaling.draw({
      x: [0, 14 * Math.log10(2)], y: [0, 105], log: "x",
      lines: [...lines, [[now, 0], [now, 105]]],
      label: `Share of the FLOP/s that the model uses, against the devices. Now ${shown
        ? percent(efficiency(model, 2 ** settings.devices, 2 ** settings.batch, shown.cost)) : "nothing fits"}.`,
    });
    return words;
  };
}

export default panelWidget({
  label: "A model on many devices",
  specs: CLUSTER_SPECS,
  note:
    "A model of cost, not a measurement: 8 devices a host, 165 TFLOP/s and 80 GB each, 240 GB/s inside a " +
    "host; samples of 2,048 tokens; Adam in mixed precision; 1F1B; nothing is sent during the backward.",
  build: buildCluster,
});
