// The picture of QuantizationExplorer: the channels on their grids, errors by range.

const wholePercent = (share) => `${Math.round(100 * share)} %`;
const QUANTIZATION_SPECS = {
  bits: { min: 2, max: 8, step: 1, label: "Bits", show: (bits) => count(bits, "bit") },
  range: {
    min: 0.02, max: 1, step: 0.02, label: "Range that the grid covers",
    toValue: (p) => +p.toFixed(2), show: wholePercent,
  },
  outliers: {
    min: 0, max: 40, step: 2, label: "Outliers in channel 1",
    show: (size) => (size ? `${size} sigma` : "none"),
  },
  numbers: {
    label: "Numbers", choices: { weights: "weights, normal", activations: "activations, SiLU" },
  },
  scheme: {
    label: "Grid", choices: { symmetric: "symmetric, zero point 0", affine: "affine, with a zero point" },
  },
  granularity: {
    label: "Scales", choices: { tensor: "one for the tensor", channel: "one for each channel" },
  },
};

const BINS = 84;
const ROW_LEFT = 54;

// A row for each channel: its histogram, its grid as marks below, what is clipped in red.
function channelPanel(parent, id) {
  const box = html(parent, "div", "mlopt-figure");
  const { root, grid, clipped } = frame(box, id, ROW_LEFT, "number", "channel");
  const placeX = ticks(grid, 12, { vertical: true, left: ROW_LEFT });
  const tall = (BOTTOM - TOP) / DEVIATIONS.length;
  const rows = DEVIATIONS.map((_, k) => {
    const base = TOP + (k + 1) * tall - 20;
    svg(root, "text", { x: ROW_LEFT - 10, y: base - 14, "text-anchor": "end" }, String(k + 1));
    const used = svg(root, "text", { x: RIGHT - 6, y: base - tall + 36, "text-anchor": "end" });
    const paths = ["inside", "outside", "marks"].map((kind) =>
      svg(clipped, "path", { class: `mlopt-number-${kind}` }));
    return { base, used, paths };
  });
  const key = html(box, "div", "mlopt-key");
  const samples = [["M0 8V1h30v7Z", "inside", "on the grid"], ["M0 8V1h30v7Z", "outside", "clipped"],
    ["M3 0v8m8-8v8m8-8v8m8-8v8", "marks", "integers"]];
  for (const [d, kind, text] of samples) {
    const item = html(key, "span");
    svg(svg(item, "svg", { viewBox: "0 0 30 8", "aria-hidden": "true" }), "path", { d, class: `mlopt-number-${kind}` });
    html(item, "span", "", text);
  }
  return function draw(channels, grids, used, label) {
    const all = channels.flat();
    const edge = 1.04;
    const [low, high] = [Math.min(edge * Math.min(...all), 0), edge * Math.max(...all)];
    const toX = (value) => ROW_LEFT + ((RIGHT - ROW_LEFT) * (value - low)) / (high - low);
    placeX(roundNumbers(low, high).map(([value, text]) => [toX(value), text]));
    const wide = (high - low) / BINS;
    rows.forEach(({ base, used: text, paths }, k) => {
      const counts = Array(BINS).fill(0);
      for (const x of channels[k]) counts[Math.min(BINS - 1, Math.floor((x - low) / wide))] += 1;
      const most = Math.sqrt(Math.max(...counts));
      const [first, last] = reachOf(grids[k]);
      const bars = ["", ""];
      counts.forEach((n, bin) => {
        if (!n) return;
        const [a, b] = [low + bin * wide, low + (bin + 1) * wide];
        const height = ((tall - 30) * Math.sqrt(n)) / most; // roots, so that one outlier shows
        bars[b < first || a > last ? 1 : 0] +=
          `M${toX(a).toFixed(1)} ${base}V${(base - height).toFixed(1)}H${toX(b).toFixed(1)}V${base}Z`;
      });
      let marks = "";
      for (let q = grids[k].first; q <= grids[k].last; q++)
        marks += `M${toX((q - grids[k].zero) * grids[k].scale).toFixed(2)} ${base + 2}v11`;
      paths.forEach((path, n) => set(path, { d: [...bars, marks][n] }));
      text.textContent = `${count(used[k], "integer")} in use`;
    });
    root.setAttribute("aria-label", label);
  };
}

function buildQuantization({ panels, id }) {
  const rows = channelPanel(panels, `${id}-channels`);
  const errors = chart(panels, `${id}-errors`, {
    xTitle: "range that the grid covers, in %", yTitle: "error, share of the numbers' size",
    series: [{ name: "both" }, { name: "clipping" }, { name: "rounding" },
      { name: "your range", theory: true }],
  });
  return (settings) => {
    const channels = channelsOf(settings);
    const grids = gridsOf(channels, settings.range, settings);
    const found = measure(channels, grids);
    const swept = sweep(channels, settings);
    const words = describeGrid(settings, found, swept);
    rows(channels, grids, found.used,
      "Histograms of four channels over the integers of their grids. In use: " +
      `${found.used.map((n) => count(n, "integer")).join(", ")}.`);
    const line = (name) => swept.points.map((point) =>
      [100 * point.share, point[name] > 0 ? Math.log10(point[name]) / 2 : NaN]);
    errors.draw({
      x: [0, 100], y: [-3, 0.2], log: "y",
      lines: [line("total"), line("clipping"), line("rounding"),
        [[100 * settings.range, -3], [100 * settings.range, 0.2]]],
      names: [`both, least at ${wholePercent(swept.best.share)}`],
      label: "Errors of rounding, of clipping and of both against the range of the grid. " +
        `${words.verdict}: ${words.text}`,
    });
    return words;
  };
}

export default panelWidget({
  label: "Numbers on a quantization grid",
  specs: QUANTIZATION_SPECS,
  note:
    "Four channels of 256 numbers, with standard deviations 1, 0.5, 0.25 and 0.1. An error is " +
    "the root of a mean square, as a share of that of the channel's numbers; each channel " +
    "counts alike. Bars are drawn by the root of their counts.",
  build: buildQuantization,
});
