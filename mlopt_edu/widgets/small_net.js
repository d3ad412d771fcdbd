// A net of 2 inputs, 8 tanh units and 1 logit on two moons, trained on all points at once.
//
// Its 33 weights in one list: 16 from the inputs (a unit's two side by side), 8 biases,
// 8 to the logit, 1 bias. The loss is the mean binary cross-entropy.

const UNITS = 8;
const WEIGHTS = 4 * UNITS + 1;

// Two half circles, each reaching into the other; {x, y, moon: 0 or 1}.
export const MOONS = (() => {
  const next = uniform(1);
  return Array.from({ length: 32 }, (_, i) => {
    const moon = i % 2;
    const angle = (Math.PI * Math.floor(i / 2)) / 15;
    const [a, b] = normalPair(next).map((value) => 0.2 * value);
    const [x, y] = [Math.cos(angle), Math.sin(angle)];
    return moon ? { x: 1 - x + a, y: 0.5 - y + b, moon } : { x: x + a, y: y + b, moon };
  });
})();

export const NET_START = (() => {
  const next = uniform(2);
  const scale = (i) => (i < 2 * UNITS ? Math.SQRT1_2 : 1 / Math.sqrt(UNITS)); // 1 / sqrt(fan in)
  const bias = (i) => (i >= 2 * UNITS && i < 3 * UNITS) || i === WEIGHTS - 1;
  return Array.from({ length: WEIGHTS }, (_, i) => (bias(i) ? 0 : scale(i) * normalPair(next)[0]));
})();

const tanh = (a) => 1 - 2 / (Math.exp(2 * a) + 1); // twice as fast as Math.tanh
const hidden = new Float64Array(UNITS);

// The logit of one point; leaves the activations in `hidden`.
export function logit(w, x, y) {
  let z = w[4 * UNITS];
  for (let j = 0; j < UNITS; j++) {
    hidden[j] = tanh(w[2 * j] * x + w[2 * j + 1] * y + w[2 * UNITS + j]);
    z += w[3 * UNITS + j] * hidden[j];
  }
  return z;
}

export function smallNet(w) {
  const gradient = new Float64Array(WEIGHTS);
  let loss = 0;
  for (const { x, y, moon } of MOONS) {
    const z = logit(w, x, y);
    // log(1 + e^z) - moon z, without overflow.
    loss += Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z))) - moon * z;
    const error = (1 / (1 + Math.exp(-z)) - moon) / MOONS.length;
    gradient[4 * UNITS] += error;
    for (let j = 0; j < UNITS; j++) {
      const h = hidden[j];
      gradient[3 * UNITS + j] += error * h;
      const back = error * w[3 * UNITS + j] * (1 - h * h); // through tanh
      gradient[2 * j] += back * x;
      gradient[2 * j + 1] += back * y;
      gradient[2 * UNITS + j] += back;
    }
  }
  return { loss: loss / MOONS.length, gradient };
}
