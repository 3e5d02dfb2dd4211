// What an operator may do with one connection. The service checks it again, and writes it to its audit log.

import { act } from "./api.js";
import { ask } from "./widgets/dialogs.js";
import { h } from "./widgets/dom.js";
import { toast } from "./widgets/notices.js";
import { link } from "./router.js";

const NAMESPACE = {
  name: "namespace",
  label: "Namespace",
  value: "/",
  check: (text) => (text.startsWith("/") ? "" : "A namespace begins with “/”."),
};
const ROOMS = { name: "rooms", label: "Rooms", hint: "One in each line.", lines: 2 };

function lines(text) {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

function isList(text) {
  try {
    return Array.isArray(JSON.parse(text)) ? "" : 'The arguments are a list, such as [1, "two"].';
  } catch (error) {
    return `The arguments are not JSON: ${error.message}.`;
  }
}

/** The buttons for the connection with this id. */
export function actionsFor(id, session, refresh) {
  const may = session.role === "operate";
  let hub = "";

  async function carryOut(path, body, done) {
    const { connections } = await act(path, { connection: id, ...body });
    toast(connections === 0 ? "Nothing was changed: the client is gone, or not in this namespace." : done);
    refresh();
  }

  const emit = () =>
    ask({
      title: "Emit an event",
      confirm: "Emit",
      text: "The client gets the event as if an app server had sent it.",
      fields: [
        { name: "event", label: "Event", value: "" },
        { name: "args", label: "Arguments", value: "[]", hint: "A JSON list.", lines: 4, check: isList },
        NAMESPACE,
      ],
      action: ({ event, args, namespace }) =>
        carryOut("emit", { hub, event, args: JSON.parse(args), namespace }, `“${event}” is on its way.`),
    });
  const join = () =>
    ask({
      title: "Join rooms",
      confirm: "Join",
      fields: [ROOMS, NAMESPACE],
      action: ({ rooms, namespace }) =>
        carryOut("join", { hub, rooms: lines(rooms), namespace }, "The socket has joined."),
    });
  const leave = () =>
    ask({
      title: "Leave rooms",
      confirm: "Leave",
      fields: [ROOMS, NAMESPACE],
      action: ({ rooms, namespace }) =>
        carryOut("leave", { hub, rooms: lines(rooms), namespace }, "The socket has left."),
    });
  const disconnect = () =>
    ask({
      title: "Disconnect the client?",
      confirm: "Disconnect",
      danger: true,
      text: "The connection is closed. Most clients connect again by themselves.",
      action: () => carryOut("disconnect", { hub }, "The connection is closed."),
    });

  const buttons = [
    h("button", { type: "button", class: "button", onclick: emit }, "Emit"),
    h("button", { type: "button", class: "button", onclick: join }, "Join"),
    h("button", { type: "button", class: "button", onclick: leave }, "Leave"),
    h("button", { type: "button", class: "button danger", onclick: disconnect }, "Disconnect"),
  ];
  const element = h(
    "div",
    { class: "toolbar" },
    buttons,
    !may && h("span", { class: "note" }, "Actions need the operate key."),
    h("a", { class: "push", href: link("connections") }, "All connections"),
  );

  /** Allows the actions while the connection is there; `known` is its hub. */
  function enable(present, known = hub) {
    hub = known;
    for (const button of buttons) button.disabled = !may || !present;
  }

  enable(false);
  return { element, enable };
}
