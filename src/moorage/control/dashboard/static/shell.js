// The frame around every page: navigation, title, state of the refresh, and what is wrong with the service.

import { h, setAttribute, setShown, setText } from "./widgets/dom.js";
import { clock } from "./widgets/format.js";
import { help, PAGES } from "./keyboard.js";
import { Live } from "./live.js";
import { bar } from "./widgets/notices.js";
import { go, link } from "./router.js";
import { appsPage } from "./pages/apps.js";
import { auditPage } from "./pages/audit.js";
import { connectionPage } from "./pages/connection.js";
import { connectionsPage } from "./pages/connections.js";
import { disconnectsPage } from "./pages/disconnects.js";
import { hubsPage } from "./pages/hubs.js";
import { nodePage, nodesPage } from "./pages/nodes.js";
import { overviewPage } from "./pages/overview.js";
import { roomsPage } from "./pages/rooms.js";
import { tracePage } from "./pages/trace.js";

/** Page -> what makes it, without and with an id in the address. A maker gets `{ params, id, session, change, refresh }` and
 * returns `{ title, element, seconds, load(signal), show(data) }` and, if it needs them, `changed(params)`, `search` (a
 * field) and `close()`. */
const MAKERS = new Map([
  ["overview", [overviewPage]],
  ["connections", [connectionsPage, connectionPage]],
  ["rooms", [roomsPage]],
  ["hubs", [hubsPage]],
  ["apps", [appsPage]],
  ["nodes", [nodesPage, nodePage]],
  ["trace", [tracePage]],
  ["disconnects", [disconnectsPage]],
  ["audit", [auditPage]],
]);

/** So long before its end the page reminds of the session. */
const ENDING_SECONDS = 600;

export class Shell {
  constructor(session, { expired, leave }) {
    this._session = session;
    this._expired = expired;
    this._route = null;
    this._page = null;
    this._live = null;
    this._paused = false;
    this._lastSeen = null;
    this._searching = false;
    this._nodes = new Set(); // the names of all nodes that were seen
    this._title = h("h1", { tabindex: -1 });
    this._state = h("span", { class: "state" }, "");
    this._pause = h("button", { type: "button", class: "button small", onclick: () => this.togglePause() }, "Pause");
    this._away = bar("bad");
    this._missing = bar("warn");
    this._ending = bar("warn");
    this._content = h("div", { class: "content" });
    this._links = PAGES.map(([, name, label]) =>
      h("a", { href: link(name), class: "entry", "data-page": name }, label),
    );
    this.element = this._frame(leave);
  }

  _frame(leave) {
    const { node, version, region, role } = this._session;
    const entries = h("nav", { "aria-label": "Pages", id: "pages" }, this._links);
    const menu = h(
      "button",
      {
        type: "button",
        class: "button small menu",
        "aria-expanded": "false",
        "aria-controls": "side",
        onclick: () => this._toggleMenu(),
      },
      "Menu",
    );
    this._menu = menu;
    const about = h(
      "footer",
      { class: "about" },
      h(
        "p",
        { title: `Signed in at node ${node}` },
        h("span", { class: "strong" }, node),
        region ? ` in ${region}` : "",
      ),
      h("p", {}, `Moorage ${version}`),
      h("p", {}, role === "operate" ? "Signed in to operate" : "Signed in to read"),
      h(
        "p",
        { class: "row" },
        h("button", { type: "button", class: "bare", onclick: help }, "Keys ", h("kbd", {}, "?")),
        h("button", { type: "button", class: "bare", onclick: leave }, "Sign out"),
      ),
    );
    this._side = h("div", { class: "side", id: "side" }, entries, about);
    return h(
      "div",
      { class: "shell" },
      h(
        "a",
        {
          class: "skip",
          href: "#/",
          onclick: (event) => {
            event.preventDefault();
            this._title.focus();
          },
        },
        "Skip to the page",
      ),
      h("div", { class: "brand" }, h("a", { href: link("overview"), class: "name" }, "Moorage"), menu),
      this._side,
      h(
        "main",
        {},
        h("header", { class: "head" }, this._title, h("div", { class: "row" }, this._state, this._pause)),
        this._away.element,
        this._ending.element,
        this._missing.element,
        this._content,
      ),
    );
  }

