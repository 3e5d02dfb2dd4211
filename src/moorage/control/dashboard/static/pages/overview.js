// The first page: what the whole cluster does now, and did in the last fifteen minutes.

import { get } from "../api.js";
import { badge, h, setShown } from "../dom.js";
import { plural } from "../format.js";
import { emptyClients } from "../empty.js";
import { historyCharts } from "../history.js";
import { link } from "../router.js";
import { table } from "../table.js";
import { nodeColumns, nodeRates, stateTone } from "./nodes.js";

const REASONS = 100;

export function overviewPage() {
  const charts = historyCharts();
  const rates = nodeRates();
  const nodes = table({
    caption: "Nodes", columns: nodeColumns(rates).filter(({ brief }) => brief), key: (node) => node.incarnation, empty: "No node answers.",
  });
  const reasons = table({
    caption: "Why clients left", key: ({ reason }) => reason, empty: "Nobody has left yet.",
    columns: [
      { label: "Reason", cell: ({ reason }) => ({ text: reason, href: link("disconnects", { reason }), primary: true }) },
      { label: "Clients", cell: ({ amount, share }) => ({ share, text: String(amount) }) },
    ],
  });
  const hint = emptyClients();
  const element = h(
    "div", { class: "stack" }, hint.element, charts.element,
    h(
      "div", { class: "pair" },
      h("section", { class: "panel" }, h("header", {}, h("h2", {}, "Nodes"), h("a", { href: link("nodes") }, "All about the nodes")), nodes.element),
      h("section", { class: "panel" }, h("header", {}, h("h2", {}, "Why clients left"), h("span", { class: "note" }, `the last ${REASONS}`)), reasons.element),
    ),
  );

  async function load(signal) {
    const [history, cluster, ends] = await Promise.all([
      get("history", {}, signal),
      get("nodes", {}, signal),
      get("disconnects", { limit: REASONS }, signal),
    ]);
    const missing = [...new Set([history, cluster, ends].flatMap((answer) => answer.missing ?? []))];
    return { history, cluster, ends, missing };
  }

  function show({ history, cluster, ends }) {
    charts.update(history);
    rates.take(cluster.nodes);
    nodes.update(cluster.nodes);
    reasons.update(tally(ends.disconnects));
    const clients = cluster.nodes.reduce((sum, node) => sum + (node.clients ?? 0), 0);
    setShown(hint.element, clients === 0 && cluster.nodes.length > 0);
  }

  return { title: "Overview", element, seconds: 5, load, show, close: charts.close };
}

/** How often each reason occurs, the most frequent first. */
function tally(rows) {
  const counts = new Map();
  for (const { reason } of rows) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const most = Math.max(1, ...counts.values());
  return [...counts].map(([reason, amount]) => ({ reason, amount, share: amount / most })).sort((a, b) => b.amount - a.amount);
}
