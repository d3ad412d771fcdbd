// Time for a widget with the traits `playing`, `step` and `speed` (steps a second).
//
// While it plays the step is kept here, and the model hears of it at pauses only: so do
// the kernel and the texts for screen readers. It rests while it is locked or out of
// sight, and where less motion is preferred it jumps to its end.

function player(root, { model, change, save }, { end, show }) {
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let clock = model.get("step");
  let last = null;
  let request = 0;
  let seen = true;

  const step = () => Math.floor(clock);
  const goes = () => model.get("playing") && model.get("unlocked") && seen;
  function tick(now) {
    request = 0;
    if (!goes()) return;
    const before = step();
    const elapsed = Math.min(now - (last ?? now), 100); // a gap is not caught up with
    last = now;
    clock += still.matches ? end : (elapsed / 1000) * model.get("speed");
    if (clock >= end) return halt(end);
    if (step() > before) show(step());
    request = requestAnimationFrame(tick);
  }
  function wake() {
    if (request || !goes()) return;
    if (clock >= end) clock = 0;
    last = null;
    request = requestAnimationFrame(tick);
  }
  function halt(at) {
    change("step", Math.min(at, end));
    change("playing", false);
    save();
  }
  const rewind = () => (clock = 0);
  function restart() {
    rewind();
    change("step", 0);
    if (!still.matches) change("playing", true);
    save();
    show(0);
  }

  const observer = new IntersectionObserver((entries) => {
    seen = entries.at(-1).isIntersecting;
    wake();
  });
  observer.observe(root);
  const seek = () => (clock = model.get("step"));
  const turn = () => (model.get("playing") ? wake() : change("step", step()));
  model.on("change:step", seek);
  model.on("change:playing", turn);
  model.on("change:unlocked", wake);
  wake();
  return {
    step,
    next: () => halt(step() + 1),
    rewind,
    restart,
    stop() {
      cancelAnimationFrame(request);
      observer.disconnect();
      model.off("change:step", seek);
      model.off("change:playing", turn);
      model.off("change:unlocked", wake);
    },
  };
}
