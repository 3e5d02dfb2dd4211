// Decides at which nodes an app server has sessions, and what each session is told. No I/O and no clock.
//
// The first session is wherever the connection string leads. That node lists the others, and the app server has a
// session at each node that it should cover. One session is the home: its node forwards the app server's commands to
// the nodes without a session (section 5 of docs/reference/link-protocol.md). The Python SDK has the same rules in
// `sdk/link/planner.py`.

import { Type, type Cover, type NodeRow, type Nodes } from "../wire/frames.js";

/** A node as one app server sees it. */
export class NodeView {
  /** For people. */
  name = "";
  region = "";
  /** Where the node can be dialled; "" if it is reached by the connection string's endpoint. */
  url = "";
  /** True if the app server has a session there. */
  alive = false;
  /** True if that session's link is up. */
  up = false;
  /** The session's last list of nodes. */
  listed: readonly NodeRow[] = [];
  /** The version of that list. */
  version = 0;

  /** `node`: its incarnation; "" until a node has answered. `isFirst`: the connection string leads there. */
  constructor(
    public node: string,
    readonly isFirst: boolean,
  ) {}
}

/** A frame for one session. */
export interface Order {
  readonly view: NodeView;
  readonly frame: Cover;
}

/** What to do now. */
interface Steps {
  readonly dial: readonly NodeRow[];
  /** Nodes that are gone, or need not be covered any more. */
  readonly drop: readonly NodeView[];
  /** Those of `drop` that are gone. */
  readonly gone: ReadonlySet<NodeView>;
}

const NOTHING: Steps = { dial: [], drop: [], gone: new Set() };

export class Planner {
  readonly views = new Set<NodeView>();
  /** The session whose node forwards commands. Undefined before the first session. */
  home: NodeView | undefined;
  #term = 0;
  /** True once a node has listed the nodes: the service is a cluster. */
  #isCluster = false;
  /** True before the first session. */
  #isNew = true;

  /** Begins with a node of the list; without one, with the node to which the connection string leads. */
  add(row?: NodeRow): NodeView {
    const view = new NodeView(row?.id ?? "", row === undefined);
    if (row) describe(view, row);
    this.views.add(view);
    return view;
  }

  /** Forgets a node. Its session has been lost before. */
  remove(view: NodeView): void {
    this.views.delete(view);
  }

  /** The nodes with a session. */
  get alive(): NodeView[] {
    return [...this.views].filter((view) => view.alive);
  }

  /** True if a link is up. */
  get up(): boolean {
    return [...this.views].some((view) => view.up);
  }

  /** True if there is a session at every node that should be covered. */
  get covered(): boolean {
    const nodes = new Set(this.alive.map((view) => view.node));
    return (this.home?.listed ?? []).every((row) => !row.cover || nodes.has(row.id));
  }

  /** True if the link of `view` may have a session at the node that has answered. While no other link is up, any node
   * is welcome: all nodes may have been replaced. */
  accepts(view: NodeView, node: string): boolean {
    if (view.node === "" || view.node === node) return true;
    return ![...this.views].some((other) => other !== view && (other.up || (other.alive && other.node === node)));
  }

  // --- what happens --------------------------------------------------------------------------------

  /** There is a new session. Nothing but the frame for it may enter it first. A lost session of the same link has been
   * reported before. */
  began(view: NodeView, node: string): Order[] {
    view.node = node;
    view.alive = true;
    view.version = 0;
    view.listed = [];
    this.home ??= view;
    const orders = this.#orders(view);
    this.#isNew = false;
    return orders;
  }

  /** A session is over. The home then moves to another session. */
  lost(view: NodeView): Order[] {
    if (!view.alive) return [];
    view.alive = false;
    if (view === this.home) {
      const { alive } = this;
      this.home = alive.find((other) => other.up) ?? alive[0];
    }
    return this.#orders();
  }

  /** A node has listed the nodes. */
  listed(view: NodeView, { version, rows }: Nodes): void {
    if (version < view.version) return;
    this.#isCluster = true;
    view.version = version;
    view.listed = rows;
    for (const other of this.views) {
      const row = rows.find(({ id }) => id === other.node);
      if (row) describe(other, row);
    }
  }

  /** `fresh`: the session that has just begun. */
  #orders(fresh?: NodeView): Order[] {
    const { alive } = this;
    const alone = alive.length === 1 && fresh !== undefined;
    // The first session of all carries out everything without being told.
    if (alive.length === 0 || (alone && (this.#isNew || !this.#isCluster))) return [];
    this.#term += 1;
    const nodes = alive.map(({ node }) => node);
    return alive.map((view) => ({
      view,
      // Nobody marks a session without others. Its node is told of it all the same, because what a lost home has
      // forwarded may still be under way, and must not come behind what this session sends.
      frame: { type: Type.Cover, term: this.#term, home: view === this.home, fence: !alone && view === fresh, nodes },
    }));
  }

  // --- what follows --------------------------------------------------------------------------------

  /** Returns the nodes to dial, and those to drop. A node is gone if its link is down and no other node lists it
   * any more. */
  steps(): Steps {
    const { home } = this;
    if (!home) return NOTHING;
    const known = new Set([...this.views].map((view) => view.node));
    // While the home is down it marks nothing, and a new session waits for its mark.
    const dial = home.up ? home.listed.filter((row) => row.cover && !known.has(row.id)) : [];
    const unwanted = new Set(home.listed.filter((row) => !row.cover).map((row) => row.id));
    const lists = [...this.views].filter((view) => view.up && view.listed.length > 0).map((view) => view.listed);
    const there = new Set(lists.flat().map((row) => row.id));
    const isGone = (view: NodeView): boolean => lists.length > 0 && !view.up && !there.has(view.node);
    const isUnwanted = (view: NodeView): boolean => home.up && view !== home && unwanted.has(view.node);
    const gone = new Set([...this.views].filter(isGone));
    return { dial, drop: [...this.views].filter((view) => gone.has(view) || isUnwanted(view)), gone };
  }
}

function describe(view: NodeView, { name, url, region }: NodeRow): void {
  view.name = name;
  view.url = url;
  view.region = region;
}
