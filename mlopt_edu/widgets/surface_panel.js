// The contours of the valley of gradient_descent.js with a path on them; panels.js comes first.

function surfacePanel(parent, id) {
  const left = 46;
  const { root, grid, clipped } = frame(parent, id, left, "x", "y");
  const scale = (BOTTOM - TOP) / 5.2;
  const [x0, y0] = [(left + RIGHT) / 2, (TOP + BOTTOM) / 2];
  const place = (x, y) => [x0 + scale * x, y0 - scale * y];
  ticks(grid, 7, { vertical: true, left })([-3, -2, -1, 0, 1, 2, 3].map((x) => [place(x, 0)[0], signed0(x)]));
  ticks(grid, 5, { vertical: false, left })([-2, -1, 0, 1, 2].map((y) => [place(0, y)[1], signed0(y)]));
  const degrees = (-TILT * 180) / Math.PI;
  const tilted = svg(clipped, "g", { transform: `translate(${x0} ${y0}) rotate(${degrees})` });
  const contours = Array.from({ length: 10 }, (_, i) =>
    svg(tilted, "ellipse", { ry: scale * 0.42 * (10 - i), class: "mlopt-contour" }));
  const line = svg(clipped, "path", { class: "mlopt-path" });
  const points = svg(clipped, "path", { class: "mlopt-dots" });
  svg(clipped, "path", { d: plus(x0, y0, 8), class: "mlopt-minimum" });
  const end = svg(clipped, "circle", { r: 6, class: "mlopt-end" });
  const start = svg(clipped, "circle", { r: 8, class: "mlopt-start" });

  const legend = svg(root, "g", { class: "mlopt-legend" });
  svg(legend, "circle", { cx: left + 9, cy: 18, r: 7, class: "mlopt-start" });
  svg(legend, "text", { x: left + 22, y: 23 }, "start");
  svg(legend, "circle", { cx: left + 88, cy: 18, r: 6, class: "mlopt-end" });
  const endLabel = svg(legend, "text", { x: left + 100, y: 23 });
  svg(legend, "path", { d: plus(left + 250, 18, 7), class: "mlopt-minimum" });
  svg(legend, "text", { x: left + 263, y: 23 }, "minimum");

  function draw({ condition_number }, path) {
    contours.forEach((ellipse) =>
      set(ellipse, { rx: ellipse.getAttribute("ry") * Math.sqrt(condition_number) }));
    let pixels = path.x.map((x, i) => place(x, path.y[i]));
    const lost = pixels.findIndex(([x, y]) => Math.hypot(x, y) > 2e4);
    if (lost >= 0) pixels = pixels.slice(0, lost + 1);
    set(line, { d: join(pixels) });
    set(points, { d: dots(pixels.slice(1)) });
    const [ex, ey] = pixels.at(-1);
    set(end, { cx: ex, cy: ey });
    endLabel.textContent = `after ${count(path.x.length - 1)}`;
    set(start, { cx: pixels[0][0], cy: pixels[0][1] });
  }

  // The pointer's position as (x, y) of the surface.
  function locate(event) {
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(root.getScreenCTM().inverse());
    return [(p.x - x0) / scale, (y0 - p.y) / scale];
  }
  return { root, draw, start, locate };
}
const signed0 = (n) => String(n).replace("-", "−");
const plus = (x, y, r) => `M${x - r} ${y}h${2 * r}M${x} ${y - r}v${2 * r}`;
