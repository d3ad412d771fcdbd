// A net of 2 inputs, two hidden layers of 12 tanh units and one logit, and its masks.
//
// A net is a list of layers {weight, bias}: weight[i][j] leads from input j to output i.

export const SIZES = [2, 12, 12, 1];
const STEPS = 400;
const MORE_STEPS = 100;

// Two half circles, each reaching into the other; {x, y, moon: 0 or 1}.
export const POINTS = (() => {
  const next = uniform(1);
  return Array.from({ length: 100 }, (_, i) => {
    const moon = i % 2;
    const angle = (Math.PI * Math.floor(i / 2)) / 49;
    const [a, b] = normalPair(next).map((value) => 0.12 * value);
    const [x, y] = [Math.cos(angle), Math.sin(angle)];
    return moon ? { x: 1 - x + a, y: 0.5 - y + b, moon } : { x: x + a, y: y + b, moon };
  });
})();

const map = (net, f) => net.map(({ weight, bias }, k) => ({
  weight: weight.map((row, i) => row.map((w, j) => f(w, k, i, j))),
  bias: bias.map((b, i) => f(b, k, i)),
}));

export function startNet(seed) {
  const next = uniform(seed);
  return SIZES.slice(1).map((outputs, k) => ({
    weight: Array.from({ length: outputs }, () =>
      Array.from({ length: SIZES[k] }, () => normalPair(next)[0] / Math.sqrt(SIZES[k]))),
    bias: Array(outputs).fill(0),
  }));
}

const dot = (row, x) => {
  let sum = 0;
  for (let j = 0; j < row.length; j++) sum += row[j] * x[j];
  return sum;
};
const tanh = (a) => 1 - 2 / (Math.exp(2 * a) + 1); // twice as fast as Math.tanh

// The activations of every layer: the inputs, tanh twice, and the logit as it is.
function forward(net, x, y) {
  const values = [[x, y]];
  for (let k = 0; k < net.length; k++) {
    const { weight, bias } = net[k];
    const outputs = new Array(bias.length);
    for (let i = 0; i < bias.length; i++) {
      const sum = dot(weight[i], values[k]) + bias[i];
      outputs[i] = k < net.length - 1 ? tanh(sum) : sum;
    }
    values.push(outputs);
  }
  return values;
}
export const logitOf = (net, x, y) => forward(net, x, y).at(-1)[0];

// Mean binary cross-entropy over the points, and its gradient in the form of a net.
export function lossOf(net) {
  const gradient = map(net, () => 0);
  let loss = 0;
  for (const { x, y, moon } of POINTS) {
    const values = forward(net, x, y);
    const z = values.at(-1)[0];
    // log(1 + e^z) - moon z, without overflow.
    loss += Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z))) - moon * z;
    let error = [(1 / (1 + Math.exp(-z)) - moon) / POINTS.length];
    for (let k = net.length - 1; k >= 0; k--) {
      const input = values[k];
      const back = new Array(input.length).fill(0);
      for (let i = 0; i < error.length; i++) {
        gradient[k].bias[i] += error[i];
        const row = net[k].weight[i];
        const slope = gradient[k].weight[i];
        for (let j = 0; j < input.length; j++) {
          slope[j] += error[i] * input[j];
          back[j] += error[i] * row[j];
        }
      }
      for (let j = 0; j < input.length; j++) back[j] *= 1 - input[j] * input[j]; // through tanh
      error = back;
    }
  }
  return { loss: loss / POINTS.length, gradient };
}

export const masked = (net, mask) =>
  map(net, (w, k, i, j) => ((j === undefined ? mask[k].bias[i] : mask[k].weight[i][j]) ? w : 0));

// Full-batch descent with momentum; the mask is applied after every step.
export function trainNet(net, mask, steps = STEPS) {
  net = masked(net, mask);
  const velocity = map(net, () => 0);
  const move = (weights, speed, slope, keep) => {
    for (let j = 0; j < weights.length; j++) {
      speed[j] = 0.9 * speed[j] + slope[j];
      weights[j] = keep[j] ? weights[j] - 0.15 * speed[j] : 0;
    }
  };
  for (let step = 0; step < steps; step++) {
    const { gradient } = lossOf(net);
    net.forEach(({ weight, bias }, k) => {
      move(bias, velocity[k].bias, gradient[k].bias, mask[k].bias);
      for (let i = 0; i < weight.length; i++)
        move(weight[i], velocity[k].weight[i], gradient[k].weight[i], mask[k].weight[i]);
    });
  }
  return net;
}

export const everything = (net) => map(net, () => true);

// --- who goes ------------------------------------------------------------------------

const shareOf = (amount, size) => Math.round(amount * size);

