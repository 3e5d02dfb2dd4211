// The hubs, with what each of them holds and does.

import { get } from "../api.js";
import { h } from "../widgets/dom.js";
import { nothing } from "../widgets/empty.js";
import { count } from "../widgets/format.js";
import { Rates } from "../rates.js";
import { link } from "../router.js";
import { table } from "../widgets/table.js";

export function hubsPage() {
  const rates = new Rates();
  const hubs = table({
    caption: "Hubs",
    key: ({ name }) => name,
    sorted: { column: "Clients", direction: "descending" },
    empty: nothing("No hub is in use", "A hub appears with its first app server or client."),
    columns: [
      {
        label: "Hub",
        sort: ({ name }) => name,
        cell: ({ name }) => ({ text: name, href: link("connections", { hub: name }), primary: true }),
      },
      { label: "Clients", number: true, sort: (hub) => hub.connections, cell: (hub) => count(hub.connections) },
      { label: "Sockets", number: true, hide: "phone", sort: (hub) => hub.sockets, cell: (hub) => count(hub.sockets) },
      {
        label: "Rooms",
        number: true,
        hide: "phone",
        sort: (hub) => hub.rooms,
        cell: (hub) => ({ text: count(hub.rooms), href: link("rooms", { hub: hub.name }) }),
      },
      {
        label: "App servers",
        number: true,
        sort: (hub) => hub.app_servers,
        cell: (hub) => ({
          text: count(hub.app_servers),
          href: link("apps", { hub: hub.name }),
          tone: hub.app_servers === 0 && hub.connections > 0 ? "bad" : null,
        }),
      },
      {
        label: "In/s",
        number: true,
        sort: ({ name }) => rates.get(name, "messages_in"),
        cell: ({ name }) => rates.text(name, "messages_in"),
      },
      {
        label: "Out/s",
        number: true,
        sort: ({ name }) => rates.get(name, "messages_out"),
        cell: ({ name }) => rates.text(name, "messages_out"),
      },
      { label: "Parked", number: true, hide: "tablet", sort: (hub) => hub.parked, cell: (hub) => count(hub.parked) },
    ],
  });

  return {
    title: "Hubs",
    element: h("section", { class: "panel flush" }, hubs.element),
    seconds: 3,
    load: (signal) => get("hubs", {}, signal),
    show: (answer) => {
      rates.take(answer.hubs, ({ name }) => name, ["messages_in", "messages_out"]);
      hubs.update(answer.hubs);
    },
  };
}
