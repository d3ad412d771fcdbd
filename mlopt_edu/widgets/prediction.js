function render({ model, el }) {
  el.classList.add("mlopt-widget");
  keepKeys(el);
  const card = element("div", "mlopt-card mlopt-narrow");
  card.setAttribute("role", "group");
  card.setAttribute("aria-label", "Prediction");
  const options = model.get("options").map((text) => [text, text]);
  const radios = radioGroup(model.get("question"), options, () => draw());
  const commit = Object.assign(element("button", "mlopt-button", "Commit my guess"), {
    type: "button",
  });
  const said = element("p", "mlopt-said");
  said.setAttribute("role", "status");
  said.tabIndex = -1;
  const reveal = element("details", "mlopt-reveal");
  reveal.append(
    element("summary", "", "What really happens"),
    withMarks(element("p"), model.get("reveal")),
  );
  card.append(element("p", "mlopt-kicker", "Predict"), radios.fieldset, commit, said, reveal);
  el.append(card);

  commit.addEventListener("click", () => {
    model.set("choice", radios.chosen());
    model.set("committed", true);
    try {
      model.save_changes();
    } catch {
      // no kernel: the page keeps the guess
    }
    said.focus(); // the button is gone; keep the keyboard where the learner was
  });

  function draw() {
    const committed = model.get("committed");
    if (committed) radios.choose(model.get("choice"));
    radios.fieldset.disabled = committed;
    commit.hidden = committed;
    commit.disabled = !radios.chosen();
    reveal.hidden = !committed || !model.get("reveal");
    if (committed) {
      withMarks(
        said,
        `You predicted: ${model.get("choice")}. Keep it in mind while you explore.`
          .replace(/([.!?])\. Keep/, "$1 Keep"),
      );
    } else {
      said.replaceChildren();
    }
  }

  model.on("change:committed", draw);
  model.on("change:choice", draw);
  draw();
  return () => {
    model.off("change:committed", draw);
    model.off("change:choice", draw);
  };
}

export default { render };
