// The picture of TileExplorer: x and y around the output, and what was loaded so far.

const BLOCK = {
  min: 3, max: 5, step: 1, toValue: (p) => 2 ** p, toPosition: Math.log2,
};
const TILE_SPECS = {
  rows: { min: 1, max: 48, step: 1, label: "Rows of the output" },
  cols: { min: 1, max: 48, step: 1, label: "Columns of the output" },
  block_rows: { ...BLOCK, label: "Rows of a tile" },
  block_cols: { ...BLOCK, label: "Columns of a tile" },
  group: {
    min: 1, max: 6, step: 1, label: "Rows of tiles in a group",
    show: (g) => (g === 1 ? "1, row by row" : `${g}, swizzled`),
  },
  cache: { min: 2, max: 12, step: 1, label: "Cache", show: (n) => `${n} strips` },
  program: { min: 0, max: 35, step: 1, label: "Program", show: String },
  masked: { label: "Mask at the edge", toggle: true },
};

const CORNER = 74; // left and upper edge of the output
const ROOM = 300; // its side, with the lanes beyond the edge
const BAND = 34; // breadth of x and y, whose other side is cut short

function matrixPanel(parent) {
  const box = html(parent, "div", "mlopt-figure");
  const root = svg(box, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const left = CORNER - BAND - 8;
  const layers = ["held", "loaded", "done", "now", "masked", "stray"];
  const paths = Object.fromEntries(
    [...layers, "lines", "edge"].map((name) => [name, svg(root, "path", { class: `mlopt-tile-${name}` })]));
  svg(root, "text", { x: left - 13, y: CORNER + 18, class: "mlopt-axis" }, "x");
  svg(root, "text", { x: CORNER - 16, y: left + BAND / 2 + 5, class: "mlopt-axis" }, "y");
  svg(root, "text", { x: CORNER + ROOM / 2, y: HEIGHT - 4, class: "mlopt-axis" }, "output = x @ y");
  const key = html(box, "div", "mlopt-key");
  const names = {
    held: "in the cache", loaded: "loaded now", done: "written before", now: "this program",
    masked: "masked off", stray: "out of bounds",
  };
  for (const [name, text] of Object.entries(names)) {
    const item = html(key, "span");
    const sample = svg(item, "svg", { viewBox: "0 0 30 8", "aria-hidden": "true" });
    svg(sample, "path", { d: "M2 .5h26v7h-26Z", class: `mlopt-tile-${name}` });
    html(item, "span", "", text);
  }
  return function draw(settings, steps, now, label) {
    const { rows, cols, block_rows, block_cols, masked } = settings;
    const [high, wide] = tileCounts(settings);
    const unit = ROOM / Math.max(high * block_rows, wide * block_cols);
    const rectangle = (x, y, width, height) =>
      width > 0 && height > 0 ? `M${x.toFixed(1)} ${y.toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}h${(-width).toFixed(1)}Z` : "";
    const [tall, broad] = [block_rows * unit, block_cols * unit];
    const part = (row, column, below, right) => rectangle(
      CORNER + column * broad, CORNER + row * tall, right * unit, below * unit);
    const inner = (row, column) => [
      Math.min(block_rows, rows - row * block_rows), Math.min(block_cols, cols - column * block_cols)];
    const strip = (name) => {
      const k = +name.slice(1);
      return name[0] === "x"
        ? rectangle(left, CORNER + k * tall, BAND, inner(k, 0)[0] * unit)
        : rectangle(CORNER + k * broad, left, inner(0, k)[1] * unit, BAND);
    };
    const { row, column, loaded, held } = steps[now];
    const [below, right] = inner(row, column);
    const beyond =
      rectangle(CORNER + column * broad + right * unit, CORNER + row * tall, (block_cols - right) * unit, tall) +
      rectangle(CORNER + column * broad, CORNER + row * tall + below * unit, right * unit, (block_rows - below) * unit);
    let lines = "";
    for (let i = 0; i <= high; i++) lines += `M${CORNER} ${(CORNER + i * tall).toFixed(1)}h${(wide * broad).toFixed(1)}`;
    for (let j = 0; j <= wide; j++) lines += `M${(CORNER + j * broad).toFixed(1)} ${CORNER}v${(high * tall).toFixed(1)}`;
    const drawn = {
      held: held.filter((name) => !loaded.includes(name)).map(strip).join(""),
      loaded: loaded.map(strip).join(""),
      done: steps.slice(0, now).map((s) => part(s.row, s.column, ...inner(s.row, s.column))).join(""),
      now: part(row, column, below, right),
      masked: masked ? beyond : "",
      stray: masked ? "" : beyond,
      lines,
      edge: rectangle(CORNER, CORNER, cols * unit, rows * unit) +
        rectangle(left, CORNER, BAND, rows * unit) + rectangle(CORNER, left, cols * unit, BAND),
    };
    for (const name in drawn) set(paths[name], { d: drawn[name] });
    root.setAttribute("aria-label", label);
  };
}

function buildTiles({ panels, id }) {
  const matrices = matrixPanel(panels);
  const loads = chart(panels, `${id}-loads`, {
    xTitle: "program", yTitle: "strips loaded so far",
    series: [{ name: "row by row" }, { name: "in groups" }, { name: "each strip once", theory: true }],
  });
  const sums = (steps) => {
    let sum = 0;
    return [[0, 0], ...steps.map(({ loaded }, i) => [i + 1, (sum += loaded.length)])];
  };
  return (settings) => {
    const steps = walk(settings);
    const now = Math.min(settings.program, steps.length - 1);
    const words = describeTiles(settings);
    const { row, column, loaded } = steps[now];
    matrices(settings, steps, now,
      `The output in tiles, with x at its left and y above. Tile (${row}, ${column}) is written; ` +
      `${count(loaded.length, "strip")} had to be loaded for it. ${words.verdict}.`);
    const plainWalk = sums(walk({ ...settings, group: 1 }));
    const grouped = sums(steps);
    const [high, wide] = tileCounts(settings);
    const top = Math.max(plainWalk.at(-1)[1], grouped.at(-1)[1]);
    loads.draw({
      x: [0, steps.length], y: [0, 1.08 * top],
      lines: [plainWalk, settings.group > 1 ? grouped : [], [[0, high + wide], [steps.length, high + wide]]],
      names: ["row by row", `in groups of ${settings.group}`],
      label: `Strips loaded so far against the program: in the end ${plainWalk.at(-1)[1]} row by row, ` +
        `${grouped.at(-1)[1]} in groups of ${settings.group}, ${high + wide} at least.`,
    });
    return words;
  };
}

export default panelWidget({
  label: "Tiles, masks and the cache",
  specs: TILE_SPECS,
  note:
    "A strip is what a tile needs of x or of y. Here programs run one after the other and the cache " +
    "drops what was not used for longest; a GPU runs many at once, and they share in the same way.",
  build: buildTiles,
});
