// A list of names and values, updated in place.

import { h } from "./dom.js";
import { fill } from "./table.js";

/** `update` takes `[name, content]` pairs; content is as in a table's cell, `null` for what is unknown. */
export function facts(label) {
  const list = h("dl", { class: "facts" });
  const element = h("section", { class: "panel", "aria-label": label }, list);
  const values = new Map();

  function update(pairs) {
    for (const [name, content] of pairs) {
      let value = values.get(name);
      if (value === undefined) {
        value = h("dd");
        values.set(name, value);
        list.append(h("div", { class: content?.mono ? "broad" : null }, h("dt", {}, name), value));
      }
      fill(value, content);
    }
  }

  return { element, update };
}
