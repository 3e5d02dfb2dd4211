// Fields above a list. They stand in the address too, so that a search can be shared.

import { h } from "./widgets/dom.js";
import { replace } from "./router.js";

const TYPING_MILLISECONDS = 250;

/**
 * `fields` are `{ name, label, hint, options, number, more }`. `options` (a list of `[value, text]`) makes a choice, and
 * `more` puts a field into the part that opens on demand. `changed()` is called after a change. Returns
 * `{ element, values(), set(params), first, offer(name, options) }`.
 */
export function filters({ page, fields, params, changed }) {
  let timer = 0;
  const inputs = new Map(fields.map((field) => [field.name, input(field)]));

  function values() {
    return Object.fromEntries([...inputs].map(([name, element]) => [name, element.value.trim()]));
  }

  function report() {
    clearTimeout(timer);
    replace(page, values());
    changed();
  }

  function set(wanted) {
    for (const [name, element] of inputs) {
      const value = wanted[name] ?? "";
      if (element.nodeName === "SELECT") choose(element, value);
      else if (element !== document.activeElement || value === "") element.value = value;
    }
  }

  for (const element of inputs.values()) {
    const typed = element.nodeName === "INPUT";
    element.addEventListener(typed ? "input" : "change", () => {
      clearTimeout(timer);
      timer = setTimeout(report, typed ? TYPING_MILLISECONDS : 0);
    });
  }
  const row = (some) => some.map((field) => labelled(field, inputs.get(field.name)));
  const more = fields.filter((field) => field.more);
  const rare =
    more.length > 0 && h("details", {}, h("summary", {}, "More filters"), h("div", { class: "filters" }, row(more)));
  const clear = h("button", { type: "reset", class: "button small" }, "Clear");
  const form = h(
    "form",
    { class: "filters", role: "search", "aria-label": "Filters", onsubmit: submit, onreset: reset },
    row(fields.filter((field) => !field.more)),
    clear,
    rare,
  );

  function submit(event) {
    event.preventDefault();
    report();
  }

  function reset(event) {
    event.preventDefault();
    set({});
    for (const element of inputs.values()) element.value = "";
    report();
  }

  set(params);
  if (rare) rare.open = more.some(({ name }) => values()[name] !== "");
  const first = inputs.get(fields.find(({ options }) => options === undefined).name);
  return { element: form, values, set, first, offer: (name, options) => offer(inputs.get(name), options) };
}

function input({ name, options, number, hint }) {
  const attributes = { id: `filter-${name}`, name };
  if (options) {
    const element = h("select", attributes);
    offer(element, options);
    return element;
  }
  return h("input", {
    ...attributes,
    type: number ? "number" : "text",
    min: number ? 0 : null,
    step: number ? "any" : null,
    inputmode: number ? "decimal" : null,
    placeholder: hint,
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
  });
}

/** Replaces the options of a choice; what is chosen stays, also if it is no longer offered. */
function offer(select, options) {
  const chosen = select.value;
  const known = [...select.options].map(({ value, text }) => [value, text]);
  if (JSON.stringify(known) === JSON.stringify(options)) return;
  select.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
  choose(select, chosen);
}

function choose(select, value) {
  if (![...select.options].some((option) => option.value === value)) select.append(h("option", { value }, value));
  select.value = value;
}

function labelled({ name, label }, element) {
  return h("div", { class: "filter" }, h("label", { for: `filter-${name}` }, label), element);
}

/** The options of a choice between hubs. */
export function hubOptions(names) {
  return [["", "All hubs"], ...names.map((name) => [name, name])];
}
