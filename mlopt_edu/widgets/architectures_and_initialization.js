// A random deep net of equal widths without biases: what becomes of a signal on its way
// up, and of a gradient on its way down.
//
//     z = h W,   h <- phi(z)             up, from normal inputs
//     d = g phi'(z),   g <- d W^T        down, from a normal gradient at the last output

export const BATCH = 16;

// erfc by a Chebyshev fit (Numerical Recipes), relative error below 1.2e-7.
const FIT = [
  0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418,
  0.37409196, 1.00002368, -1.26551223,
];
function erfc(x) {
  const t = 1 / (1 + Math.abs(x) / 2);
  let fit = 0;
  for (const coefficient of FIT) fit = fit * t + coefficient;
  const value = t * Math.exp(-x * x + fit);
  return x < 0 ? 2 - value : value;
}
const normalBelow = (z) => erfc(-z * Math.SQRT1_2) / 2;
const normalDensity = (z) => Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
const sigmoid = (z) => 1 / (1 + Math.exp(-z));

// Each activation with its slope.
export const ACTIVATIONS = {
  identity: [(z) => z, () => 1],
  sigmoid: [sigmoid, (z) => sigmoid(z) * sigmoid(-z)],
  tanh: [Math.tanh, (z) => 1 - Math.tanh(z) ** 2],
  relu: [(z) => Math.max(z, 0), (z) => (z > 0 ? 1 : 0)],
  gelu: [(z) => z * normalBelow(z), (z) => normalBelow(z) + z * normalDensity(z)],
};

// Standard deviation of the weights of a layer with as many outputs as inputs.
const STDS = {
  xavier: (width) => Math.sqrt(1 / width),
  he: (width) => Math.sqrt(2 / width),
  torch: (width) => Math.sqrt(1 / (3 * width)), // uniform up to 1 / sqrt(width)
  small: () => 0.01,
  one: () => 1,
};
export const weightStd = ({ scheme, width, gain }) => gain * STDS[scheme](width);

function normals(next, size) {
  const values = new Float64Array(size + (size % 2));
  for (let i = 0; i < size; i += 2) values.set(normalPair(next), i);
  return values.subarray(0, size);
}

// Inputs, the gradient at the last output, and weights of standard deviation 1. Kept, for
// a slider of the weights' size redraws the same ones.
let drawn = {};
export function draws({ seed, depth, width }) {
  const key = `${seed} ${depth} ${width}`;
  if (drawn.key !== key) {
    const next = uniform(seed);
    const [inputs, last] = [0, 1].map(() => normals(next, BATCH * width));
    const weights = Array.from({ length: depth }, () => normals(next, width * width));
    drawn = { key, inputs, last, weights };
  }
  return drawn;
}

// rows (BATCH, width) times scale * matrix (width, width).
function times(rows, matrix, width, scale) {
  const product = new Float64Array(rows.length);
  for (let n = 0; n < rows.length; n += width) {
    for (let i = 0; i < width; i++) {
      const line = i * width;
      const factor = scale * rows[n + i];
      if (factor) for (let j = 0; j < width; j++) product[n + j] += factor * matrix[line + j];
    }
  }
  return product;
}

// The same with the transpose.
function timesTransposed(rows, matrix, width, scale) {
  const product = new Float64Array(rows.length);
  for (let n = 0; n < rows.length; n += width) {
    for (let i = 0; i < width; i++) {
      const line = i * width;
      let sum = 0;
      for (let j = 0; j < width; j++) sum += rows[n + j] * matrix[line + j];
      product[n + i] = scale * sum;
    }
  }
  return product;
}

// Standard deviation, about one mean for each of `groups`: with 1 of all entries, with
// the width about each unit's own mean, so of what tells the examples apart.
function deviation(values, groups = 1) {
  const means = new Float64Array(groups);
  for (let n = 0; n < values.length; n++) means[n % groups] += (values[n] * groups) / values.length;
  let sum = 0;
  for (let n = 0; n < values.length; n++) sum += (values[n] - means[n % groups]) ** 2;
  return Math.sqrt(sum / values.length);
}

