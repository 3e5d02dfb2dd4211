// The largest rooms, of one hub or of all, or those whose name begins with what is searched.

import { get } from "../api.js";
import { h, setText } from "../widgets/dom.js";
import { nothing } from "../widgets/empty.js";
import { filters, hubOptions } from "../filters.js";
import { count, plural } from "../widgets/format.js";
import { link } from "../router.js";
import { table } from "../widgets/table.js";

const LIMIT = 100;

export function roomsPage({ params, refresh }) {
  const form = filters({
    page: "rooms",
    params,
    changed: refresh,
    fields: [
      { name: "prefix", label: "Name begins with", hint: "room" },
      { name: "hub", label: "Hub", options: hubOptions([]) },
      { name: "namespace", label: "Namespace", hint: "/" },
    ],
  });
  const total = h("p", { class: "soft total" });
  let most = 1;
  const rooms = table({
    caption: "Rooms",
    key: ({ hub, namespace, room }) => `${hub}\n${namespace}\n${room}`,
    empty: nothing("No rooms to show", "No room matches, or none is in use. A socket's own room is not listed here. Rooms appear when a socket joins them."),
    columns: [
      {
        label: "Room",
        wrap: true,
        cell: ({ hub, namespace, room }) => ({
          text: room,
          href: link("connections", { hub, namespace, room }),
          primary: true,
        }),
      },
      { label: "Namespace", hide: "phone", cell: ({ namespace }) => namespace },
      { label: "Hub", hide: "phone", cell: ({ hub }) => hub },
      { label: "Members", cell: ({ members }) => ({ share: members / most, text: count(members) }) },
      {
        label: "Watch",
        hide: "tablet",
        cell: ({ hub, namespace, room }) => ({ text: "Trace", href: link("trace", { hub, namespace, room }) }),
      },
    ],
  });

  async function load(signal) {
    const [found, hubs] = await Promise.all([
      get("rooms", { ...form.values(), limit: LIMIT }, signal),
      get("hubs", {}, signal),
    ]);
    return { ...found, hubs: hubs.hubs };
  }

  function show(answer) {
    most = Math.max(1, ...answer.rooms.map(({ members }) => members));
    rooms.update(answer.rooms);
    form.offer("hub", hubOptions(answer.hubs.map(({ name }) => name)));
    const shown = answer.rooms.length;
    const early = answer.limited ? ", in a search that a node ended early: there are very many rooms" : "";
    setText(
      total,
      (answer.total > shown
        ? `The ${count(shown)} largest of ${count(answer.total)} rooms`
        : plural(answer.total, "room")) + early,
    );
  }

  return {
    title: "Rooms",
    element: h("div", { class: "stack" }, form.element, h("section", { class: "panel flush" }, rooms.element), total),
    seconds: 3,
    load,
    show,
    search: form.first,
    changed: form.set,
  };
}
