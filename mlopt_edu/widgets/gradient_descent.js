// The mathematics of gradient descent with momentum on a tilted valley.
//
//     f(x, y) = (L u^2 + mu v^2) / 2,   L = 1,   mu = L / condition_number
//
// u crosses the valley (steep), v runs along it (flat).

const L = 1;
const TILT = (25 * Math.PI) / 180; // from the x axis to the floor of the valley

export function hessian(conditionNumber) {
  const mu = L / conditionNumber;
  const [c, s] = [Math.cos(TILT), Math.sin(TILT)];
  return [L * s * s + mu * c * c, (mu - L) * s * c, L * c * c + mu * s * s]; // xx, xy, yy
}

// The points and losses of steps 0, 1, ...; it ends early where the loss overflows.
export function trajectory({ lr, condition_number, momentum, start_x, start_y, steps }) {
  const [xx, xy, yy] = hessian(condition_number);
  let [x, y, vx, vy] = [start_x, start_y, 0, 0];
  const path = { x: [], y: [], loss: [] };
  for (let step = 0; step <= steps; step++) {
    const [gx, gy] = [xx * x + xy * y, xy * x + yy * y];
    const loss = (x * gx + y * gy) / 2;
    if (!Number.isFinite(loss)) break;
    path.x.push(x);
    path.y.push(y);
    path.loss.push(Math.max(loss, 0)); // rounding may leave -1e-40 at the minimum
    vx = momentum * vx + gx;
    vy = momentum * vy + gy;
    x -= lr * vx;
    y -= lr * vy;
  }
  return path;
}

// One direction of curvature h obeys z^2 - (1 + momentum - lr h) z + momentum = 0;
// in the long run a step multiplies the distance by the larger |z|.
export function spectralRadius({ lr, momentum }, h) {
  const half = (1 + momentum - lr * h) / 2;
  const discriminant = half * half - momentum;
  return discriminant < 0 ? Math.sqrt(momentum) : Math.abs(half) + Math.sqrt(discriminant);
}

export function stepSizeBound({ momentum }) {
  return (2 * (1 + momentum)) / L;
}

// What will happen, in words: {kind, verdict, text}.
export function describe(settings, path = trajectory(settings)) {
  const { lr, condition_number, momentum, steps } = settings;
  const bound = stepSizeBound(settings);
  const [steep, flat] = [L, L / condition_number].map((h) => spectralRadius(settings, h));
  const rate = Math.max(steep, flat);
  const where =
    condition_number === 1 ? "every direction"
    : Math.abs(steep - flat) < 1e-12 ? "both directions"
    : steep > flat ? "the steep direction"
    : "the flat direction";
  const eventually = momentum ? "in the long run " : "";
  const size = `lr = ${plain(lr)} = ${plain((lr * L) / 2)} × (2/L)`;
  const last = path.loss.length - 1;
  const loss = `after ${count(last)} the loss is ${scientific(path.loss[last])}`;

  if (path.loss[0] === 0)
    return { kind: "edge", verdict: "Stays", text: "It starts at the minimum, where the gradient is zero." };
  if (lr === 0)
    return { kind: "edge", verdict: "Stays", text: "lr = 0: a step of size zero goes nowhere." };
  if (Math.abs(lr - bound) < 1e-9)
    return {
      kind: "edge", verdict: "On the edge",
      text: `${size} is the bound itself. Along ${where} it ${eventually}jumps between two points for ever; ${loss}.`,
    };
  if (rate > 1) {
    const end = last < steps ? `the loss overflows after ${count(last)}` : loss;
    return {
      kind: "diverges", verdict: "Diverges",
      text: `${size} is beyond the bound ${plain(bound)}. Along ${where} the distance grows ` +
        `${eventually}by a factor of ${factor(rate)} each step; ${end}.`,
    };
  }
  const tenfold = Math.max(1, Math.ceil(Math.LN10 / (-2 * Math.log(rate))));
  const slowest = Math.abs(steep - flat) < 1e-12 ? "No direction is slower" : `Slowest is ${where}`;
  return {
    kind: "converges", verdict: "Converges",
    text: `${size}; ${loss}. ${slowest}: each step multiplies the distance ` +
      `${eventually}by ${factor(rate)}, so ten times less loss takes about ${count(tenfold)}.`,
  };
}

// 0.9998 must not read as 1.000.
const factor = (value) => {
  const short = value.toFixed(3);
  return short === "1.000" && value !== 1 ? value.toFixed(6) : short;
};
