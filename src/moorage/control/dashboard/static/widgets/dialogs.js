// Dialogs of the browser itself, which keep the focus inside and close with Escape.

import { h, setShown, setText } from "./dom.js";

/**
 * Asks for the fields and for a confirmation, then calls `action(values)`. A refusal is shown in the dialog, which stays
 * open. `fields` are `{ name, label, value, hint, lines, check(text), optional }`; `check` returns what is wrong, or "".
 */
export function ask({ title, text, fields = [], confirm, danger = false, action }) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const inputs = fields.map((field) => [field, input(field)]);
  const send = h("button", { type: "submit", class: danger ? "button danger" : "button strong" }, confirm);
  const form = h(
    "form",
    { novalidate: true },
    h("h2", {}, title),
    text && h("p", { class: "soft" }, text),
    inputs.map(([field, element]) => row(field, element)),
    problem,
    h("footer", {}, h("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel"), send),
  );
  const dialog = h("dialog", { "aria-label": title, onclose: () => dialog.remove() }, form);

  function say(message) {
    setText(problem, message);
    setShown(problem, message !== "");
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(inputs.map(([field, element]) => [field.name, element.value]));
    const wrong = fields.find((field) => complaint(field, values[field.name]) !== "");
    if (wrong !== undefined) {
      say(complaint(wrong, values[wrong.name]));
      inputs.find(([field]) => field === wrong)[1].focus();
      return;
    }
    send.disabled = true;
    try {
      await action(values);
      dialog.close();
    } catch (error) {
      say(error.message);
    }
    send.disabled = false;
  });
  document.body.append(dialog);
  dialog.showModal();
  (inputs[0]?.[1] ?? send).focus();
}

function complaint({ label, check, optional }, text) {
  if (text.trim() === "") return optional ? "" : `${label} is missing.`;
  return check?.(text) ?? "";
}

function input({ name, value = "", lines }) {
  const attributes = {
    name,
    id: `field-${name}`,
    autocomplete: "off",
    spellcheck: "false",
    "aria-describedby": `hint-${name}`,
  };
  const element = lines
    ? h("textarea", { ...attributes, rows: lines, class: "mono" })
    : h("input", { ...attributes, type: "text" });
  element.value = value;
  return element;
}

function row({ name, label, hint = "" }, element) {
  return h(
    "div",
    { class: "field" },
    h("label", { for: `field-${name}` }, label),
    element,
    h("p", { class: "hint", id: `hint-${name}` }, hint),
  );
}

/** A dialog that only shows something. */
export function tell(title, ...content) {
  const close = h(
    "button",
    { type: "button", class: "button", autofocus: true, onclick: () => dialog.close() },
    "Close",
  );
  const dialog = h(
    "dialog",
    { "aria-label": title, onclose: () => dialog.remove() },
    h("div", {}, h("h2", {}, title), content, h("footer", {}, close)),
  );
  document.body.append(dialog);
  dialog.showModal();
}
