// The packets of a user, a room or an app server, or of some or all clients.

import { get } from "../api.js";
import { h } from "../widgets/dom.js";
import { filters, hubOptions } from "../filters.js";
import { replace } from "../router.js";
import { Trace } from "../trace.js";

const KINDS = [
  ["user", "A user"],
  ["room", "A room"],
  ["app_server", "An app server"],
  ["sample", "A part of all clients"],
];

const HINTS = { user: "user id", room: "room", app_server: "server id", sample: "0 to 1" };

/** The form's values of a link such as `#/trace?user=ada`, which other pages use. */
function formOf(params) {
  const kind = KINDS.map(([name]) => name).find((name) => params[name] !== undefined);
  return kind === undefined ? params : { ...params, by: kind, value: params[kind] };
}

export function tracePage({ params, session }) {
  const form = filters({
    page: "trace",
    params: { by: "user", ...formOf(params) },
    changed: edited,
    fields: [
      { name: "by", label: "Watch", options: KINDS },
      { name: "value", label: "Which" },
      { name: "namespace", label: "Namespace of the room", hint: "/" },
      { name: "hub", label: "Hub", options: hubOptions([]) },
    ],
  });
  const payload = session.trace_payloads && session.role === "operate" ? 1 : "";
  const trace = new Trace({ params: {}, label: "Packets", several: true });

  let before = form.values().by;

  /** What somebody has typed for one kind is nothing for another one. */
  function edited() {
    const { by, ...others } = form.values();
    if (by !== before) {
      form.set({ ...others, by, value: by === "sample" ? "1" : "" });
      replace("trace", form.values());
    }
    begin();
  }

  function begin() {
    before = form.values().by;
    form.first.placeholder = HINTS[before];
    const { by, value, namespace, hub } = form.values();
    if (value === "") trace.close("Choose what to watch.");
    else trace.start({ [by]: value, namespace: by === "room" ? namespace : "", hub, payload });
  }

  begin();
  return {
    title: "Live trace",
    element: h("div", { class: "stack" }, form.element, trace.element),
    seconds: 10,
    load: (signal) => get("hubs", {}, signal),
    show: ({ hubs }) => form.offer("hub", hubOptions(hubs.map(({ name }) => name))),
    search: form.first,
    changed: (wanted) => {
      form.set({ by: "user", ...formOf(wanted) });
      begin();
    },
    close: () => trace.close(),
  };
}
