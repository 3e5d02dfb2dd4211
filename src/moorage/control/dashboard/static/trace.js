// Packets while they pass, from the service's stream of events. The list is bounded, and so is what is drawn at once.

import { address } from "./api.js";
import { h, setText } from "./dom.js";
import { bytes, clock, count, latency } from "./format.js";
import { fill } from "./table.js";

const MOST_ROWS = 500;
const DRAW_MILLISECONDS = 200;

const COLUMNS = [
  { label: "Time", cell: ({ time }) => clock(time, true) },
  { label: "Way", cell: direction },
  { label: "User", hide: "tablet", single: true, cell: ({ user }) => user || null },
  { label: "Namespace", hide: "phone", cell: ({ namespace }) => namespace ?? null },
  { label: "Event", wrap: true, cell: what },
  { label: "Size", number: true, hide: "phone", cell: ({ size }) => (size === undefined ? "" : bytes(size)) },
  { label: "Ack", number: true, cell: acknowledged },
  { label: "App server", hide: "tablet", cell: (row) => row.app_server || null },
  { label: "Node", hide: "tablet", cell: ({ node }) => node },
];

function direction({ kind, direction: way }) {
  if (kind !== "packet") return { text: "state", note: true };
  return way === "in" ? { text: "in", tone: "teal", title: "from the client" } : { text: "out", tone: "blue", title: "to the client" };
}

function what({ kind, event, type, state, reason, room, count: lost, payload }) {
  if (kind === "dropped") return [{ text: `${count(lost)} packets are not shown: there are too many`, tone: "warn" }];
  if (kind === "state") return [{ text: [state, room, reason].filter(Boolean).join(" "), note: true }];
  const parts = [event ? { text: event, mono: true } : { text: type, note: true }];
  if (payload !== undefined && payload !== null) parts.push({ text: ` ${typeof payload === "string" ? payload : JSON.stringify(payload)}`, note: true });
  return parts;
}

function acknowledged({ ack, ack_ms: milliseconds }) {
  if (typeof milliseconds === "number") return latency(milliseconds / 1000);
  return ack === null || ack === undefined || ack === false ? "" : "asked";
}

/** A panel with a list of packets. `start` opens the stream, and `close` ends it. */
export class Trace {
  constructor({ params, label, several = false }) {
    this._params = params;
    this._columns = COLUMNS.filter(({ single }) => several || !single);
    this._source = null;
    this._waiting = [];
    this._seen = 0;
    this._timer = 0;
    this._body = h("tbody");
    this._filter = h("input", { type: "text", placeholder: "Event contains", "aria-label": "Event contains", class: "small", oninput: () => this._sift() });
    this._state = h("span", { class: "note", role: "status" });
    this._button = h("button", { type: "button", class: "button small", onclick: () => (this._source ? this.close() : this.start()) }, "Start");
    const heads = this._columns.map((column) => h("th", { scope: "col", class: this._classes(column) }, column.label));
    const clear = h("button", { type: "button", class: "button small", onclick: () => this._body.replaceChildren() }, "Clear");
    this._empty = h("p", { class: "empty soft" }, "Nothing has passed yet.");
    this.element = h(
      "section", { class: "panel flush trace", "aria-label": label },
      h("header", {}, h("h2", {}, label), this._state, h("div", { class: "row" }, this._filter, clear, this._button)),
      h("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": "Packets" }, h("table", {}, h("caption", { class: "unseen" }, "Packets, the newest first"), h("thead", {}, h("tr", {}, heads)), this._body)),
      this._empty,
    );
  }

  _classes({ number, hide, wrap }) {
    return [number && "number", hide && `from-${hide}`, wrap && "wrap"].filter(Boolean).join(" ") || null;
  }

  /** Opens the stream, with other parameters if they are given. */
  start(params = this._params) {
    this.close();
    this._params = params;
    const source = (this._source = new EventSource(address("trace", params)));
    for (const kind of ["packet", "state", "dropped"]) source.addEventListener(kind, (event) => this._take(kind, event.data));
    source.addEventListener("open", () => this._tell("Watching"));
    source.addEventListener("error", () => this._failed(source));
    this._tell("Opening");
    setText(this._button, "Stop");
  }

  /** Ends the stream; the list stays. */
  close() {
    this._source?.close();
    this._source = null;
    clearTimeout(this._timer);
    this._timer = 0;
    this._draw();
    setText(this._button, "Start");
    this._tell(this._seen > 0 ? "Stopped" : "");
  }

  _failed(source) {
    if (source !== this._source) return;
    if (source.readyState === EventSource.CLOSED) {
      this.close();
      this._tell("The service has refused the stream, or is away.");
    } else {
      this._tell("Interrupted, connecting again");
    }
  }

  _tell(state) {
    setText(this._state, this._seen > 0 ? `${state}, ${count(this._seen)} seen` : state);
  }

  _take(kind, data) {
    this._seen += 1;
    this._waiting.push({ kind, ...JSON.parse(data) });
    if (this._waiting.length > MOST_ROWS) this._waiting.shift();
    if (this._timer === 0) this._timer = setTimeout(() => this._flush(), DRAW_MILLISECONDS);
  }

  _flush() {
    this._timer = 0;
    this._draw();
    this._tell("Watching");
  }

  _draw() {
    const rows = this._waiting.splice(0).map((packet) => this._row(packet));
    this._body.prepend(...rows.reverse());
    while (this._body.rows.length > MOST_ROWS) this._body.deleteRow(-1);
    this._empty.hidden = this._body.rows.length > 0;
  }

  _row(packet) {
    const element = h("tr", { class: packet.kind }, this._columns.map((column) => {
      const cell = h("td", { class: this._classes(column) });
      fill(cell, column.cell(packet));
      return cell;
    }));
    element.event = String(packet.event ?? packet.type ?? packet.kind);
    element.hidden = !this._matches(element);
    return element;
  }

  _matches(element) {
    return element.event.toLowerCase().includes(this._filter.value.trim().toLowerCase());
  }

  _sift() {
    for (const element of this._body.rows) element.hidden = !this._matches(element);
  }
}
