const NO_KERNEL = "Start the kernel and run this cell to check.";
const PATIENCE_MS = 8000;

function render({ model, el }) {
  el.classList.add("mlopt-widget");
  keepKeys(el);
  const card = element("div", "mlopt-card mlopt-narrow");
  card.setAttribute("role", "group");
  card.setAttribute("aria-label", "Quiz");
  const radios = radioGroup(model.get("question"), model.get("options"), () => say(""));
  const check = Object.assign(element("button", "mlopt-button", "Check"), { type: "button" });
  const verdict = element("p", "mlopt-verdict");
  verdict.setAttribute("role", "status");
  card.append(element("p", "mlopt-kicker", "Quiz"), radios.fieldset, check, verdict);
  el.append(card);
  let waiting;

  // `kind` is right, wrong or nothing; the words carry it too.
  function say(text, kind = "") {
    clearTimeout(waiting);
    verdict.dataset.kind = kind;
    withMarks(verdict, text);
    if (kind) {
      const word = kind === "right" ? "✓ Right. " : "✗ Not yet. ";
      verdict.prepend(element("strong", "", word));
    }
    check.disabled = !radios.chosen();
  }

  check.addEventListener("click", () => {
    if (el.classList.contains("jupyter-widgets-disconnected")) return say(NO_KERNEL);
    say("Checking …");
    waiting = setTimeout(() => say(`No answer yet: is the kernel busy? ${NO_KERNEL}`), PATIENCE_MS);
    try {
      model.send({ check: radios.chosen() });
    } catch {
      say(NO_KERNEL);
    }
  });

  function draw() {
    radios.choose(model.get("choice"));
    if (model.get("attempts")) say(model.get("message"), model.get("passed") ? "right" : "wrong");
    else say("");
  }

  model.on("change:attempts", draw);
  draw();
  return () => {
    clearTimeout(waiting);
    model.off("change:attempts", draw);
  };
}

export default { render };
