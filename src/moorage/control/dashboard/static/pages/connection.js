// Everything about one connection, what can be done with it, and its packets while they pass.

import { get } from "../api.js";
import { actionsFor } from "../actions.js";
import { h, setShown } from "../widgets/dom.js";
import { nothing } from "../widgets/empty.js";
import { facts } from "../widgets/facts.js";
import { bytes, count, decimal, duration } from "../widgets/format.js";
import { Rates } from "../rates.js";
import { link } from "../router.js";
import { table } from "../widgets/table.js";
import { Trace } from "../trace.js";
import { disconnectColumns } from "./disconnects.js";

export function connectionPage({ id, session, refresh }) {
  const about = facts("About the connection");
  const rates = new Rates();
  const actions = actionsFor(id, session, refresh);
  const ended = table({ caption: "How it ended", columns: disconnectColumns(), key: ({ time }) => time, empty: "" });
  const gone = h(
    "section",
    { class: "panel", hidden: true },
    nothing("This connection is closed", "A client that comes back has another id: search for its user."),
    ended.element,
  );
  const sockets = table({
    caption: "Sockets",
    columns: socketColumns(),
    key: ({ namespace }) => namespace,
    empty: nothing("In no namespace yet"),
  });
  const request = table({
    caption: "Request",
    columns: requestColumns(),
    key: ({ part, name, index }) => `${part} ${name} ${index}`,
    empty: nothing("Not known"),
  });
  const trace = new Trace({
    params: { connection: id, payload: session.trace_payloads && session.role === "operate" ? 1 : "" },
    label: "Live trace",
  });
  const known = h(
    "div",
    { class: "stack", hidden: true },
    actions.element,
    about.element,
    panel("Sockets", sockets.element),
    trace.element,
    h("details", { class: "panel flush" }, h("summary", {}, "Request of the client"), request.element),
  );
  const element = h("div", { class: "stack" }, gone, known);
  let present = null;

  async function load(signal) {
    try {
      return { found: await get(`connections/${encodeURIComponent(id)}`, {}, signal), missing: [] };
    } catch (error) {
      if (error.status !== 404) throw error;
      const ends = await get("disconnects", { connection: id }, signal);
      return { found: null, ends: ends.disconnects, missing: ends.missing };
    }
  }

  function show({ found, ends }) {
    setShown(known, found !== null || present === true);
    setShown(gone, found === null);
    actions.enable(found !== null, found?.hub);
    if (found === null) {
      ended.update(ends);
      setShown(ended.element, ends.length > 0);
      if (present === null) trace.close();
      return;
    }
    if (present === null) trace.start();
    present = true;
    rates.take([found], ({ id }) => id, ["messages_in", "messages_out"]);
    about.update(pairs(found, rates));
    sockets.update([...found.sockets, ...other(found.other_groups)]);
    request.update(requestRows(found));
  }

  return { title: "Connection", element, seconds: 2, load, show, close: () => trace.close() };
}

function panel(title, content) {
  return h("section", { class: "panel flush" }, h("header", {}, h("h2", {}, title)), content);
}

function pairs(found, rates) {
  return [
    ["User", found.user ? { text: found.user, href: link("connections", { user: found.user }) } : null],
    ["Hub", { text: found.hub, href: link("connections", { hub: found.hub }) }],
    ["Connection", { text: found.id, mono: true }],
    ["Address", { text: found.address, href: link("connections", { address: found.address }) }],
    ["Transport", found.transport],
    ["Node", { text: found.node, href: link("nodes", {}, found.node) }],
    [
      "App server",
      found.app_server
        ? { text: found.app_server, href: link("connections", { hub: found.hub, app_server: found.app_server }) }
        : null,
    ],
    ["Connected for", duration(found.age)],
    ["Queued", bytes(found.queued_bytes)],
    ["State", state(found)],
    ["Messages in", messages(found, "messages_in", rates)],
    ["Messages out", messages(found, "messages_out", rates)],
  ];
}

function state({ reading, moving }) {
  if (moving) return { text: "moves to another app server", tone: "warn" };
  return reading ? { text: "served", tone: "ok" } : { text: "held back: its app server is behind", tone: "warn" };
}

/** A total, and how fast it grows. */
function messages(found, field, rates) {
  const rate = rates.get(found.id, field);
  return rate === null ? count(found[field]) : `${count(found[field])} (${decimal(rate)}/s)`;
}

function socketColumns() {
  return [
    { label: "Namespace", cell: ({ namespace }) => namespace },
    { label: "Socket", hide: "phone", cell: ({ id }) => ({ text: id, mono: true }) },
    { label: "Rooms", wrap: true, cell: rooms },
  ];
}

/** Groups that belong to no namespace, as REST callers may name them. */
function other(groups) {
  return groups.length > 0 ? [{ namespace: "(other groups)", id: "", rooms: groups, rooms_total: groups.length }] : [];
}

function rooms(socket) {
  const more = socket.rooms_total - socket.rooms.length;
  const parts = socket.rooms.flatMap((room) => [{ text: room, tone: "plain" }, " "]);
  if (more > 0) parts.push({ text: `and ${count(more)} more`, note: true });
  return parts.length > 0 ? parts : null;
}

function requestColumns() {
  return [
    { label: "Part", hide: "phone", cell: ({ part }) => part },
    { label: "Name", cell: ({ name }) => ({ text: name, mono: true }) },
    { label: "Value", wrap: true, cell: ({ value }) => ({ text: value, mono: true }) },
  ];
}

function requestRows({ path, query, headers }) {
  return [{ part: "path", name: "path", value: path, index: 0 }, ...named("query", query), ...named("header", headers)];
}

/** A row for each value of the query or of the headers. */
function named(part, values) {
  return Object.entries(values).flatMap(([name, list]) => list.map((value, index) => ({ part, name, value, index })));
}
