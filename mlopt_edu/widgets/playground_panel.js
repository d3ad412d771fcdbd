// The left panel of OptimizerPlayground: paths over contours, or decision lines of nets.

// One shape for each optimizer, about 0 0.
const HEADS = [
  "M-4.5-4.5h9v9h-9Z", "M0-6.5L6 4.5H-6Z", "M0-6.5L6.5 0L0 6.5L-6.5 0Z", "M-6-4.5H6L0 6.5Z",
  "M-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0-11 0Z", "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0Z",
  "M0-7L1.8-2.2L6.8-2.1L2.8 1L4.2 5.8L0 2.9L-4.2 5.8L-2.8 1L-6.8-2.1L-1.8-2.2Z",
];
const NAMES = Object.keys(OPTIMIZERS);

function heads(parent) {
  const made = HEADS.map((d, i) => svg(parent, "path", { d, class: `mlopt-head mlopt-head-${i}` }));
  return (i, spot) => set(made[i], spot ? { transform: `translate(${spot.join(" ")})`, display: "" } : { display: "none" });
}

function playgroundPanel(parent, id) {
  const left = 54;
  const { root, grid, clipped } = frame(html(parent, "div", "mlopt-figure"), id, left, "x", "y");
  const placeX = ticks(grid, 12, { vertical: true, left });
  const placeY = ticks(grid, 12, { vertical: false, left });
  const contours = SHARES.map(() => svg(clipped, "path", { class: "mlopt-contour" }));
  const moons = [0, 1].map((moon) => svg(clipped, "path", { class: `mlopt-moon mlopt-moon-${moon}` }));
  const start = svg(clipped, "circle", { r: 8, class: "mlopt-begin" });
  const minima = svg(clipped, "path", { class: "mlopt-minimum" });
  const lines = NAMES.map((_, i) => svg(clipped, "path", { class: `mlopt-line mlopt-line-${i}` }));
  const mark = heads(clipped);

  const keys = [svg(root, "g"), svg(root, "g")]; // of a surface, and of the net
  svg(keys[0], "circle", { cx: left + 9, cy: 18, r: 7, class: "mlopt-begin" });
  svg(keys[0], "text", { x: left + 23, y: 23 }, "start");
  svg(keys[0], "path", { d: cross(left + 84, 18, 7), class: "mlopt-minimum" });
  svg(keys[0], "text", { x: left + 98, y: 23 }, "minimum");
  svg(keys[1], "path", { d: dots([[left + 9, 18]]), class: "mlopt-moon mlopt-moon-0" });
  svg(keys[1], "text", { x: left + 22, y: 23 }, "one moon");
  svg(keys[1], "path", { d: box(left + 118, 18), class: "mlopt-moon mlopt-moon-1" });
  svg(keys[1], "text", { x: left + 131, y: 23 }, "the other");

  let shown;
  let toPixel;
  function scene(name) {
    if (name === shown) return;
    shown = name;
    const { view: [[x0, x1], [y0, y1]], view, minima: lowest = [], evaluate, start: from } = SURFACES[name];
    const net = name === "net";
    toPixel = ([x, y]) => [
      left + ((RIGHT - left) * (x - x0)) / (x1 - x0), BOTTOM - ((BOTTOM - TOP) * (y - y0)) / (y1 - y0),
    ];
    placeX(roundNumbers(x0, x1).map(([value, text]) => [toPixel([value, 0])[0], text]));
    placeY(roundNumbers(y0, y1, 6).map(([value, text]) => [toPixel([0, value])[1], text]));
    const values = net ? null : sample((x, y) => evaluate([x, y], 0).loss, view, 130, 104);
    const heights = net ? [] : levels(values);
    contours.forEach((path, i) => set(path, { d: net ? "" : outline(levelLines(values, heights[i])) }));
    set(minima, { d: lowest.map((point) => cross(...toPixel(point), 8)).join("") });
    const [x, y] = toPixel(from);
    set(start, { cx: x, cy: y, display: net ? "none" : "" });
    const spots = (moon) => MOONS.filter((p) => p.moon === moon).map((p) => toPixel([p.x, p.y]));
    set(moons[0], { d: net ? dots(spots(0)) : "" });
    set(moons[1], { d: net ? spots(1).map((spot) => box(...spot)).join("") : "" });
    keys.forEach((key, i) => (key.style.display = net === (i === 1) ? "" : "none"));
  }
  const outline = (all) => all.map((line) => `${join(line.map((point) => pixels(toPixel(point))))}Z`).join("");

  // A run's points as pixels; each is converted once, not in every frame.
  const converted = new WeakMap();
  function pathOf(run, step) {
    if (!converted.has(run)) converted.set(run, []);
    const path = converted.get(run);
    for (let t = path.length; t < run.points.length; t++) path.push(pixels(toPixel(run.points[t])));
    return path.slice(0, step + 1);
  }

  // runs: one for each optimizer, or undefined where it is off.
  function draw(surface, runs, step) {
    scene(surface);
    runs.forEach((run, i) => {
      if (surface === "net") {
        const w = run?.points[Math.min(step, run.points.length - 1)];
        const decide = (x, y) => logit(w, x, y);
        const line = run ? levelLines(sample(decide, SURFACES.net.view, 36, 30), 0) : [];
        set(lines[i], { d: outline(line) });
        mark(i, null);
      } else {
        const path = run ? pathOf(run, step) : [];
        set(lines[i], { d: run ? join(path) : "" });
        mark(i, path.at(-1));
      }
    });
  }
  return { root, draw };
}

const limit = (value) => Math.min(Math.max(value, -2e4), 2e4).toFixed(1); // cut anyway
const pixels = (spot) => spot.map(limit);
const cross = (x, y, r) => `M${x - r} ${y}h${2 * r}M${x} ${y - r}v${2 * r}`;
const box = (x, y) => `M${x - 4} ${y - 4}h8v8h-8Z`;
