// Learning rates by step, and what they do to a noisy valley in expectation.
//
// A schedule is a factor of the base lr; step counts from 0, done = step / total.

export const TOTAL = 200;
const CURVATURES = [1, 0.05]; // steep and flat: the condition number is 20
const START = 1; // the squared error in each direction, before the first step

const cosine = (done) => (1 + Math.cos(Math.PI * Math.min(done, 1))) / 2;
const SHAPES = {
  constant: () => 1,
  inverse_sqrt: (step) => 1 / Math.sqrt(1 + step),
  step_decay: (step) => 0.1 ** Math.floor(step / 70),
  exponential: (step) => 0.98 ** step,
  cosine: (step, total) => cosine(step / total),
  sgdr: (step) => {
    let [start, length] = [0, 30]; // cycles of 30, 60 and 120 steps
    while (step >= start + length) [start, length] = [start + length, 2 * length];
    return cosine((step - start) / length);
  },
  wsd: (step, total) => Math.min(1, Math.max(0, (total - step) / (0.3 * total))),
};

// The factor at a step: a linear warm-up first, and then the shape from its beginning.
export function factor(schedule, step, warmup) {
  if (step < warmup) return (step + 1) / (warmup + 1);
  return SHAPES[schedule](step - warmup, TOTAL - warmup);
}

// The expected loss by step: exactly, without drawing any noise. In a direction of
// curvature h, a step makes (1 - lr h)^2 V + lr^2 noise of the mean squared error V.
export function expectedLoss(lrs, noise) {
  const errors = CURVATURES.map(() => START);
  const loss = () => CURVATURES.reduce((sum, h, i) => sum + (h * errors[i]) / 2, 0);
  const losses = [loss()];
  for (const lr of lrs) {
    CURVATURES.forEach((h, i) => {
      errors[i] = Math.min((1 - lr * h) ** 2 * errors[i] + lr * lr * noise, 1e300);
    });
    losses.push(loss());
  }
  return losses;
}

export function scheduleRun({ schedule, lr, warmup, noise }) {
  const lrs = Array.from({ length: TOTAL }, (_, step) => lr * factor(schedule, step, warmup));
  return { lrs, losses: expectedLoss(lrs, noise) };
}

// The lowest end that any constant lr reaches: what a schedule has to beat.
export function bestConstant(noise) {
  let best = { lr: 0, end: Infinity };
  for (let i = 0; i <= 300; i++) {
    const lr = 10 ** (-3 + (i / 300) * Math.log10(2000));
    const end = expectedLoss(Array(TOTAL).fill(lr), noise).at(-1);
    if (end < best.end) best = { lr, end };
  }
  return best;
}

export function describeSchedule({ lr, warmup }, { lrs, losses }, best) {
  const end = losses.at(-1);
  const beyond = lrs.filter((value) => value > 2).length;
  const mirrored = lrs[0] > 1 && lrs[0] <= 2;
  const start =
    beyond ? `${count(beyond)} ${beyond === 1 ? "is" : "are"} beyond the bound 2/L = 2: the steep error grows there. `
    : mirrored ? "The first step jumps across the steep direction's minimum. "
    : "";
  const against = `it ends at ${scientific(end)}; the best constant lr, ` +
    `${plain(+best.lr.toPrecision(2))}, ends at ${scientific(best.end)}.`;
  if (!(end < 1e6))
    return { kind: "diverges", verdict: "Diverges", text: `${start}Expected loss: ${against}` };
  const better = end < 0.98 * best.end;
  return {
    kind: better ? "converges" : "edge",
    verdict: better ? "Better than any constant lr" : "No better than a constant lr",
    text: `${start}Expected loss: ${against}`,
  };
}
