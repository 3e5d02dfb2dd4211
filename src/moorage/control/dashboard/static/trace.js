// Packets while they pass, from the service's stream of events. The list is bounded, and so is how often it is drawn. It
// goes on while the tab is hidden, because somebody may be in another tab to cause what they want to see; but not for
// long, because a browser has only six connections to a service, and a stream takes one of them.

import { address, get, sentence } from "./api.js";
import { h, setText } from "./widgets/dom.js";
import { bytes, clock, count, latency, plural } from "./widgets/format.js";
import { link } from "./router.js";
import { classes, fill } from "./widgets/table.js";

const MOST_ROWS = 500;
const DRAW_MILLISECONDS = 200;
const HIDDEN_MINUTES = 5;

/** `several`: the packets are those of several clients. */
function columns(several) {
  const all = [
    { label: "Time", cell: ({ time }) => clock(time, true) },
    { label: "Way", cell: way },
    { label: "User", hide: "phone", wrap: true, cell: who },
    { label: "Namespace", hide: "tablet", cell: ({ namespace }) => namespace ?? "" },
    { label: "Event", wrap: true, cell: (seen) => [...what(seen), ...below(seen, several)] },
    { label: "Size", number: true, hide: "phone", cell: ({ size }) => (size === undefined ? "" : bytes(size)) },
    { label: "Ack", number: true, hide: "phone", cell: acknowledged },
    {
      label: "App server",
      hide: "tablet",
      clip: true,
      cell: ({ app_server: server }) => ({ text: server ?? "", title: server ?? null }),
    },
    { label: "Node", hide: "tablet", cell: ({ node }) => node ?? "" },
  ];
  return several ? all : all.filter(({ cell }) => cell !== who);
}

function way({ kind, direction }) {
  if (kind !== "packet") return "";
  return direction === "in"
    ? { text: "in", tone: "teal", title: "from the client" }
    : { text: "out", tone: "blue", title: "to the client" };
}

function who({ connection, user, recipients }) {
  if (recipients !== undefined) return { text: plural(recipients, "client"), note: true };
  return connection ? { text: user || "(no user)", href: link("connections", {}, connection) } : { text: user ?? "" };
}

/** What stands below the event where it has no column: a namespace other than `/`, the ack, and whose packet it is. */
function below(seen, several) {
  const { namespace } = seen;
  const whose = several ? [{ ...who(seen), under: "phone" }] : [];
  const lines = [
    { text: namespace === "/" ? "" : namespace, note: true, under: "tablet" },
    { ...acknowledged(seen), under: "phone" },
    ...whose,
  ];
  return lines.filter(({ text }) => text);
}

function what(seen) {
  if (seen.kind === "dropped")
    return [{ text: `${plural(seen.count, "packet")} left out, because there were too many`, tone: "warn" }];
  if (seen.kind === "state") {
    const details = [seen.room, seen.transport, seen.reason, seen.detail].filter(Boolean).join(", ");
    return [
      { text: seen.state, tone: "plain" },
      { text: details && ` ${details}`, note: true },
    ];
  }
  const name = seen.event === null ? { text: seen.type, note: true } : { text: seen.event, mono: true };
  return seen.payload ? [name, { text: ` ${seen.payload}`, note: true }] : [name];
}

function acknowledged({ type, ack, ack_ms: milliseconds }) {
  if (typeof milliseconds === "number") return { text: latency(milliseconds / 1000) };
  if (ack === null || ack === undefined) return { text: "" };
  // Without a time, the trace has begun after the question.
  return { text: `${type === "ack" ? "answers" : "asks"} #${ack}`, note: true };
}

/** A panel with a list of packets. `start` opens the stream, and `close` ends it. `several`: of several clients. */
export class Trace {
  constructor({ params, label, several = false }) {
    this._params = params;
    this._columns = columns(several);
    this._source = null;
    this._waiting = [];
    this._seen = 0;
    this._followed = new Map();
    this._timer = 0;
    this._hiding = 0;
    this._isAsleep = false;
    this._onVisibility = () => this._sleep();
    this._body = h("tbody");
    this._filter = h("input", {
      type: "text",
      placeholder: "Event contains",
      "aria-label": "Event contains",
      class: "small",
      oninput: () => this._sift(),
    });
    this._state = h("span", { class: "note" });
    this._button = h(
      "button",
      { type: "button", class: "button small", onclick: () => (this._source ? this.close() : this.start()) },
      "Start",
    );
    this._empty = h("p", { class: "empty soft" }, "No packets yet.");
    this.element = this._panel(label);
  }

