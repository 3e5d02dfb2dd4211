// What to do when there is nothing to show yet.

import { h } from "./dom.js";

/** A program that connects a client to the service that serves this page. */
function snippet(hub) {
  return [
    'import { io } from "socket.io-client";',
    "",
    `const socket = io("${location.origin}", {`,
    `  path: "/clients/socketio/hubs/${hub}",`,
    "});",
  ].join("\n");
}

/** "No clients yet", with the lines that connect the first one. */
export function emptyClients(hub = "app") {
  const code = h("pre", {}, h("code", {}, snippet(hub)));
  const element = h(
    "section",
    { class: "panel first-steps", hidden: true },
    h("h2", {}, "No clients yet"),
    h("p", { class: "soft" }, "Start an app server for the hub, then connect a client:"),
    code,
  );
  return { element };
}

/** A sentence and a hint, for a table without rows. */
export function nothing(title, hint = "") {
  return h("div", {}, h("p", { class: "strong" }, title), hint && h("p", { class: "soft" }, hint));
}
