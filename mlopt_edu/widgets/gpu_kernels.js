// The tiles of output = x @ y: which program writes which, and what the cache saves.
//
// A program needs the strip of x that its rows come from and the strip of y that its
// columns come from. Numbers have 4 bytes; the output is stored row after row.

const SECTOR = 32; // bytes, the least that a GPU moves
const BYTES = 4;

export const tileCounts = ({ rows, cols, block_rows, block_cols }) =>
  [Math.ceil(rows / block_rows), Math.ceil(cols / block_cols)];

// The tile [row, column] of every program. `group` rows of tiles go together, column by
// column; the last group may be lower.
export function tileOrder(settings) {
  const [high, wide] = tileCounts(settings);
  return Array.from({ length: high * wide }, (_, program) => {
    const first = Math.floor(program / (settings.group * wide)) * settings.group;
    const height = Math.min(high - first, settings.group);
    const inside = program - first * wide;
    return [first + (inside % height), Math.floor(inside / height)];
  });
}

// Strips loaded by each program, 0 to 2, with a cache that drops what was not used for
// longest; `held` are the strips in the cache after it, as "x3" or "y0".
export function walk(settings) {
  const held = [];
  return tileOrder(settings).map(([row, column]) => {
    const loaded = [];
    for (const strip of [`x${row}`, `y${column}`]) {
      const place = held.indexOf(strip);
      if (place >= 0) held.splice(place, 1);
      else loaded.push(strip);
      held.push(strip);
      if (held.length > settings.cache) held.shift();
    }
    return { row, column, loaded, held: [...held] };
  });
}

// Where the lanes of a tile fall: inside the matrix, past the end of their row (there
// the next row begins), or past the last row; and the sectors that the inner ones touch.
export function lanesOf({ rows, cols, block_rows, block_cols }, [row, column]) {
  const lanes = { inside: 0, nextRow: 0, past: 0 };
  const sectors = new Set();
  for (let i = row * block_rows; i < (row + 1) * block_rows; i++)
    for (let j = column * block_cols; j < (column + 1) * block_cols; j++) {
      if (i < rows && j < cols) {
        lanes.inside += 1;
        sectors.add(Math.floor(((i * cols + j) * BYTES) / SECTOR));
      } else if (i * cols + j < rows * cols) lanes.nextRow += 1;
      else lanes.past += 1;
    }
  return { ...lanes, sectors: sectors.size };
}

export const totalLoads = (settings) =>
  walk(settings).reduce((sum, { loaded }) => sum + loaded.length, 0);

export function describeTiles(settings) {
  const steps = walk(settings);
  const now = Math.min(settings.program, steps.length - 1);
  const { row, column } = steps[now];
  const lanes = lanesOf(settings, [row, column]);
  const beyond = lanes.nextRow + lanes.past;
  const loads = totalLoads(settings);
  const [high, wide] = tileCounts(settings);
  const least = high + wide;
  const where = `Program ${now} of ${steps.length} writes tile (${row}, ${column}): ` +
    `${lanes.inside} numbers in ${count(lanes.sectors, "sector")} of 32 bytes. `;
  if (beyond && !settings.masked)
    return {
      kind: "diverges", verdict: "Out of bounds",
      text: `${where}Without a mask ${count(lanes.nextRow, "lane")} write into the next row, ` +
        `and ${lanes.past} past the end of the array.`,
    };
  const mask = beyond ? `${count(beyond, "lane")} beyond the edge, masked off. ` : "";
  const traffic = `In all ${loads} strips are loaded; the least is ${least}, each once.`;
  return loads === least
    ? { kind: "converges", verdict: "Each strip loaded once", text: where + mask + traffic }
    : { kind: "edge", verdict: "Strips loaded again", text: where + mask + traffic };
}