  _panel(label) {
    const heads = this._columns.map((column) => h("th", { scope: "col", class: classes(column) }, column.label));
    const clear = h("button", { type: "button", class: "button small", onclick: () => this._clear() }, "Clear");
    const grid = h(
      "table",
      {},
      h("caption", { class: "unseen" }, "Packets, the newest first"),
      h("thead", {}, h("tr", {}, heads)),
      this._body,
    );
    return h(
      "section",
      { class: "panel flush trace", "aria-label": label },
      h("header", {}, h("h2", {}, label), this._state, h("div", { class: "row" }, this._filter, clear, this._button)),
      h("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": "Packets" }, grid),
      this._empty,
    );
  }

  /** Opens the stream, with other parameters if they are given. */
  start(params = this._params) {
    this.close();
    document.addEventListener("visibilitychange", this._onVisibility);
    this._params = params;
    const source = (this._source = new EventSource(address("trace", params)));
    for (const kind of ["packet", "state", "dropped"])
      source.addEventListener(kind, (event) => this._take({ kind, ...JSON.parse(event.data) }));
    source.addEventListener("watching", (event) => this._watch(JSON.parse(event.data)));
    source.addEventListener("end", (event) => this.close(sentence(JSON.parse(event.data).message)));
    source.addEventListener("open", () => this._tell("Watching"));
    source.addEventListener("error", () => this._failed(source));
    this._tell("Opening");
    setText(this._button, "Stop");
  }

  /** Ends the stream, and says `why`; the list stays. */
  close(why = "Stopped") {
    document.removeEventListener("visibilitychange", this._onVisibility);
    clearTimeout(this._hiding);
    this._isAsleep = false;
    this._source?.close();
    this._source = null;
    clearTimeout(this._timer);
    this._timer = 0;
    this._followed.clear();
    this._draw();
    setText(this._button, "Start");
    this._tell(why);
  }

  async _failed(source) {
    if (source !== this._source) return;
    if (source.readyState !== EventSource.CLOSED) {
      this._tell("Interrupted, connecting again");
      return;
    }
    this.close("The service has refused the stream.");
    // The browser keeps the reason to itself, so the same is asked once more.
    try {
      await get("trace", this._params, AbortSignal.timeout(2000));
    } catch (error) {
      if (this._source === null && error.status !== undefined) this._tell(error.message);
    }
  }

  /** Ends the stream of a tab that is hidden for long, and begins again when it is shown. */
  _sleep() {
    clearTimeout(this._hiding);
    if (!document.hidden && this._isAsleep) this.start();
    if (!document.hidden) return;
    this._hiding = setTimeout(() => {
      this.close("Stopped, because the tab is hidden");
      this._isAsleep = true;
      document.addEventListener("visibilitychange", this._onVisibility);
    }, HIDDEN_MINUTES * 60_000);
  }

  _watch({ node, connections, limited }) {
    this._followed.set(node, { connections, limited });
    this._tell("Watching");
  }

  _tell(state) {
    const followed = [...this._followed.values()];
    const all = followed.reduce((sum, { connections }) => sum + connections, 0);
    const some = followed.some(({ limited }) => limited) ? " (there are more)" : "";
    const whom = state === "Watching" && followed.length > 0 ? ` ${plural(all, "connection")}${some}` : "";
    setText(this._state, `${state}${whom}${this._seen > 0 ? `, ${count(this._seen)} seen` : ""}`);
  }

  _take(seen) {
    this._seen += 1;
    this._waiting.push(seen);
    if (this._waiting.length > MOST_ROWS) this._waiting.shift();
    if (this._timer === 0) this._timer = setTimeout(() => this._flush(), DRAW_MILLISECONDS);
  }

  _flush() {
    this._timer = 0;
    this._draw();
    this._tell("Watching");
  }

  _draw() {
    const rows = this._waiting.splice(0).map((seen) => this._row(seen));
    this._body.prepend(...rows.reverse());
    while (this._body.rows.length > MOST_ROWS) this._body.deleteRow(-1);
    this._empty.hidden = this._body.rows.length > 0;
  }

  _clear() {
    this._body.replaceChildren();
    this._seen = 0;
    this._draw();
    this._tell(this._source ? "Watching" : "Stopped");
  }

  _row(seen) {
    const element = h(
      "tr",
      { class: seen.kind === "dropped" ? "dropped" : null },
      this._columns.map((column) => {
        const cell = h("td", { class: classes(column) });
        fill(cell, column.cell(seen));
        return cell;
      }),
    );
    element.event = (seen.event ?? seen.type ?? seen.state ?? "").toLowerCase();
    element.hidden = !this._matches(element);
    return element;
  }

  _matches(element) {
    return element.event.includes(this._filter.value.trim().toLowerCase());
  }

  _sift() {
    for (const element of this._body.rows) element.hidden = !this._matches(element);
  }
}
