// Tables that are updated in place: a row keeps its element while its key stays, and a cell changes only if its content
// does. So nothing flickers, and focus and selection survive a refresh.

import { h, setAttribute, setShown } from "./dom.js";

/**
 * A table. `columns` are
 *
 *   { label, cell(row), number, hide, sort(row), wrap, clip }
 *
 * where `cell` returns text, a number, or `{ text, href, title, tone, mono, share, note, under }` (or a list of them);
 * `hide` is the width below which the column is left out ("phone", "tablet" or "desk"), and `under` that below which a
 * text is shown, on a line of its own, in the place of a column that is left out. `sort` makes a column sortable, `wrap`
 * breaks long texts, and `clip` cuts them. `key(row)` identifies a row, `empty` is shown instead of a table without rows.
 * Returns `{ element, update(rows) }`.
 */
export function table({ caption, columns, key, empty, sorted = null }) {
  const body = h("tbody");
  const view = { rows: [], sorted };
  const heads = columns.map((column) => head(column, view, () => draw()));
  const grid = h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, heads)), body);
  const scroller = h(
    "div",
    { class: "scroller", hidden: true, tabindex: 0, role: "region", "aria-label": caption },
    grid,
  );
  const place = h("div", { class: "empty", hidden: true }, empty);
  const shown = new Map();

  function draw() {
    for (const [index, cell] of heads.entries()) {
      const direction = view.sorted?.column === columns[index].label ? view.sorted.direction : null;
      setAttribute(cell, "aria-sort", direction);
    }
    const rows = inOrder(view.rows, columns, view.sorted);
    const present = new Set(rows.map(key));
    for (const [name, element] of shown) {
      if (present.has(name)) continue;
      element.remove();
      shown.delete(name);
    }
    rows.forEach((row, index) => {
      const name = key(row);
      let element = shown.get(name);
      if (element === undefined) {
        element = line(columns);
        shown.set(name, element);
      }
      columns.forEach((column, at) => fill(element.cells[at], column.cell(row)));
      if (body.rows[index] !== element) body.insertBefore(element, body.rows[index] ?? null);
    });
  }

  function update(rows) {
    view.rows = rows;
    draw();
    setShown(scroller, rows.length > 0);
    setShown(place, rows.length === 0);
    // Only a table that is wider than its place needs to be reached by keyboard, to be scrolled.
    setAttribute(scroller, "tabindex", scroller.scrollWidth > scroller.clientWidth ? 0 : null);
  }

  return { element: h("div", { class: "table" }, scroller, place), update };
}

function head(column, view, draw) {
  const attributes = { scope: "col", class: classes(column) };
  if (column.sort === undefined) return h("th", attributes, column.label);
  const turn = () => {
    const again = view.sorted?.column === column.label;
    const first = column.number ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    view.sorted = { column: column.label, direction: again && view.sorted.direction === first ? other : first };
    draw();
  };
  return h("th", attributes, h("button", { type: "button", class: "sort", onclick: turn }, column.label));
}

/** The class names of a column's cells. */
export function classes({ number, hide, wrap, clip }) {
  return [number && "number", hide && `from-${hide}`, wrap && "wrap", clip && "clip"].filter(Boolean).join(" ") || null;
}

function inOrder(rows, columns, sorted) {
  const column = columns.find(({ label }) => label === sorted?.column);
  if (column === undefined) return rows;
  const sign = sorted.direction === "ascending" ? 1 : -1;
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  return rows
    .map((row) => [column.sort(row) ?? -Infinity, row])
    .sort(([a], [b]) => sign * compare(a, b))
    .map(([, row]) => row);
}

function line(columns) {
  const element = h(
    "tr",
    {},
    columns.map((column) => h("td", { class: classes(column) })),
  );
  // A click anywhere in the row follows its link. The link itself is there for the keyboard and for new tabs.
  element.addEventListener("click", (event) => {
    const target = element.querySelector("a.primary");
    if (target && !event.target.closest("a, button") && String(getSelection()) === "") target.click();
  });
  return element;
}

/** Brings a cell's content up to date. */
export function fill(cell, content) {
  const signature = JSON.stringify(content);
  if (cell.signature === signature) return;
  cell.signature = signature;
  const parts = Array.isArray(content) ? content : [content];
  const only = parts.length === 1 && cell.childNodes.length === 1 ? cell.firstChild : null;
  const made = parts.map(piece);
  // The same link with another text: it keeps its element, and so the focus.
  if (
    only?.nodeName === "A" &&
    made[0].nodeName === "A" &&
    only.getAttribute("href") === made[0].getAttribute("href")
  ) {
    only.replaceChildren(...made[0].childNodes);
    return;
  }
  cell.replaceChildren(...made);
}

function piece(content) {
  if (content === null || content === undefined) return document.createTextNode("–");
  if (typeof content !== "object") return document.createTextNode(String(content));
  const { text, href, title, tone, mono, share, note, under, primary } = content;
  if (share !== undefined) return bar(share, text);
  const names =
    [tone && `badge ${tone}`, mono && "mono", note && "note", under && `under-${under}`, primary && "primary"]
      .filter(Boolean)
      .join(" ") || null;
  return href === undefined ? h("span", { class: names, title }, text) : h("a", { class: names, href, title }, text);
}

function bar(share, text) {
  const fill = h("span", { class: "fill" });
  fill.style.width = `${Math.round(100 * Math.min(1, Math.max(0, share)))}%`;
  return h(
    "span",
    { class: "bar" },
    h("span", { class: "track", "aria-hidden": "true" }, fill),
    h("span", { class: "value" }, text),
  );
}
