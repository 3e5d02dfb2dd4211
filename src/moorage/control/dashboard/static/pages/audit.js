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
      { label: "Action", wrap: true, cell: what },
      { label: "Target", hide: "phone", wrap: true, cell: ({ target }) => shown(target) },
      {
        label: "Outcome",
        wrap: true,
        cell: ({ outcome }) => ({ text: outcome, tone: outcome === "done" ? "ok" : "warn" }),
      },
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

/** The action. On a phone its arguments and the caller stand below it. */
function what({ action, count, target, role, address }) {
  return [
    { text: count > 1 ? `${action} (${count} times)` : action },
    { text: shown(target), under: "phone" },
    { text: `${role} key, ${address}`, note: true, under: "phone" },
  ];
}

/** The arguments of an action: hub app, rooms lobby and staff. */
function shown(target) {
  return Object.entries(target)
    .map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(" and ") : value}`)
    .join(", ");
}
