// What operators have done.

import { get } from "../api.js";
import { h } from "../widgets/dom.js";
import { nothing } from "../widgets/empty.js";
import { moment } from "../widgets/format.js";
import { table } from "../widgets/table.js";

const LIMIT = 200;

export function auditPage() {
  const rows = table({
    caption: "Audit log",
    key: ({ time, node, action, target, address }) => `${time} ${node} ${action} ${address} ${shown(target)}`,
    empty: nothing("No actions yet", "Every action of this page and of the admin API is listed here and in the log."),
    columns: [
      { label: "Time", cell: ({ time }) => ({ text: moment(time), title: new Date(time * 1000).toISOString() }) },
      { label: "Action", cell: ({ action, count }) => (count > 1 ? `${action} (${count} times)` : action) },
      { label: "Target", wrap: true, cell: ({ target }) => shown(target) },
      { label: "Outcome", cell: ({ outcome }) => ({ text: outcome, tone: outcome === "done" ? "ok" : "warn" }) },
      { label: "Key", hide: "phone", cell: ({ role }) => role },
      { label: "Address", hide: "phone", cell: ({ address }) => address },
      { label: "Node", hide: "tablet", cell: ({ node }) => node },
    ],
  });

  return {
    title: "Audit log",
    element: h("section", { class: "panel flush" }, rows.element),
    seconds: 5,
    load: (signal) => get("audit", { limit: LIMIT }, signal),
    show: (answer) => rows.update(answer.actions),
  };
}

/** The arguments of an action: hub app, connection xyz. */
function shown(target) {
  return Object.entries(target)
    .map(([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(", ");
}
