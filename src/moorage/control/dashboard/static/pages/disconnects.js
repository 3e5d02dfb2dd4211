// Who has left recently, and why.

import { get } from "../api.js";
import { h } from "../widgets/dom.js";
import { nothing } from "../widgets/empty.js";
import { filters, hubOptions } from "../filters.js";
import { bytes, duration, moment } from "../widgets/format.js";
import { link } from "../router.js";
import { table } from "../widgets/table.js";

const LIMIT = 200;

/** The columns of a table of disconnects. */
export function disconnectColumns() {
  return [
    { label: "Time", cell: ({ time }) => ({ text: moment(time), title: new Date(time * 1000).toISOString() }) },
    { label: "User", wrap: true, cell: who },
    { label: "Hub", hide: "phone", cell: ({ hub }) => hub },
    { label: "Reason", wrap: true, cell: why },
    { label: "Ended by", hide: "tablet", cell: (row) => (row.opened ? row.who : { text: "refused", note: true }) },
    { label: "Detail", hide: "tablet", wrap: true, cell: detail },
    { label: "Connected for", number: true, hide: "phone", cell: ({ opened, age }) => (opened ? duration(age) : null) },
    { label: "Queued", number: true, hide: "tablet", cell: (row) => (row.opened ? bytes(row.queued_bytes) : null) },
    { label: "Address", hide: "tablet", cell: ({ address }) => address },
    { label: "Node", hide: "tablet", cell: ({ node }) => node },
  ];
}

/** The reason. Where there is no room for the columns behind it, who ended the connection and the detail stand below. */
function why(row) {
  const { reason, number, meaning, opened, who: by } = row;
  return [
    { text: reason, title: `${number}: ${meaning}` },
    { text: `${opened ? by : "refused"}: ${detail(row)}`, note: true, under: "tablet" },
  ];
}

function detail({ detail: more, meaning }) {
  return more || meaning;
}

/** A client that was refused never had a connection. */
function who({ user, id }) {
  const text = user || "(no user)";
  return id === "" ? text : { text, href: link("connections", {}, id), primary: true };
}

export function disconnectsPage({ params, refresh }) {
  const form = filters({
    page: "disconnects",
    params,
    changed: refresh,
    fields: [
      { name: "user", label: "User", hint: "user id" },
      { name: "reason", label: "Reason", hint: "ping-timeout" },
      { name: "hub", label: "Hub", options: hubOptions([]) },
    ],
  });
  const rows = table({
    caption: "Recent disconnects",
    columns: disconnectColumns(),
    key: ({ id, time, node, address }) => `${id} ${time} ${node} ${address}`,
    empty: nothing("No client has left", "Each node keeps its latest disconnects and refusals; none of them matches."),
  });

  async function load(signal) {
    const [found, hubs] = await Promise.all([
      get("disconnects", { ...form.values(), limit: LIMIT }, signal),
      get("hubs", {}, signal),
    ]);
    return { ...found, hubs: hubs.hubs };
  }

  function show(answer) {
    rows.update(answer.disconnects);
    form.offer("hub", hubOptions(answer.hubs.map(({ name }) => name)));
  }

  return {
    title: "Disconnects",
    element: h("div", { class: "stack" }, form.element, h("section", { class: "panel flush" }, rows.element)),
    seconds: 3,
    load,
    show,
    search: form.first,
    changed: form.set,
  };
}
