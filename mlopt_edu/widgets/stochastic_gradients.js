// Heavy ball on the valley of gradient_descent.js, with noise in every gradient.
//
// Each coordinate of a gradient carries noise of variance 1 / batch_size.

const START = [-2.4, 0.9];
export const RUNS = 32; // of which the first is drawn alone, and all as their mean

// Numbers in (0, 1) from a seed (mulberry32).
export function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

// Two independent normal numbers at a time (Box and Muller).
export function normalPair(next) {
  const radius = Math.sqrt(-2 * Math.log(next()));
  const angle = 2 * Math.PI * next();
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}

export function noisyTrajectory({ lr, batch_size, momentum, condition_number, steps }, next) {
  const [xx, xy, yy] = hessian(condition_number);
  const noise = 1 / Math.sqrt(batch_size);
  let [x, y, vx, vy] = [...START, 0, 0];
  const path = { x: [], y: [], loss: [] };
  for (let step = 0; step <= steps; step++) {
    const [gx, gy] = [xx * x + xy * y, xy * x + yy * y];
    const loss = (x * gx + y * gy) / 2;
    if (!Number.isFinite(loss)) break;
    path.x.push(x);
    path.y.push(y);
    path.loss.push(loss);
    const [a, b] = normalPair(next);
    vx = momentum * vx + gx + noise * a;
    vy = momentum * vy + gy + noise * b;
    x -= lr * vx;
    y -= lr * vy;
  }
  return path;
}

// All runs of a seed: the first path, and the mean loss of all by step.
export function manyRuns(settings) {
  const next = uniform(settings.seed);
  const paths = Array.from({ length: RUNS }, () => noisyTrajectory(settings, next));
  const length = Math.min(...paths.map((path) => path.loss.length));
  const mean = Array.from({ length }, (_, step) =>
    paths.reduce((sum, path) => sum + path.loss[step], 0) / RUNS);
  return { path: paths[0], mean };
}

// The loss that is left in the long run. In a direction of curvature h the variance V of
// the point is what a step leaves unchanged:
//   V = lr s^2 (1 + momentum) / (h (1 - momentum) (2 (1 + momentum) - lr h)).
export function noiseFloor({ lr, batch_size, momentum, condition_number }) {
  const one = (h) =>
    (lr * (1 + momentum)) /
    (2 * batch_size * (1 - momentum) * (2 * (1 + momentum) - lr * h));
  return lr < stepSizeBound({ momentum }) ? one(L) + one(L / condition_number) : Infinity;
}

export function describeNoise(settings, { path, mean }) {
  const { lr, batch_size, momentum, steps } = settings;
  const bound = stepSizeBound(settings);
  const floor = noiseFloor(settings);
  const ratio = `lr / B = ${scientific(lr / batch_size)}`;
  if (lr === 0)
    return { kind: "edge", verdict: "Stays", text: "lr = 0: a step of size zero goes nowhere." };
  if (floor === Infinity) {
    const what = Math.abs(lr - bound) < 1e-9 ? "is the bound itself" : "is beyond the bound";
    return {
      kind: "diverges", verdict: "Diverges",
      text: `lr = ${plain(lr)} ${what}, 2(1 + β)/L = ${plain(bound)}. A larger batch ` +
        "takes away noise, not curvature.",
    };
  }
  const half = mean.slice(Math.floor(mean.length / 2));
  const seen = half.reduce((sum, value) => sum + value, 0) / half.length;
  const arrived = seen < 1.3 * floor;
  const much = momentum ? `, which momentum multiplies by ${plain(1 / (1 - momentum))}` : "";
  return {
    kind: arrived ? "converges" : "edge",
    verdict: arrived ? "At the floor" : "On its way",
    text: `${ratio}${much}: the predicted floor is ${scientific(floor)}. Over the second ` +
      `half of ${count(steps)} the mean of ${count(RUNS, "run")} is ${scientific(seen)}.`,
  };
}
