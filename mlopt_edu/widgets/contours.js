// Level lines of a function on a grid, by marching squares.

const FAR = 1e12; // the rim counts as high, so that every line closes

// The grid's values of f over [[x0, x1], [y0, y1]], and a rim out of sight.
export function sample(f, [[x0, x1], [y0, y1]], columns, rows) {
  const [dx, dy] = [(x1 - x0) / (columns - 5), (y1 - y0) / (rows - 5)];
  const place = (i, j) => [x0 + (i - 2) * dx, y0 + (j - 2) * dy];
  const values = new Float64Array(columns * rows);
  for (let j = 0; j < rows; j++)
    for (let i = 0; i < columns; i++) {
      const rim = i === 0 || j === 0 || i === columns - 1 || j === rows - 1;
      values[j * columns + i] = rim ? FAR : f(...place(i, j));
    }
  return { values, columns, rows, place };
}

// The closed lines around everything below a level, each a list of points [x, y].
export function levelLines({ values, columns, rows, place }, level) {
  // Edge 2k goes right from grid point k, edge 2k + 1 goes up from it.
  const joined = new Map();
  const link = (a, b) => joined.has(a) ? joined.get(a).push(b) : joined.set(a, [b]);
  for (let j = 0; j < rows - 1; j++)
    for (let i = 0; i < columns - 1; i++) {
      const k = j * columns + i;
      const below = values[k] < level;
      if (below === values[k + 1] < level && below === values[k + columns] < level
        && below === values[k + 1 + columns] < level) continue;
      const corners = [k, k + 1, k + 1 + columns, k + columns].map((c) => values[c] < level);
      const edges = [2 * k, 2 * k + 3, 2 * (k + columns), 2 * k + 1];
      const crossed = edges.filter((_, n) => corners[n] !== corners[(n + 1) % 4]);
      for (let n = 0; n < crossed.length; n += 2) {
        link(crossed[n], crossed[n + 1]);
        link(crossed[n + 1], crossed[n]);
      }
    }
  function crossing(edge) {
    const k = edge >> 1;
    const share = (level - values[k]) / (values[k + (edge & 1 ? columns : 1)] - values[k]);
    const [i, j] = [k % columns, Math.floor(k / columns)];
    return edge & 1 ? place(i, j + share) : place(i + share, j);
  }
  const lines = [];
  while (joined.size) {
    const line = [];
    let [edge] = joined.keys();
    while (joined.has(edge)) {
      line.push(crossing(edge));
      const [a, b] = joined.get(edge);
      joined.delete(edge);
      edge = joined.has(a) ? a : b;
    }
    lines.push(line);
  }
  return lines;
}

// Levels that share the area out, close together around the minima.
const SHARES = [0.006, 0.02, 0.05, 0.1, 0.17, 0.26, 0.37, 0.5, 0.65, 0.82];
function levels({ values }) {
  const sorted = values.filter((value) => value < FAR).sort();
  return SHARES.map((share) => sorted[Math.floor(share * sorted.length)]);
}
