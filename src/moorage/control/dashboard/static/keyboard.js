// Keys. They do nothing while somebody types, and nothing with Control, Alt or Meta.

import { h } from "./widgets/dom.js";
import { tell } from "./widgets/dialogs.js";
import { go } from "./router.js";

const PREFIX_MILLISECONDS = 1500;

/** The second letter after `g`, and the page it leads to. */
export const PAGES = [
  ["o", "overview", "Overview"],
  ["c", "connections", "Connections"],
  ["r", "rooms", "Rooms"],
  ["h", "hubs", "Hubs"],
  ["a", "apps", "App servers"],
  ["n", "nodes", "Nodes"],
  ["t", "trace", "Live trace"],
  ["d", "disconnects", "Disconnects"],
  ["l", "audit", "Audit log"],
];

const OTHERS = [
  [["/"], "Search"],
  [["j", "k"], "Next or previous row"],
  [["Enter"], "Open the row"],
  [["p"], "Pause or continue the refresh"],
  [["?"], "This list"],
];

function isTyping(target) {
  return target instanceof Element && target.closest("input, textarea, select, dialog[open]") !== null;
}

/** Listens for keys. `search()` puts the cursor into the search field, `pause()` stops or continues the refresh. */
export function listen({ search, pause }) {
  let prefixed = 0;
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target instanceof HTMLInputElement && !event.target.closest("dialog"))
      event.target.blur();
    if (event.ctrlKey || event.altKey || event.metaKey || isTyping(event.target)) return;
    const page = performance.now() - prefixed < PREFIX_MILLISECONDS && PAGES.find(([key]) => key === event.key);
    prefixed = event.key === "g" ? performance.now() : 0;
    const action = page ? () => go(page[1]) : actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  });
  const actions = { "/": search, p: pause, "?": help, j: () => step(1), k: () => step(-1) };
}

/** Moves the focus to the link of the next or the previous row. */
function step(by) {
  const links = [...document.querySelectorAll("main tbody a.primary")].filter((link) => link.offsetParent !== null);
  const at = links.indexOf(document.activeElement);
  const to = at === -1 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by));
  links[to]?.focus();
}

/** Shows the keys. */
export function help() {
  const rows = [...OTHERS, ...PAGES.map(([key, , label]) => [["g", key], label])];
  const keys = (names) => names.map((name) => h("kbd", {}, name));
  tell(
    "Keyboard",
    h(
      "dl",
      { class: "keys" },
      rows.map(([names, label]) => h("div", {}, h("dt", {}, keys(names)), h("dd", {}, label))),
    ),
  );
}