  /** Shows the page of a route. The same page with other parameters keeps its elements. */
  open(route) {
    const same = this._route !== null && this._route.name === route.name && this._route.id === route.id;
    this._route = route;
    this._toggleMenu(false);
    if (same && this._page.changed) {
      this._page.changed(route.params);
      this._live.now();
      return;
    }
    this._close();
    const [list, single] = MAKERS.get(route.name) ?? [];
    const make = route.id === "" ? list : single;
    if (make === undefined) {
      go("overview");
      return;
    }
    this._page = make({ ...route, session: this._session, refresh: () => this._live.now() });
    for (const entry of this._links)
      setAttribute(entry, "aria-current", entry.dataset.page === route.name ? "page" : null);
    setText(this._title, this._page.title);
    document.title = `${this._page.title} – Moorage`;
    this._content.replaceChildren(this._page.element);
    this._away.say("");
    this._missing.say("");
    scrollTo(0, 0);
    (this._searching ? this._page.search : this._title).focus({ preventScroll: true });
    this._searching = false;
    this._begin(this._page);
  }

  _begin(page) {
    this._live = new Live({
      load: page.load,
      seconds: page.seconds,
      show: (data) => this._show(page, data),
      fail: (error) => this._fail(error),
    });
    if (this._paused) this._live.pause(true);
  }

  _show(page, data) {
    this._lastSeen = Date.now() / 1000;
    this._away.say("");
    this._missing.say(this._absent(data));
    this._content.classList.remove("stale");
    const { expires } = this._session;
    const isEnding = expires !== null && expires - this._lastSeen < ENDING_SECONDS;
    this._ending.say(isEnding ? `Your session ends at ${clock(expires)}. Sign out and in again to stay longer.` : "");
    page.show(data);
    this._tell();
  }

  /** What to say about nodes that are not in the page's data. Answers about nodes list them all. */
  _absent({ missing, nodes }) {
    const parts = [];
    if (missing.length > 0) {
      parts.push(
        `${missing.join(", ")} ${missing.length === 1 ? "does" : "do"} not answer. This page shows the other nodes only.`,
      );
    }
    if (nodes !== undefined) {
      const present = new Set(nodes.map(({ name }) => name));
      const left = [...this._nodes].filter((name) => !present.has(name));
      if (left.length > 0) parts.push(`${left.join(", ")} ${left.length === 1 ? "has" : "have"} left the cluster.`);
      for (const name of present) this._nodes.add(name);
    }
    return parts.join(" ");
  }

  _fail(error) {
    if (error.status === 401) {
      this._expired();
      return;
    }
    if (error.status === undefined) throw error;
    const last = this._lastSeen === null ? "" : ` You see what was true at ${clock(this._lastSeen)}.`;
    this._away.say(error.status === 0 ? `${error.message}${last} The page tries again by itself.` : error.message);
    this._content.classList.toggle("stale", error.status === 0);
    this._tell(error.status === 0 ? "No answer" : "Refused");
  }

  _tell(failure = "") {
    const text = this._paused ? "Paused" : failure || "Live";
    setText(this._state, text);
    setAttribute(this._state, "class", `state ${this._paused ? "paused" : failure ? "bad" : "ok"}`);
    setText(this._pause, this._paused ? "Continue" : "Pause");
  }

  /** Stops or continues the refresh. */
  togglePause() {
    this._paused = !this._paused;
    this._live?.pause(this._paused);
    this._tell();
  }

  /** Puts the cursor into the page's search field, or into that of the connections. */
  search() {
    if (!this._page?.search) {
      this._searching = true;
      go("connections");
      return;
    }
    this._page.search.focus();
    this._page.search.select?.();
  }

  _toggleMenu(open = !this._side.classList.contains("open")) {
    this._side.classList.toggle("open", open);
    setAttribute(this._menu, "aria-expanded", String(open));
  }

  _close() {
    this._live?.close();
    this._page?.close?.();
    this._page = null;
  }

  /** Ends everything that runs. */
  close() {
    this._close();
    setShown(this.element, false);
  }
}
