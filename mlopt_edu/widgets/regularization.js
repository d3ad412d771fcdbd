// One penalised parabola, and a small least-squares problem with the same penalty.
//
// The penalty is strength (ratio |w| + (1 - ratio) w^2 / 2): the Lasso at ratio 1, ridge
// regression at 0, and an elastic net between.

const RATIO = { l1: 1, l2: 0, both: 0.5 };

export function softThreshold(x, threshold) {
  return Math.sign(x) * Math.max(Math.abs(x) - threshold, 0);
}

export function penalised(w, { penalty, strength, without }) {
  const ratio = RATIO[penalty];
  return (w - without) ** 2 / 2 + strength * (ratio * Math.abs(w) + ((1 - ratio) * w * w) / 2);
}

// Where that is lowest.
export function minimiser({ penalty, strength, without }) {
  const ratio = RATIO[penalty];
  return softThreshold(without, strength * ratio) / (1 + strength * (1 - ratio));
}

// --- eight weights -------------------------------------------------------------------

export const EXAMPLES = 24;
export const TRUE_WEIGHTS = [2, -1.5, 1, 0.5, 0, 0, 0, 0];

// The same numbers in every browser (a linear congruential generator, Park and Miller),
// so that the tests can solve the same problem by other means.
export function problem() {
  let state = 20;
  const next = () => {
    state = (state * 48271) % 2147483647;
    return (2 * state) / 2147483647 - 1;
  };
  const X = Array.from({ length: EXAMPLES }, () => {
    const common = next(); // makes the features resemble each other a little
    return TRUE_WEIGHTS.map(() => 1.5 * next() + 0.7 * common);
  });
  const y = X.map((row) =>
    row.reduce((sum, x, j) => sum + x * TRUE_WEIGHTS[j], 0) + 0.8 * next());
  return { X, y };
}

// Coordinate descent: solve for one weight at a time, the others held fixed, until none
// moves. `start` is a solution nearby.
export function solve({ X, y }, penalty, strength, start) {
  const n = X.length;
  const ratio = RATIO[penalty];
  const w = start ? [...start] : X[0].map(() => 0);
  const residual = y.map((value, i) => value - X[i].reduce((s, x, j) => s + x * w[j], 0));
  const squares = w.map((_, j) => X.reduce((s, row) => s + row[j] ** 2, 0) / n);
  for (let sweep = 0; sweep < 5000; sweep++) {
    let moved = 0;
    for (let j = 0; j < w.length; j++) {
      const pull = X.reduce((s, row, i) => s + row[j] * residual[i], 0) / n + squares[j] * w[j];
      const now = softThreshold(pull, strength * ratio) / (squares[j] + strength * (1 - ratio));
      const change = now - w[j];
      if (change) X.forEach((row, i) => (residual[i] -= row[j] * change));
      w[j] = now;
      moved = Math.max(moved, Math.abs(change));
    }
    if (moved < 1e-12) break;
  }
  return w;
}

export const STRENGTHS = Array.from({ length: 91 }, (_, k) => 10 ** (k / 30 - 2));

// The weights for every strength, each solved from the last one.
export function path(data, penalty) {
  let w;
  return STRENGTHS.map((strength) => (w = solve(data, penalty, strength, w)));
}

export function describeShrinkage(settings, weights) {
  const { penalty, strength, without } = settings;
  const w = minimiser(settings);
  const zeros = weights.filter((value) => value === 0).length;
  const one = w === 0
    ? without === 0 ? "The one weight is at 0 in any case." : "The one weight is exactly 0."
    : `The one weight goes from ${signed(without)} to ${signed(w)}.`;
  const many = `Of the eight weights ${zeros || "none"} ${zeros > 1 ? "are" : "is"} exactly 0`;
  if (strength === 0)
    return { kind: "edge", verdict: "No penalty", text: `${one} ${many}.` };
  if (penalty === "l2") {
    const factor = scientific(1 / (1 + strength));
    return {
      kind: "edge", verdict: "Shrinks",
      text: `${one} L2 multiplies it by ${factor}, which is never 0. ${many}.`,
    };
  }
  return {
    kind: zeros ? "converges" : "edge",
    verdict: zeros ? "Exact zeros" : "Shrinks",
    text: `${one} ${many}; the largest is ` +
      `${scientific(Math.max(...weights.map(Math.abs)))} in size.`,
  };
}

const signed = (value) => {
  const size = Math.abs(value);
  const digits = size && size < 0.01 ? scientific(size) : plain(+size.toFixed(3));
  return value < 0 ? `−${digits}` : digits;
};
