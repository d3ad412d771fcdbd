// The surfaces of OptimizerPlayground. Each has its lowest loss, 0, at its minima.
//
// evaluate(point, step) returns {loss, gradient}. `view` is what the panel shows of x and
// y, `losses` the exponents of ten that the loss axis shows.

const KAPPA = 50; // how much steeper a ravine is across than along
const HALF = Math.SQRT1_2; // cos 45° and sin 45°

function ravine([x, y]) {
  return { loss: (x * x / KAPPA + y * y) / 2, gradient: [x / KAPPA, y] };
}
function turnedRavine([x, y]) {
  const [along, across] = [HALF * (x + y), HALF * (y - x)];
  const { loss, gradient: [a, c] } = ravine([along, across]);
  return { loss, gradient: [HALF * (a - c), HALF * (a + c)] };
}
function rosenbrock([x, y]) {
  const [flat, bend] = [1 - x, y - x * x];
  return {
    loss: flat * flat + 100 * bend * bend,
    gradient: [-2 * flat - 400 * x * bend, 200 * bend],
  };
}
function saddle([x, y]) {
  const well = y * y - 1;
  return { loss: (x * x) / 2 + (well * well) / 4, gradient: [x, y * well] };
}
function beale([x, y]) {
  const loss = [1.5, 2.25, 2.625].map((c, i) => c - x + x * y ** (i + 1));
  const gradient = [0, 0];
  loss.forEach((r, i) => {
    gradient[0] += 2 * r * (y ** (i + 1) - 1);
    gradient[1] += 2 * r * x * (i + 1) * y ** i;
  });
  return { loss: loss.reduce((sum, r) => sum + r * r, 0), gradient };
}

// The same noise for all, whichever optimizer and however far its run has come.
const NOISE = (() => {
  const next = uniform(3);
  return Array.from({ length: 1000 }, () => normalPair(next));
})();
export function noisyBowl([x, y], step) {
  const [a, b] = NOISE[step % NOISE.length];
  return { loss: (x * x + y * y) / 2, gradient: [x + a, y + b] };
}

export const SURFACES = {
  ravine: {
    label: "Ravine along an axis", evaluate: ravine,
    start: [-2.17, 1.03], minima: [[0, 0]], view: [[-2.8, 2.8], [-2.2, 2.2]], losses: [-9, 1],
    lrs: { sgd: 1.5, momentum: 0.3, adagrad: 1.5, rmsprop: 0.07, adam: 0.2, adam_uncorrected: 0.05, lion: 0.02 },
    about: "Across it is 50 times steeper than along, and both directions are axes: one rate for each coordinate is the whole cure.",
  },
  turned_ravine: {
    label: "Ravine turned by 45°", evaluate: turnedRavine,
    start: [HALF * (-2.17 - 1.03), HALF * (-2.17 + 1.03)], minima: [[0, 0]],
    view: [[-2.8, 2.8], [-2.2, 2.2]], losses: [-9, 1],
    lrs: { sgd: 1.5, momentum: 0.3, adagrad: 1.5, rmsprop: 0.03, adam: 0.5, adam_uncorrected: 0.3, lion: 0.05 },
    about: "The same ravine and start, turned: SGD and momentum do not notice, but now x and y are equally steep, and one rate for each tells no direction from the other.",
  },
  rosenbrock: {
    label: "Rosenbrock's valley", evaluate: rosenbrock,
    start: [-1.2, 1], minima: [[1, 1]], view: [[-2, 2], [-0.9, 2.3]], losses: [-9, 3],
    lrs: { sgd: 0.002, momentum: 0.0015, adagrad: 0.3, rmsprop: 0.015, adam: 0.2, adam_uncorrected: 0.2, lion: 0.015 },
    about: "A curved, nearly flat floor between steep walls: the minimum is far along the bend.",
  },
  saddle: {
    label: "Saddle between two minima", evaluate: saddle,
    start: [-2.17, 0.0001], minima: [[0, -1], [0, 1]],
    view: [[-2.8, 2.8], [-2.2, 2.2]], losses: [-9, 1],
    lrs: { sgd: 0.7, momentum: 0.7, adagrad: 1, rmsprop: 0.1, adam: 0.3, adam_uncorrected: 0.07, lion: 0.05 },
    about: "The start is 0.0001 beside the ridge. SGD waits at the saddle until the gradient has grown; whoever divides by its size leaves at once.",
  },
  noisy_bowl: {
    label: "Bowl with noisy gradients", evaluate: noisyBowl,
    start: [-2.17, 1.43], minima: [[0, 0]], view: [[-2.8, 2.8], [-2.2, 2.2]], losses: [-4, 1],
    lrs: { sgd: 0.015, momentum: 0.0015, adagrad: 0.2, rmsprop: 0.015, adam: 0.02, adam_uncorrected: 0.015, lion: 0.03 },
    about: "Every gradient carries normal noise of variance 1 in x and in y: the step size decides how low the loss can stay.",
  },
  beale: {
    label: "Beale's plateau and walls", evaluate: beale,
    start: [1, 1.2], minima: [[3, 0.5]], view: [[-0.6, 4.4], [-2, 1.9]], losses: [-9, 2],
    lrs: { sgd: 0.03, momentum: 0.01, adagrad: 1.5, rmsprop: 0.03, adam: 0.7, adam_uncorrected: 0.15, lion: 0.05 },
    about: "Gradients are huge at the walls and tiny on the plateau.",
  },
  net: {
    label: "A small net on two moons", evaluate: smallNet,
    start: NET_START, view: [[-1.7, 2.7], [-1.3, 1.8]], losses: [-4, 1],
    lrs: { sgd: 5, momentum: 5, adagrad: 1, rmsprop: 0.1, adam: 1, adam_uncorrected: 1, lion: 0.07 },
    about: "A real net, 2-8-1 with tanh and 33 weights, on 32 points; each line is where one net is undecided.",
  },
};
