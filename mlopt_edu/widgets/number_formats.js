// The picture of NumberFormats: the precision of all formats, the gradients in one.

const FORMAT_SPECS = {
  format: {
    label: "Format of the gradients",
    choices: Object.fromEntries(
      Object.entries(FORMATS).map(([key, { name, exponent, fraction }]) =>
        [key, `${name}: exponent ${exponent}, fraction ${fraction} bits`])),
  },
  centre: {
    min: -60, max: 10, step: 1, label: "Median gradient",
    show: (e) => `2${superscript(e)}`, say: (e) => `2 to the power ${e}`,
  },
  width: {
    min: 0.5, max: 10, step: 0.5, label: "Spread (one sigma)",
    show: (w) => `${w} powers of 2`,
  },
  scale_exponent: {
    min: 0, max: 40, step: 1, label: "Loss scale",
    show: (e) => `2${superscript(e)}`, say: (e) => `2 to the power ${e}`,
  },
};

const [LOW, HIGH] = [-90, 60]; // exponents of two that the histogram shows
const MAGNITUDES = [-46, 39]; // exponents of ten on the number line
const DECADE = Math.log2(10);

// From the smallest number, where everything is lost, to the largest.
function errorLine(format) {
  const { smallest, largest } = formatFacts(format);
  const points = [];
  for (let e = Math.log2(smallest) - 1; 2 ** e <= largest; e += 1)
    points.push([e / DECADE, Math.log10(relativeError(e, format))]);
  return [...points, [Math.log10(largest), 0]];
}

function buildFormats({ panels, id }) {
  const names = Object.keys(FORMATS);
  const precision = chart(panels, `${id}-precision`, {
    xTitle: "size of a number", yTitle: "largest relative error of rounding",
    series: names.map((name) => ({ name })),
  });
  const sizes = chart(panels, `${id}-sizes`, {
    xTitle: "size of a gradient, as a power of 2", yTitle: "% of the gradients",
    series: [{ name: "without a scale" }, { name: "times the loss scale" },
      { name: "smallest and largest number", theory: true }],
  });
  const errors = names.map(errorLine);
  return (settings) => {
    const values = gradients(settings);
    const scale = 2 ** settings.scale_exponent;
    const all = Object.fromEntries(names.map((name) => [name, shares(values, scale, name)]));
    const words = describeFormats(settings, all);
    const told = names.map((name) =>
      `${FORMATS[name].name}: ${percent(all[name].lost)} lost, ${percent(all[name].over)} over`);
    precision.draw({
      x: MAGNITUDES, y: [-8, 0.3], log: "xy", lines: errors, names: told,
      label: "Relative error of rounding against the size of a number, by format: level " +
        `over its range, rising to 1 at its smallest number. ${told.join("; ")}.`,
    });
    const { smallest, largest } = formatFacts(settings.format);
    const stairs = [values, values.map((value) => value * scale)]
      .map((list) => octaves(list, LOW, HIGH));
    const top = 1.1 * Math.max(...stairs.flat().map(([, share]) => share), 1);
    const limits = [smallest, largest].flatMap((size) => {
      const at = Math.min(Math.max(Math.log2(size), LOW - 1), HIGH + 1);
      return [[at, 0], [at, top], [NaN, NaN]];
    });
    sizes.draw({
      x: [LOW, HIGH], y: [0, top],
      lines: [settings.scale_exponent ? stairs[0] : [], stairs[1], limits],
      label: `Histogram of the gradients by powers of 2, with the smallest number ` +
        `2${superscript(Math.log2(smallest))} and the largest, ${scientific(largest)}, of ` +
        `${FORMATS[settings.format].name}. ${words.verdict}: ${words.text}`,
    });
    return words;
  };
}

export default panelWidget({
  label: "Number formats and gradients",
  specs: FORMAT_SPECS,
  note:
    `${GRADIENTS.toLocaleString("en")} log-normal gradients, scaled and rounded one by one. ` +
    "Lost: rounded to zero, below half of the smallest number. Over: beyond the largest. " +
    "A limit outside the right picture is not drawn.",
  build: buildFormats,
});
