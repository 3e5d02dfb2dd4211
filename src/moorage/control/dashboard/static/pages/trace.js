// The packets of a user, a room or an app server, or a sample of all.

import { get } from "../api.js";
import { h } from "../dom.js";
import { filters, hubOptions } from "../filters.js";
import { Trace } from "../trace.js";

const SAMPLES = [["1", "All packets"], ["0.1", "Every tenth"], ["0.01", "Every hundredth"]];

export function tracePage({ params, session }) {
  const payload = session.trace_payloads && session.role === "operate" ? 1 : "";
  const form = filters({
    page: "trace", params, changed: begin,
    fields: [
      { name: "user", label: "User", hint: "user id" },
      { name: "room", label: "Room", hint: "room" },
      { name: "namespace", label: "Namespace", hint: "/" },
      { name: "app_server", label: "App server", hint: "server id" },
      { name: "hub", label: "Hub", options: hubOptions([]) },
      { name: "sample", label: "Sample", options: SAMPLES },
    ],
  });
  if (!params.sample) form.set({ ...params, sample: "1" });
  const trace = new Trace({ params: {}, label: "Packets", several: true });

  function begin() {
    trace.start({ ...form.values(), payload });
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
      form.set({ sample: "1", ...wanted });
      begin();
    },
    close: () => trace.close(),
  };
}
