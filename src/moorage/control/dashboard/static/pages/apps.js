// The app servers of all hubs.

import { get } from "../api.js";
import { h } from "../widgets/dom.js";
import { nothing } from "../widgets/empty.js";
import { filters, hubOptions } from "../filters.js";
import { count, duration } from "../widgets/format.js";
import { link } from "../router.js";
import { table } from "../widgets/table.js";

function state({ up, draining, behind }) {
  if (!up) return { text: "away", tone: "bad" };
  if (draining) return { text: "draining", tone: "warn" };
  return behind
    ? { text: "behind", tone: "warn", title: "It takes events too slowly, so other app servers get new clients first." }
    : { text: "up", tone: "ok" };
}

export function appsPage({ params, refresh }) {
  const form = filters({
    page: "apps",
    params,
    changed: refresh,
    fields: [
      { name: "find", label: "Server id contains", hint: "id" },
      { name: "hub", label: "Hub", options: hubOptions([]) },
    ],
  });
  const apps = table({
    caption: "App servers",
    key: ({ hub, id, node, instance }) => `${hub}\n${id}\n${node}\n${instance}`,
    sorted: { column: "Hub", direction: "ascending" },
    empty: nothing("No app server is connected", "Without one, the clients of a hub wait and are then refused."),
    columns: [
      {
        label: "Server",
        wrap: true,
        sort: ({ id }) => id,
        cell: ({ hub, id }) => ({ text: id, href: link("connections", { hub, app_server: id }), primary: true }),
      },
      { label: "Hub", sort: ({ hub }) => hub, cell: ({ hub }) => hub },
      { label: "State", sort: (app) => state(app).text, cell: state },
      {
        label: "Node",
        hide: "phone",
        sort: ({ node }) => node,
        cell: ({ node, home }) => (home ? [node, { text: " home", note: true }] : node),
      },
      { label: "Clients", number: true, sort: ({ clients }) => clients, cell: ({ clients }) => count(clients) },
      { label: "SDK", hide: "tablet", cell: ({ sdk, dialect }) => sdk || dialect },
      { label: "Address", hide: "tablet", cell: ({ address }) => address },
      { label: "Linked for", number: true, hide: "phone", sort: ({ age }) => age, cell: ({ age }) => duration(age) },
      {
        label: "Watch",
        hide: "tablet",
        cell: ({ hub, id }) => ({ text: "Trace", href: link("trace", { hub, app_server: id }) }),
      },
    ],
  });

  async function load(signal) {
    const [found, hubs] = await Promise.all([get("apps", { hub: form.values().hub }, signal), get("hubs", {}, signal)]);
    return { ...found, hubs: hubs.hubs };
  }

  function show(answer) {
    const { find } = form.values();
    apps.update(answer.apps.filter(({ id }) => id.includes(find)));
    form.offer("hub", hubOptions(answer.hubs.map(({ name }) => name)));
  }

  return {
    title: "App servers",
    element: h("div", { class: "stack" }, form.element, h("section", { class: "panel flush" }, apps.element)),
    seconds: 3,
    load,
    show,
    search: form.first,
    changed: form.set,
  };
}
