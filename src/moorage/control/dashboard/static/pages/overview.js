// The first page: what the whole cluster does now, and did in the last fifteen minutes.

import { get } from "../api.js";
import { h, setShown } from "../widgets/dom.js";
import { emptyClients } from "../widgets/empty.js";
import { count } from "../widgets/format.js";
import { historyCharts } from "../history.js";
import { link } from "../router.js";
import { table } from "../widgets/table.js";
import { nodeColumns, nodeRates } from "./nodes.js";

export function overviewPage() {
  const charts = historyCharts();
  const rates = nodeRates();
  const nodes = table({
    caption: "Nodes",
    columns: nodeColumns(rates).filter(({ brief }) => brief),
    key: (node) => node.incarnation,
    empty: "No node answers.",
  });
  const left = reasonTable("Why clients left", "No client has left.");
  const refused = reasonTable("Why clients were refused", "No client was refused.");
  const hint = emptyClients();
  const element = h(
    "div",
    { class: "stack" },
    hint.element,
    charts.element,
    h(
      "div",
      { class: "pair" },
      h(
        "section",
        { class: "panel" },
        h("header", {}, h("h2", {}, "Nodes"), h("a", { href: link("nodes") }, "All about the nodes")),
        nodes.element,
      ),
      h(
        "div",
        { class: "stack" },
        reasonPanel("Why clients left", left),
        reasonPanel("Why clients were refused", refused),
      ),
    ),
  );

  async function load(signal) {
    const [history, cluster] = await Promise.all([get("history", {}, signal), get("nodes", {}, signal)]);
    return { history, nodes: cluster.nodes, missing: [...new Set([...history.missing, ...cluster.missing])] };
  }

  function show({ history, nodes: present }) {
    charts.update(history);
    rates.take(present);
    nodes.update(present);
    left.update(shares(history.reasons));
    refused.update(shares(history.refusals));
    const clients = present.reduce((sum, node) => sum + node.clients, 0);
    setShown(hint.element, clients === 0 && present.length > 0);
  }

  return { title: "Overview", element, seconds: 5, load, show, close: charts.close };
}

function reasonTable(caption, empty) {
  return table({
    caption,
    empty,
    key: ({ reason }) => reason,
    columns: [
      {
        label: "Reason",
        cell: ({ reason }) => ({ text: reason, href: link("disconnects", { reason }), primary: true }),
      },
      { label: "Clients", cell: ({ amount, share }) => ({ share, text: count(amount) }) },
    ],
  });
}

function reasonPanel(title, { element }) {
  return h(
    "section",
    { class: "panel" },
    h("header", {}, h("h2", {}, title), h("span", { class: "note" }, "in 15 minutes")),
    element,
  );
}

/** How often each reason occurs, the most frequent first. */
function shares(counts) {
  const most = Math.max(1, ...Object.values(counts));
  return Object.entries(counts)
    .map(([reason, amount]) => ({ reason, amount, share: amount / most }))
    .sort((a, b) => b.amount - a.amount);
}
