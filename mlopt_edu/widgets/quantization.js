// Numbers of four channels, the grid that a range gives, and the errors on it.
//
// The errors of a channel are shares of its own mean square, and their mean over the
// channels is reported: each channel counts alike, however small its numbers are.

const LENGTH = 256;
export const DEVIATIONS = [1, 0.5, 0.25, 0.1]; // of the channels
export const STEPS = 50; // ranges that are tried

const NORMAL_ROWS = (() => {
  const next = uniform(2);
  return DEVIATIONS.map(() =>
    Array.from({ length: LENGTH / 2 }, () => normalPair(next)).flat());
})();

const silu = (z) => z / (1 + Math.exp(-z));

export function channelsOf({ numbers, outliers }) {
  return NORMAL_ROWS.map((row, k) => row.map((z, i) => {
    const isOutlier = k === 0 && outliers > 0 && i < 2;
    if (numbers === "activations")
      return DEVIATIONS[k] * silu(isOutlier ? outliers : 2 * z);
    return DEVIATIONS[k] * (isOutlier ? (i ? -outliers : outliers) : z);
  }));
}

// To the nearest integer, halves to the even one.
export function nearest(x) {
  const below = Math.floor(x);
  const rest = x - below;
  return below + (rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? 1 : 0);
}

const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

// Scale, zero point, and the integers at both ends, for `share` of a range with 0 in it.
export function gridOf([low, high], share, { bits, scheme }) {
  const last = 2 ** (bits - 1) - 1;
  if (scheme === "symmetric") {
    const scale = (share * Math.max(-low, high)) / last || 1;
    return { scale, zero: 0, first: -last, last };
  }
  const first = -last - 1;
  const scale = (share * (high - low)) / (last - first) || 1;
  const zero = clamp(first - nearest((share * low) / scale), first, last);
  return { scale, zero, first, last };
}

export const codeOf = (x, { scale, zero, first, last }) =>
  clamp(nearest(x / scale) + zero, first, last);
// What lies farther out than half a step from the ends is clipped, the rest rounded.
export const reachOf = ({ scale, zero, first, last }) =>
  [(first - zero - 0.5) * scale, (last - zero + 0.5) * scale];

const limits = (values) => [Math.min(0, ...values), Math.max(0, ...values)];

// The grid of each channel: its own, or one for all.
export function gridsOf(channels, share, settings) {
  const common = limits(channels.flat());
  return channels.map((row) =>
    gridOf(settings.granularity === "tensor" ? common : limits(row), share, settings));
}

// Squared errors of rounding and of clipping as shares of a channel's mean square, their
// means over the channels; and of each channel the integers in use.
export function measure(channels, grids) {
  let [rounding, clipping, clipped] = [0, 0, 0];
  const used = channels.map((row, k) => {
    const [low, high] = reachOf(grids[k]);
    const { scale, zero } = grids[k];
    const codes = new Set();
    let [power, inside, outside] = [0, 0, 0];
    for (const x of row) {
      const code = codeOf(x, grids[k]);
      const error = (x - (code - zero) * scale) ** 2;
      codes.add(code);
      power += x * x;
      if (x < low || x > high) {
        outside += error;
        clipped += 1;
      } else inside += error;
    }
    rounding += inside / power / channels.length;
    clipping += outside / power / channels.length;
    return codes.size;
  });
  const total = rounding + clipping;
  return { rounding, clipping, total, clipped: clipped / (channels.length * LENGTH), used };
}

// The errors of all ranges, and the range with the least.
export function sweep(channels, settings) {
  const points = Array.from({ length: STEPS }, (_, i) => {
    const share = (i + 1) / STEPS;
    return { share, ...measure(channels, gridsOf(channels, share, settings)) };
  });
  const best = points.reduce((a, b) => (b.total < a.total ? b : a));
  return { points, best };
}

const root = (square) => {
  const value = 100 * Math.sqrt(square);
  return `${value >= 10 ? value.toFixed(0) : value.toFixed(1)} %`;
};

export function describeGrid(settings, found, { best }) {
  const { total, rounding, clipping, clipped, used } = found;
  const share = `${Math.round(100 * best.share)} %`;
  const parts = `Rounding ${root(rounding)}, clipping ${root(clipping)}; ` +
    `${+(100 * clipped).toFixed(1)} % of the numbers are clipped. The least error, ` +
    `${root(best.total)}, is at ${share} of the range.`;
  const lost = used.findIndex((n) => n === 1) + 1;
  if (lost)
    return { kind: "diverges", verdict: `Channel ${lost} is lost`,
      text: `All its numbers are one integer. ${parts}` };
  const near = total <= 1.1 * best.total;
  return {
    kind: near ? "converges" : "edge",
    verdict: `Error ${root(total)}`,
    text: near ? `As good as it gets with this format. ${parts}` : parts,
  };
}
