// The picture of SoftTargets: two bars a class, and the way of three students.

const MOST_STEPS = 200;
const SOFT_SPECS = {
  temperature: {
    min: -30, max: 130, step: 1, label: "Temperature T",
    toValue: (p) => +(10 ** (p / 100)).toPrecision(3), toPosition: (v) => 100 * Math.log10(v),
    show: (v) => String(+v.toPrecision(3)),
  },
  steps: { min: 0, max: MOST_STEPS, step: 1, label: "Steps of the student", show: String, say: count },
  squared: { label: "Factor T² in the loss", toggle: true },
};

function barPanel(parent, names) {
  const left = 118;
  const top = TOP + 4;
  const rows = names.length;
  const high = (BOTTOM - top) / rows;
  const box = html(parent, "div", "mlopt-figure");
  const root = svg(box, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const right = RIGHT - 52;
  svg(root, "rect", { x: left, y: top, width: right - left, height: BOTTOM - top, class: "mlopt-panel" });
  const made = names.map((name, k) => {
    const y = top + k * high;
    svg(root, "text", { x: left - 8, y: y + high / 2 + 5, "text-anchor": "end" }, name);
    const [teacher, student] = ["teacher", "student"].map((who, i) => svg(root, "rect", {
      x: left, y: y + high * (0.12 + 0.4 * i), height: high * 0.36, width: 0, class: `mlopt-bar-${who}`,
    }));
    return { teacher, student, share: svg(root, "text", { y: y + high / 2 + 5 }) };
  });
  svg(root, "rect", { x: left, y: top, width: right - left, height: BOTTOM - top, class: "mlopt-frame" });
  const title = svg(root, "text", { x: (left + right) / 2, y: HEIGHT - 22, class: "mlopt-axis" });
  const key = html(box, "div", "mlopt-key");
  for (const who of ["teacher", "student"]) {
    const item = html(key, "span");
    const sample = svg(item, "svg", { viewBox: "0 0 30 8", "aria-hidden": "true" });
    svg(sample, "rect", { x: 2, y: 0.5, width: 26, height: 7, class: `mlopt-bar-${who}` });
    html(item, "span", "", `${who}, softened`);
  }
  return function draw(p, q, temperature, label) {
    const width = (share) => ((right - left) * share).toFixed(2);
    made.forEach(({ teacher, student, share }, k) => {
      set(teacher, { width: width(p[k]) });
      set(student, { width: width(q[k]) });
      share.textContent = percentOf(p[k]);
      set(share, { x: right + 6 });
    });
    title.textContent = `probability at T = ${SOFT_SPECS.temperature.show(temperature)}; numbers: teacher`;
    root.setAttribute("aria-label", label);
  };
}
const percentOf = (share) => (share >= 0.0995 ? `${Math.round(100 * share)} %`
  : share >= 0.0005 ? `${(100 * share).toFixed(1)} %` : "0 %");

function buildSoft({ panels, id, model }) {
  const teacher = model.get("teacher_logits");
  const names = model.get("names");
  const bars = barPanel(panels, names);
  const way = chart(panels, `${id}-way`, {
    xTitle: "step of the student", yTitle: "nats from the teacher at T = 1, log scale",
    series: [{ name: "answers, with T²" }, { name: "answers, without T²" }, { name: "the label alone" }, { name: "now", theory: true }],
  });
  return (now) => {
    const settings = { ...now, teacher };
    const paths = students(settings, MOST_STEPS);
    const words = describeStudent(settings, paths);
    const { temperature, steps, squared } = settings;
    const student = (squared ? paths.squared : paths.plain)[steps];
    const p = softened(teacher, temperature);
    const q = softened(student, temperature);
    const spoken = names.map((name, k) => `${name} ${percentOf(p[k])}, student ${percentOf(q[k])}`);
    bars(p, q, temperature, `Probabilities at temperature ${+temperature.toPrecision(3)}, teacher's and student's. ${spoken.join("; ")}.`);

    const lines = Object.values(paths).map((path) =>
      path.map((z, step) => [step, Math.log10(Math.max(divergence(teacher, z, 1), 1e-12))]));
    const logs = lines.flat().map(([, log]) => log);
    const low = Math.max(Math.floor(Math.min(...logs)), -6);
    const high = Math.max(Math.ceil(Math.max(...logs)), low + 1);
    lines.push([[steps, low], [steps, high]]);
    way.draw({
      x: [0, MOST_STEPS], y: [low, high], log: "y", lines,
      label: `Distance to the teacher against the step. After ${count(steps)}: ` +
        ["with T²", "without", "the label alone"].map((name, i) =>
          `${name} ${scientific(10 ** lines[i][steps][1])} nats`).join(", ") + ".",
    });
    return words;
  };
}

export default panelWidget({
  label: "Soft targets for one picture",
  specs: SOFT_SPECS,
  note:
    "p = softmax(v/T) of the teacher, q = softmax(z/T) of the student. Its logits z start at 0 " +
    "and descend on KL(p ‖ q), times T² or not, with step size 1.",
  build: buildSoft,
});
