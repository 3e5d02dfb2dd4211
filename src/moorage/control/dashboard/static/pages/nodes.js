// The nodes of the cluster, and a page for each of them with its curves.

import { act, get } from "../api.js";
import { ask } from "../widgets/dialogs.js";
import { h, setShown } from "../widgets/dom.js";
import { nothing } from "../widgets/empty.js";
import { facts } from "../widgets/facts.js";
import { bytes, count, decimal, duration, latency } from "../widgets/format.js";
import { historyCharts } from "../history.js";
import { toast } from "../widgets/notices.js";
import { Rates } from "../rates.js";
import { link } from "../router.js";
import { table } from "../widgets/table.js";

const LATE_SECONDS = 0.1;

/** The colour of a node's state. */
export function stateTone(state) {
  if (state === "ready") return "ok";
  return ["starting", "joining", "uncovered", "draining"].includes(state) ? "warn" : "bad";
}

/** The rates of nodes. */
export function nodeRates() {
  const rates = new Rates();
  return {
    take: (nodes) => rates.take(nodes, ({ incarnation }) => incarnation, ["messages_in", "messages_out"]),
    get: ({ incarnation }, field) => rates.get(incarnation, field),
    text: ({ incarnation }, field) => rates.text(incarnation, field),
  };
}

/** The columns of a table of nodes. Those with `brief` fit on the overview. */
export function nodeColumns(rates) {
  return [
    {
      label: "Node",
      brief: true,
      sort: ({ name }) => name,
      cell: ({ name }) => ({ text: name, href: link("nodes", {}, name), primary: true }),
    },
    {
      label: "State",
      brief: true,
      sort: ({ state }) => state,
      cell: ({ state }) => ({ text: state, tone: stateTone(state) }),
    },
    { label: "Region", hide: "tablet", sort: ({ region }) => region, cell: ({ region }) => region || null },
    {
      label: "Clients",
      brief: true,
      number: true,
      sort: ({ clients }) => clients,
      cell: ({ clients }) => count(clients),
    },
    {
      label: "In/s",
      number: true,
      hide: "tablet",
      sort: (node) => rates.get(node, "messages_in"),
      cell: (node) => rates.text(node, "messages_in"),
    },
    {
      label: "Out/s",
      number: true,
      hide: "tablet",
      sort: (node) => rates.get(node, "messages_out"),
      cell: (node) => rates.text(node, "messages_out"),
    },
    { label: "CPU", brief: true, number: true, sort: ({ cpu }) => cpu, cell: ({ cpu }) => decimal(cpu) },
    {
      label: "Memory",
      brief: true,
      number: true,
      hide: "phone",
      sort: ({ memory }) => memory,
      cell: ({ memory }) => bytes(memory),
    },
    {
      label: "Loop lag",
      brief: true,
      number: true,
      hide: "phone",
      sort: (node) => node.loop_lag,
      cell: (node) => ({ text: latency(node.loop_lag), tone: node.loop_lag > LATE_SECONDS ? "warn" : null }),
    },
    {
      label: "Queued",
      number: true,
      hide: "tablet",
      sort: (node) => node.queued_bytes,
      cell: (node) => bytes(node.queued_bytes),
    },
    { label: "Release", hide: "tablet", sort: ({ version }) => version, cell: ({ version }) => version },
    {
      label: "Up for",
      number: true,
      hide: "phone",
      sort: ({ uptime }) => uptime,
      cell: ({ uptime }) => duration(uptime),
    },
  ];
}

export function nodesPage() {
  const rates = nodeRates();
  const nodes = table({
    caption: "Nodes",
    columns: nodeColumns(rates),
    key: ({ incarnation }) => incarnation,
    sorted: { column: "Node", direction: "ascending" },
    empty: nothing("No node answers"),
  });

  function show(answer) {
    rates.take(answer.nodes);
    nodes.update(answer.nodes);
  }

  return {
    title: "Nodes",
    element: h("section", { class: "panel flush" }, nodes.element),
    seconds: 3,
    load: (signal) => get("nodes", {}, signal),
    show,
  };
}

export function nodePage({ id, session, refresh }) {
  const charts = historyCharts();
  const about = facts("About the node");
  const gone = h(
    "section",
    { class: "panel", hidden: true },
    nothing("This node is not in the cluster", "It has ended, or it has another name now."),
  );
  const drain = h(
    "button",
    { type: "button", class: "button danger", onclick: () => askToDrain(id, refresh) },
    "Drain",
  );
  const may = session.role === "operate";
  drain.disabled = !may;
  const toolbar = h(
    "div",
    { class: "toolbar" },
    h("a", { class: "button", href: link("connections", { node: id }) }, "Its clients"),
    drain,
    !may && h("span", { class: "note" }, "Draining needs the operate key."),
  );
  const element = h("div", { class: "stack" }, gone, toolbar, about.element, charts.element);

  async function load(signal) {
    const { nodes, missing } = await get("nodes", {}, signal);
    const node = nodes.find(({ name }) => name === id);
    return { node, nodes, missing, history: node && (await get("history", { node: id }, signal)) };
  }

  function show({ history, node }) {
    setShown(gone, node === undefined);
    setShown(about.element, node !== undefined);
    setShown(toolbar, node !== undefined);
    setShown(charts.element, node !== undefined);
    if (node === undefined) return;
    charts.update(history);
    drain.disabled = !may || node.state === "draining";
    about.update([
      ["State", { text: node.state, tone: stateTone(node.state) }],
      ["Clients", count(node.clients)],
      ["Sockets", count(node.sockets)],
      ["Rooms", count(node.rooms)],
      ["CPU", node.cpu === undefined ? null : `${decimal(node.cpu)} cores`],
      ["Memory", bytes(node.memory)],
      ["Loop lag", latency(node.loop_lag)],
      ["Queued", bytes(node.queued_bytes)],
      ["Region", node.region || null],
      ["Release", node.version],
      ["Up for", duration(node.uptime)],
      ["Incarnation", { text: node.incarnation, mono: true }],
    ]);
  }

  return { title: `Node ${id}`, element, seconds: 5, load, show, close: charts.close };
}

function askToDrain(name, refresh) {
  ask({
    title: `Drain ${name}?`,
    text:
      "The node takes no new clients and closes those it has, at the pace of the settings in shutdown. " +
      "They connect again to other nodes. Then the process ends.",
    confirm: "Drain the node",
    danger: true,
    action: async () => {
      await act(`nodes/${encodeURIComponent(name)}/drain`);
      toast(`${name} is draining.`);
      refresh();
    },
  });
}