// By layer, 0 the inputs: standard deviation of the signal, of what tells the examples
// apart, and of the gradient that arrives at the layer's output.
export function measuredFlow(settings) {
  const { depth, width, activation } = settings;
  const [phi, slope] = ACTIVATIONS[activation];
  const { inputs, last, weights } = draws(settings);
  const scale = weightStd(settings);
  const slopes = [];
  let signal = inputs;
  const flow = { signal: [deviation(signal)], between: [deviation(signal, width)] };
  for (const matrix of weights) {
    const z = times(signal, matrix, width, scale);
    signal = z.map(phi);
    slopes.push(z.map(slope));
    flow.signal.push(deviation(signal));
    flow.between.push(deviation(signal, width));
  }
  let gradient = last;
  flow.gradient = [deviation(gradient)];
  for (let k = depth - 1; k >= 0; k--) {
    const delta = gradient.map((g, i) => g * slopes[k][i]);
    gradient = timesTransposed(delta, weights[k], width, scale);
    flow.gradient.unshift(deviation(gradient));
  }
  return flow;
}

// The mean of f(z) for z ~ N(0, std^2), by the midpoint rule in t, z = SPREAD sinh(t):
// dense near 0, where phi bends, however large std is.
const SPREAD = 10 / Math.sinh(12);
const NODES = Array.from({ length: 1000 }, (_, i) => {
  const t = 12 * ((2 * i + 1) / 1000 - 1);
  const z = SPREAD * Math.sinh(t);
  return [z, Math.exp((-z * z) / 2) * Math.cosh(t)];
});
const TOTAL_WEIGHT = NODES.reduce((sum, [, weight]) => sum + weight, 0);
export const expectation = (f, std) =>
  NODES.reduce((sum, [z, weight]) => sum + weight * f(std * z), 0) / TOTAL_WEIGHT;

// The same for infinite width: width * Var(w) * E[phi^2] makes the next layer's z, and
// width * Var(w) * E[phi'^2] is the factor of the squared gradient.
export function predictedFlow(settings) {
  const { depth, width, activation } = settings;
  const [phi, slope] = ACTIVATIONS[activation];
  const power = width * weightStd(settings) ** 2;
  const factors = [];
  const flow = { signal: [1], gradient: [1] };
  let square = 1;
  for (let k = 0; k < depth; k++) {
    const std = Math.sqrt(power * square);
    square = expectation((z) => phi(z) ** 2, std);
    flow.signal.push(Math.sqrt(Math.max(square - expectation(phi, std) ** 2, 0)));
    factors.push(power * expectation((z) => slope(z) ** 2, std));
  }
  for (const factor of factors.reverse())
    flow.gradient.unshift(flow.gradient[0] * Math.sqrt(factor));
  return flow;
}

// Factor of one layer: the inputs differ from what layers put out, so from layer 1 on.
export function factorsPerLayer({ signal, gradient }) {
  const depth = signal.length - 1;
  return {
    up: (signal[depth] / signal[1]) ** (1 / (depth - 1)),
    down: (gradient[0] / gradient[depth]) ** (1 / depth),
  };
}

const ENOUGH = 100; // a signal this many times smaller or larger has not survived

export function describeFlow(settings, seen, expected) {
  const { depth } = settings;
  const { signal, between, gradient } = seen;
  const [up, down] = [signal[depth] / signal[1], gradient[0] / gradient[depth]];
  const [now, then] = [factorsPerLayer(seen), factorsPerLayer(expected)];
  const text =
    `Signal × ${scientific(now.up)} a layer (predicted ${scientific(then.up)}), ` +
    `gradient × ${scientific(now.down)} a layer (predicted ${scientific(then.down)}). ` +
    `Over ${depth} layers the gradient becomes ${scientific(down)} of what it was.`;
  if (signal[depth] === 0)
    return {
      kind: "diverges", verdict: "Dead",
      text: `The last layer gives 0 for all ${BATCH} examples, and no gradient comes back.`,
    };
  if (Math.max(up, down) > ENOUGH) return { kind: "diverges", verdict: "Explodes", text };
  if (Math.min(up, down) >= 1 / ENOUGH) return { kind: "converges", verdict: "Survives", text };
  const alike =
    up >= 1 / ENOUGH && between[depth] < signal[depth] / ENOUGH
      ? " The units still put out numbers, but the same ones for every example." : "";
  return { kind: "diverges", verdict: "Vanishes", text: text + alike };
}