// The indices of the `count` lowest scores; of equal ones the first.
function lowest(scores, count) {
  const order = scores.map((_, i) => i).sort((a, b) => scores[a] - scores[b] || a - b);
  return order.slice(0, count);
}

// The hidden units to remove, a list for each hidden layer: the lowest norms of all the
// weights into and out of a unit. One unit stays.
export function unitsToRemove(net, amount) {
  return net.slice(0, -1).map(({ weight }, k) => {
    const squares = weight.map((row, i) =>
      dot(row, row) + net[k + 1].weight.reduce((sum, next) => sum + next[i] ** 2, 0));
    return lowest(squares, Math.min(shareOf(amount, weight.length), weight.length - 1));
  });
}

export function maskOf(net, { pattern, amount, seed }) {
  const mask = everything(net);
  if (pattern === "units") {
    unitsToRemove(net, amount).forEach((units, k) => units.forEach((unit) => {
      mask[k].weight[unit].fill(false);
      mask[k].bias[unit] = false;
      for (const row of mask[k + 1].weight) row[unit] = false;
    }));
    return mask;
  }
  const places = [];
  net.forEach(({ weight }, k) => weight.forEach((row, i) => row.forEach((w, j) =>
    places.push({ k, i, j, size: Math.abs(w) }))));
  const drop = (group, count, score = ({ size }) => size) => {
    for (const at of lowest(group.map(score), count)) {
      const { k, i, j } = group[at];
      mask[k].weight[i][j] = false;
    }
  };
  if (pattern === "global") drop(places, shareOf(amount, places.length));
  if (pattern === "any") {
    const next = uniform(seed + 1000);
    const drawn = places.map(() => next());
    drop(places, shareOf(amount, places.length), (place) => drawn[places.indexOf(place)]);
  }
  for (let k = 0; k < net.length; k++) {
    const layer = places.filter((place) => place.k === k);
    if (pattern === "layers") drop(layer, shareOf(amount, layer.length));
    if (pattern === "n:4" && SIZES[k] % 4 === 0) // two inputs are no four neighbours
      for (let from = 0; from < layer.length; from += 4)
        drop(layer.slice(from, from + 4), shareOf(amount, 4));
  }
  return mask;
}

// --- what is left --------------------------------------------------------------------

export const accuracyOf = (net) =>
  POINTS.filter(({ x, y, moon }) => logitOf(net, x, y) > 0 === (moon === 1)).length / POINTS.length;

// Bytes of the three weight matrices, in 32-bit floats with one-byte indices.
export function bytesOf(net, mask) {
  const bytes = { left: 0, total: 0, csr: 0, bitmask: 0, cut: 0 };
  mask.forEach(({ weight }) => {
    const size = weight.length * weight[0].length;
    const nonzeros = weight.flat().filter(Boolean).length;
    const rows = weight.filter((row) => row.some(Boolean)).length;
    const columns = weight[0].filter((_, j) => weight.some((row) => row[j])).length;
    bytes.left += nonzeros;
    bytes.total += size;
    bytes.csr += 5 * nonzeros + weight.length + 1;
    bytes.bitmask += 4 * nonzeros + Math.ceil(size / 8);
    bytes.cut += 4 * rows * columns;
  });
  return { ...bytes, dense: 4 * bytes.total };
}

const trainedNets = new Map(); // training takes a moment: once for each seed
export function trainedNet(seed) {
  if (!trainedNets.has(seed)) {
    const start = startNet(seed);
    trainedNets.set(seed, trainNet(start, everything(start)));
  }
  return trainedNets.get(seed);
}

export function pruneNet(settings) {
  const dense = trainedNet(settings.seed);
  const mask = maskOf(dense, settings);
  const net = settings.fine_tuning ? trainNet(dense, mask, MORE_STEPS) : masked(dense, mask);
  return { dense, mask, net };
}

export function describePruned(settings, { dense, mask, net }) {
  const [before, now] = [accuracyOf(dense), accuracyOf(net)].map((share) => Math.round(100 * share));
  const bytes = bytesOf(net, mask);
  const kind = now >= before - 2 ? "converges" : now >= 80 ? "edge" : "diverges";
  const verdict = { converges: "As good as before", edge: "Damaged", diverges: "Broken" }[kind];
  const form = settings.pattern === "units"
    ? `smaller matrices ${bytes.cut}, with no format at all`
    : `CSR ${bytes.csr}, bitmask ${bytes.bitmask}`;
  return {
    kind, verdict,
    text: `${bytes.left} of ${bytes.total} weights are left; ${now} % of the points are right, ` +
      `with all weights ${before} %. Bytes: dense ${bytes.dense} (a mask saves none), ${form}.`,
  };
}
