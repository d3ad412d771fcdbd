// The optimizers of OptimizerPlayground, and a run of one of them on one surface.
//
// Every rule works on one weight alone: from its gradient g and its memory {m, v} after t
// steps it makes the direction that lr then multiplies. All is as in torch.optim, also the
// place of eps; RMSprop's alpha is beta2.

const average = (old, value, beta) => beta * old + (1 - beta) * value;

function adam(g, memory, { beta1, beta2, eps }, t) {
  memory.m = average(memory.m, g, beta1);
  memory.v = average(memory.v, g * g, beta2);
  const m = memory.m / (1 - beta1 ** t); // both averages began at zero
  const v = memory.v / (1 - beta2 ** t);
  return m / (Math.sqrt(v) + eps);
}
function adamUncorrected(g, memory, { beta1, beta2, eps }) {
  memory.m = average(memory.m, g, beta1);
  memory.v = average(memory.v, g * g, beta2);
  return memory.m / (Math.sqrt(memory.v) + eps);
}
function adagrad(g, memory, { eps }) {
  memory.v += g * g;
  return g / (Math.sqrt(memory.v) + eps);
}
function rmsprop(g, memory, { beta2, eps }) {
  memory.v = average(memory.v, g * g, beta2);
  return g / (Math.sqrt(memory.v) + eps);
}
function momentum(g, memory, { beta1 }) {
  memory.m = beta1 * memory.m + g;
  return memory.m;
}
function lion(g, memory, { beta1, beta2 }) {
  const direction = Math.sign(average(memory.m, g, beta1));
  memory.m = average(memory.m, g, beta2);
  return direction;
}

export const OPTIMIZERS = {
  sgd: { name: "SGD", rule: (g) => g },
  momentum: { name: "Momentum", rule: momentum },
  adagrad: { name: "AdaGrad", rule: adagrad },
  rmsprop: { name: "RMSprop", rule: rmsprop },
  adam: { name: "Adam", rule: adam },
  adam_uncorrected: { name: "Biased Adam", rule: adamUncorrected },
  lion: { name: "Lion", rule: lion },
};

// --- runs ----------------------------------------------------------------------------

const LOST = 1e9; // a loss above this counts as diverged

export function startRun(surface, optimizer, hyper) {
  const { start } = SURFACES[surface];
  const memory = Array.from(start, () => ({ m: 0, v: 0 }));
  return { surface, optimizer, hyper, memory, points: [], losses: [], diverged: false };
}

// Goes on until `points` and `losses` hold steps 0 to `until`, or to the last finite one.
export function advance(run, until) {
  const { evaluate, start } = SURFACES[run.surface];
  const { rule } = OPTIMIZERS[run.optimizer];
  while (run.points.length <= until && !run.diverged) {
    const t = run.points.length; // the step that this point comes from
    const point = new Float64Array(run.points.at(-1) ?? start);
    if (t > 0)
      for (let i = 0; i < point.length; i++)
        point[i] -= run.hyper.lr * rule(run.gradient[i], run.memory[i], run.hyper, t);
    const { loss, gradient } = evaluate(point, t);
    if (loss < LOST) {
      run.points.push(point);
      run.losses.push(loss);
      run.gradient = gradient;
    } else run.diverged = true; // NaN too
  }
  return run;
}

// --- in words ------------------------------------------------------------------------

const ARRIVED = 1e-12; // below it a loss is rounding, and lower is no better
export const lossInWords = (loss) => (loss < ARRIVED ? "< 10⁻¹²" : scientific(loss));

// Who stands where after `step` steps: [name, loss] from the lowest loss up, and who has
// diverged before.
export function standing(runs, step) {
  const name = (run) => OPTIMIZERS[run.optimizer].name;
  const lost = runs.filter((run) => run.losses.length <= step);
  const order = runs.filter((run) => run.losses.length > step)
    .map((run) => [name(run), run.losses[step]]).sort((a, b) => a[1] - b[1]);
  return { order, lost: lost.map(name) };
}

export function describeRuns(surface, runs, step, playing) {
  const { label, about } = SURFACES[surface];
  if (runs.length === 0)
    return { kind: "edge", verdict: "Nothing runs", text: "Switch on an optimizer." };
  if (playing || step === 0) return { kind: "edge", verdict: label, text: about };
  const { order, lost } = standing(runs, step);
  if (order.length === 0)
    return { kind: "diverges", verdict: "All diverge", text: `No loss is left after ${count(step)}.` };
  const arrived = Math.max(1, order.filter(([, loss]) => loss < ARRIVED).length);
  const list = (names) => new Intl.ListFormat("en").format(names);
  const leaders = list(order.slice(0, arrived).map(([name]) => name));
  const next = order[arrived] ? `, next ${order[arrived][0]} with ${lossInWords(order[arrived][1])}` : "";
  return {
    kind: lost.length ? "diverges" : "converges",
    verdict: lost.length ? `${list(lost)} diverged`
      : arrived > 1 ? `${leaders} have arrived` : `${leaders} is lowest`,
    text: `After ${count(step)}: ${leaders} with ${lossInWords(order[0][1])}${next}. ${about}`,
  };
}

// --- the best lr of each -------------------------------------------------------------

export const STEPS = 400;
const GRID = [-4, -3, -2, -1, 0].flatMap((e) => [1, 1.5, 2, 3, 5, 7].map((m) => +`${m}e${e}`));
export const TUNED_AT = { beta1: 0.9, beta2: 0.99, eps: 1e-8 };

// What tuning minimizes: the mean over all steps of log10 of the worst loss from there
// on. So fast counts, a lucky touch of the minimum does not, and no run may begin by
// doubling its loss.
export function score(surface, optimizer, lr) {
  const run = advance(startRun(surface, optimizer, { ...TUNED_AT, lr }), STEPS);
  if (run.diverged || Math.max(...run.losses) > 2 * run.losses[0]) return Infinity;
  let [worst, sum] = [1e-10, 0];
  for (const loss of run.losses.reverse()) {
    worst = Math.max(worst, loss);
    sum += Math.log10(worst);
  }
  return sum / run.losses.length;
}
export function tune(surface, optimizer) {
  const scores = GRID.map((lr) => score(surface, optimizer, lr));
  return GRID[scores.indexOf(Math.min(...scores))];
}
