// Number formats by their bits, rounding to them, and gradients that are scaled first.

const GRADIENTS = 4096;

// Exponent and fraction bits. e4m3 has no infinity: it gives those bits to numbers, and
// only the last of them is NaN.
export const FORMATS = {
  fp32: { name: "fp32", exponent: 8, fraction: 23 },
  bf16: { name: "bf16", exponent: 8, fraction: 7 },
  fp16: { name: "fp16", exponent: 5, fraction: 10 },
  e5m2: { name: "fp8 e5m2", exponent: 5, fraction: 2 },
  e4m3: { name: "fp8 e4m3", exponent: 4, fraction: 3, finite: true },
};

export function formatFacts(format) {
  const { exponent, fraction, finite } = FORMATS[format];
  const bias = 2 ** (exponent - 1) - 1;
  const lowest = 1 - bias; // exponent of the smallest normal number
  const largest = finite
    ? (2 - 2 ** (1 - fraction)) * 2 ** (bias + 1)
    : (2 - 2 ** -fraction) * 2 ** bias;
  return { largest, lowest, fraction, smallest: 2 ** (lowest - fraction), finite };
}

// To the nearest number, ties to the one whose last bit is 0.
export function roundTo(x, format) {
  const { largest, lowest, fraction, finite } = formatFacts(format);
  if (x === 0 || !Number.isFinite(x)) return finite && !Number.isFinite(x) ? NaN : x;
  let exponent = Math.floor(Math.log2(Math.abs(x)));
  if (2 ** exponent > Math.abs(x)) exponent -= 1; // log2 itself rounds
  const step = 2 ** (Math.max(exponent, lowest) - fraction);
  const steps = x / step;
  const below = Math.floor(steps);
  const rest = steps - below;
  const rounded = (below + (rest > 0.5 || (rest === 0.5 && below % 2 !== 0))) * step;
  if (Math.abs(rounded) <= largest) return rounded;
  return finite ? NaN : Math.sign(x) * Infinity;
}

// The largest relative error of rounding numbers of about size 2^exponent.
export function relativeError(exponent, format) {
  const { largest, lowest, fraction } = formatFacts(format);
  if (2 ** exponent > largest) return Infinity;
  return Math.min(1, 2 ** (Math.max(lowest - exponent, 0) - fraction - 1));
}

const NORMALS = (() => {
  const next = uniform(1);
  return Array.from({ length: GRADIENTS / 2 }, () => normalPair(next)).flat();
})();

// Sizes of gradients: 2^(centre + width * normal).
export function gradients({ centre, width }) {
  return NORMALS.map((z) => 2 ** (centre + width * z));
}

// Which share of the scaled gradients becomes 0, and which is beyond the largest number.
export function shares(values, scale, format) {
  let [lost, over] = [0, 0];
  for (const value of values) {
    const rounded = roundTo(value * scale, format);
    if (rounded === 0) lost += 1;
    else if (!Number.isFinite(rounded)) over += 1;
  }
  return { lost: lost / values.length, over: over / values.length };
}

// Percent of the values by octave, as corners of a stair from exponent low to high.
export function octaves(values, low, high) {
  const counts = Array(high - low).fill(0);
  for (const value of values) {
    const k = Math.floor(Math.log2(value)) - low;
    if (k >= 0 && k < counts.length) counts[k] += 1;
  }
  const corners = counts.flatMap((n, k) => {
    const percent = (100 * n) / values.length;
    return [[low + k, percent], [low + k + 1, percent]];
  });
  return [[low, 0], ...corners, [high, 0]];
}

export const percent = (share) =>
  share > 0 && share < 0.001 ? "< 0.1 %" : `${+(100 * share).toFixed(1)} %`;

export function describeFormats(settings, all) {
  const { format, scale_exponent } = settings;
  const { name } = FORMATS[format];
  const { lost, over } = all[format];
  const scale = `With a loss scale of 2${superscript(scale_exponent)}`;
  if (over > 0) {
    return {
      kind: "diverges", verdict: "Overflow",
      text: `${scale}, ${percent(over)} of the gradients are beyond the largest number of ` +
        `${name}: a scaler skips this step and lowers the scale. Lost to zero: ${percent(lost)}.`,
    };
  }
  const good = lost < 0.01;
  return {
    kind: good ? "converges" : "edge",
    verdict: good ? "They fit" : "Gradients lost",
    text: `${scale}, ${percent(lost)} of the gradients become 0 in ${name}, and none overflows.`,
  };
}
