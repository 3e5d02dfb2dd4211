// Search for connections. The service answers in pages of a fixed size, however many clients there are.

import { get } from "../api.js";
import { h, setShown, setText } from "../widgets/dom.js";
import { emptyClients, nothing } from "../widgets/empty.js";
import { filters, hubOptions } from "../filters.js";
import { bytes, duration, plural } from "../widgets/format.js";
import { Rates } from "../rates.js";
import { link } from "../router.js";
import { table } from "../widgets/table.js";

const LIMIT = 50;
const COUNTED = ["messages_in", "messages_out"];
const ORDERS = [
  ["", "All"],
  ["messages", "The busiest"],
  ["in", "Most from the client"],
  ["out", "Most to the client"],
  ["queued", "Most queued"],
];

const FIELDS = [
  { name: "user", label: "User", hint: "user id" },
  { name: "id", label: "Connection or socket id", hint: "id" },
  { name: "room", label: "Room", hint: "room" },
  { name: "address", label: "Address", hint: "192.0.2.7" },
  { name: "hub", label: "Hub", options: hubOptions([]) },
  { name: "order", label: "Show", options: ORDERS },
  { name: "namespace", label: "Namespace", hint: "/", more: true },
  { name: "app_server", label: "App server", hint: "server id", more: true },
  { name: "node", label: "Node", hint: "name", more: true },
  { name: "min_age", label: "Older than (s)", number: true, more: true },
  { name: "max_age", label: "Younger than (s)", number: true, more: true },
  { name: "min_queued", label: "Queued at least (B)", number: true, more: true },
];

function columns(rates) {
  return [
    {
      label: "User",
      wrap: true,
      cell: ({ user, id }) => ({ text: user || "(no user)", href: link("connections", {}, id), primary: true }),
    },
    { label: "Connection", hide: "tablet", cell: ({ id }) => ({ text: id, mono: true }) },
    { label: "Hub", hide: "phone", cell: ({ hub }) => hub },
    { label: "Namespaces", hide: "desk", wrap: true, cell: ({ namespaces }) => (namespaces ?? []).join(" ") || null },
    { label: "Address", cell: ({ address }) => address },
    { label: "Transport", hide: "desk", cell: ({ transport }) => transport },
    { label: "App server", hide: "tablet", clip: true, cell: (row) => named(row.app_server) },
    { label: "Node", hide: "phone", cell: ({ node }) => node },
    { label: "Connected for", number: true, cell: ({ age }) => duration(age) },
    { label: "In/s", number: true, hide: "tablet", cell: ({ id }) => rates.text(id, "messages_in") },
    { label: "Out/s", number: true, hide: "tablet", cell: ({ id }) => rates.text(id, "messages_out") },
    { label: "Queued", number: true, hide: "phone", cell: (row) => bytes(row.queued_bytes) },
  ];
}

export function connectionsPage({ params, refresh }) {
  const form = filters({ page: "connections", params, fields: FIELDS, changed: first });
  const cursors = [];
  const rates = new Rates();
  const rows = table({
    caption: "Connections",
    columns: columns(rates),
    key: ({ id }) => id,
    empty: nothing("No connection matches", "Look at the disconnects if the client was here before."),
  });
  const hint = emptyClients();
  const results = h("section", { class: "panel flush" }, rows.element);
  const shown = h("span", { class: "soft" });
  const back = h(
    "button",
    { type: "button", class: "button small", onclick: () => turn(() => cursors.pop()) },
    "Previous",
  );
  const forth = h("button", { type: "button", class: "button small" }, "Next");
  const pager = h("div", { class: "pager" }, shown, back, forth);
  forth.addEventListener("click", () => turn(() => cursors.push(forth.value)));

  function turn(step) {
    step();
    refresh();
  }

  function first() {
    cursors.length = 0;
    refresh();
  }

  async function load(signal) {
    const [found, hubs] = await Promise.all([
      search(form.values(), cursors.at(-1), signal),
      get("hubs", {}, signal),
    ]);
    return { ...found, hubs: hubs.hubs };
  }

  function show({ connections, next, limited, hubs }) {
    form.offer("hub", hubOptions(hubs.map(({ name }) => name)));
    const filtered = Object.values(form.values()).some((value) => value !== "");
    const nobody = connections.length === 0 && !filtered && cursors.length === 0;
    setShown(hint.element, nobody);
    setShown(results, !nobody);
    rates.take(connections, ({ id }) => id, COUNTED);
    rows.update(connections);
    const before = cursors.length * LIMIT;
    const range =
      before > 0 || next ? `${before + 1} to ${before + connections.length}` : plural(connections.length, "connection");
    const all = form.values().order === "" ? "" : ". Of the other filters, only the hub counts here";
    const early = limited ? ", in a search that a node ended early: there are very many connections" : "";
    setText(shown, range + early + all);
    setShown(pager, !nobody && connections.length > 0);
    back.disabled = cursors.length === 0;
    forth.disabled = !next;
    forth.value = next ?? "";
  }

  return {
    title: "Connections",
    element: h("div", { class: "stack" }, form.element, hint.element, results, pager),
    seconds: 3,
    load,
    show,
    search: form.first,
    changed: (wanted) => {
      form.set(wanted);
      cursors.length = 0;
    },
  };
}

function search({ id, order, ...wanted }, cursor, signal) {
  if (id !== "") return byId(id, signal);
  // The service chooses the busiest ones of a hub, without other conditions.
  if (order !== "") return get("busiest", { hub: wanted.hub, sort: order, limit: LIMIT }, signal);
  return get("connections", { ...wanted, limit: LIMIT, cursor }, signal);
}

/** One connection by its id, or by the id of one of its sockets, which is a room of its own. */
async function byId(id, signal) {
  try {
    return { connections: [await get(`connections/${encodeURIComponent(id)}`, {}, signal)], next: null, missing: [] };
  } catch (error) {
    if (error.status !== 404) throw error;
    return get("connections", { room: id, limit: LIMIT }, signal);
  }
}

/** A text that may be cut, and is shown in full when it is pointed at. */
function named(text) {
  return text ? { text, title: text } : null;
}
