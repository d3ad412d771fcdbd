// Shared by prediction.js and quiz.js: Python puts this text in front of theirs.

const element = (tag, className = "", text = "") => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
};

// Text between backticks becomes <code>, between stars <em>, as in the reports of
// the checks. Only text nodes are made, so a text that looks like HTML is shown and
// never run.
const withMarks = (made, text) => {
  const marks = { "`": "code", "*": "em" };
  made.replaceChildren(
    ...text
      .split(/(`[^`]+`|\*(?:\w[^*]*\w|\w)\*)/)
      .map((part, i) => (i % 2 ? element(marks[part[0]], "", part.slice(1, -1)) : part)),
  );
  return made;
};

// JupyterLab takes the arrow keys for its cells unless they stay inside the widget.
const keepKeys = (el) => el.addEventListener("keydown", (event) => event.stopPropagation());

// A fieldset with one radio button for each [key, text] pair.
const radioGroup = (question, options, onChoose) => {
  const group = "mlopt-" + Math.random().toString(36).slice(2);
  const fieldset = element("fieldset", "mlopt-question");
  fieldset.append(withMarks(element("legend"), question));
  const inputs = new Map();
  for (const [key, text] of options) {
    const label = element("label", "mlopt-option");
    const input = Object.assign(element("input"), { type: "radio", name: group, value: key });
    input.addEventListener("change", () => onChoose(key));
    label.append(input, withMarks(element("span"), text));
    fieldset.append(label);
    inputs.set(key, input);
  }
  const choose = (key) => inputs.forEach((input, own) => (input.checked = own === key));
  const chosen = () => [...inputs].find(([, input]) => input.checked)?.[0];
  return { fieldset, choose, chosen };
};
