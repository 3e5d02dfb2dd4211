// Elements and their text. Nothing in the dashboard reads HTML from a string, so text that a client has chosen, such
// as a room's name, stays text. The page's policy enforces it (`require-trusted-types-for`).

/**
 * A new element. `attributes` become attributes, except functions, which become listeners (`onclick`), and `null`,
 * `false` and `undefined`, which are left out. Strings and numbers among `children` become text.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else setAttribute(element, name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets or removes an attribute, only if that changes it. */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : value);
}

/** Sets an element's text, only if that changes it: the selection stays, and screen readers hear only changes. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Shows or hides an element. */
export function setShown(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/** A word with a coloured dot. The colour repeats what the word says. */
export function badge(text, tone = "plain") {
  return h("span", { class: `badge ${tone}` }, text);
}
