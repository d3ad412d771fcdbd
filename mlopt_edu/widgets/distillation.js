// The mathematics of SoftTargets: a student's logits descend to a teacher's answers.
//
//     p = softmax(v / T),  q = softmax(z / T);   z <- z - lr · T (q - p) with the factor T²,
//     z <- z - lr · (q - p) / T without it, and z <- z - lr · (softmax(z) - label) by the label.

const STEP_SIZE = 1;

export function softened(logits, temperature) {
  const top = Math.max(...logits);
  const powers = logits.map((v) => Math.exp((v - top) / temperature));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}

// KL(teacher ‖ student) of the softened probabilities, in nats. A class that the teacher's
// rounding has made 0 adds nothing.
export function divergence(teacher, student, temperature) {
  const logs = (logits) => {
    const top = Math.max(...logits);
    const scaled = logits.map((v) => (v - top) / temperature);
    const log = Math.log(scaled.reduce((sum, v) => sum + Math.exp(v), 0));
    return scaled.map((v) => v - log);
  };
  const [p, q] = [logs(teacher), logs(student)];
  return Math.max(0, p.reduce((sum, v, k) => sum + Math.exp(v) * (v - q[k]), 0));
}

// The gradient of KL for the student's logits, times T² if `squared`.
export function softGradient(teacher, student, temperature, squared) {
  const factor = squared ? temperature : 1 / temperature;
  const p = softened(teacher, temperature);
  return softened(student, temperature).map((q, k) => factor * (q - p[k]));
}

export function labelGradient(teacher, student) {
  const label = teacher.indexOf(Math.max(...teacher));
  return softened(student, 1).map((q, k) => q - (k === label ? 1 : 0));
}

export const length = (vector) => Math.hypot(...vector);

// The student's logits at steps 0, 1, ..., from 0; `gradient` maps logits to a gradient.
export function descent(classes, gradient, steps) {
  const path = [Array(classes).fill(0)];
  for (let step = 0; step < steps; step++) {
    const z = path[step];
    const slope = gradient(z);
    path.push(z.map((value, k) => value - STEP_SIZE * slope[k]));
  }
  return path;
}

// All three ways: {squared, plain, label}, each a path of logits.
export function students({ teacher, temperature }, steps) {
  const soft = (squared) => (z) => softGradient(teacher, z, temperature, squared);
  return {
    squared: descent(teacher.length, soft(true), steps),
    plain: descent(teacher.length, soft(false), steps),
    label: descent(teacher.length, (z) => labelGradient(teacher, z), steps),
  };
}

// What is to be seen, in words: {kind, verdict, text}.
export function describeStudent(settings, paths = students(settings, settings.steps)) {
  const { teacher, temperature, steps, squared } = settings;
  const path = squared ? paths.squared : paths.plain;
  const gap = divergence(teacher, path[steps], 1);
  const start = path[0];
  const sizes = [true, false].map((on) => length(softGradient(teacher, start, temperature, on)));
  const alike = Math.max(...softened(teacher, temperature)) - 1 / teacher.length;
  const first = `At T = ${+temperature.toPrecision(3)} the first gradient has the size ${scientific(sizes[0])} ` +
    `with T² and ${scientific(sizes[1])} without. `;
  const after = `After ${count(steps)} ${squared ? "with" : "without"} T² the student is ` +
    `${scientific(gap)} nats from the teacher.`;
  if (sizes[0] < 1e-6)
    return { kind: "edge", verdict: "Nothing to learn", text: `The teacher finds all classes alike, as the student does. ${after}` };
  const begin = divergence(teacher, start, 1);
  if (gap < 0.1 * begin)
    return { kind: "converges", verdict: "It has learnt", text: first + after };
  return alike < 0.1
    ? { kind: "edge", verdict: "Targets nearly flat", text: first + after }
    : { kind: "edge", verdict: "Not there yet", text: first + after };
}
