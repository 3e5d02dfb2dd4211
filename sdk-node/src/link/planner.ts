// Decides at which nodes an app server has sessions, and what each session is told. No I/O and no clock.
//
// The first session is wherever the connection string leads. That node lists the others, and the app server has a
// session at each node that it should cover. One session is the home: its node forwards the app server's commands to
// the nodes without a session (section 5 of docs/reference/link-protocol.md).

import { Type, type Cover, type NodeRow, type Nodes } from "../wire/frames.js";

/** A node as one app server sees it. */
export class Seat {
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
  readonly seat: Seat;
  readonly frame: Cover;
}

/** What to do now. */
export interface Steps {
  readonly dial: readonly NodeRow[];
  /** Seats of nodes that are gone, or need not be covered any more. */
  readonly drop: readonly Seat[];
}

const NOTHING: Steps = { dial: [], drop: [] };

export class Planner {
  readonly seats = new Set<Seat>();
  /** The session whose node forwards commands. Undefined before the first session. */
  home: Seat | undefined;
  #term = 0;

  /** Adds a seat for a node of the list; without one, for the node to which the connection string leads. */
  add(row?: NodeRow): Seat {
    const seat = new Seat(row?.id ?? "", row === undefined);
    if (row) describe(seat, row);
    this.seats.add(seat);
    return seat;
  }

  /** Forgets a seat. Its session has been lost before. */
  remove(seat: Seat): void {
    this.seats.delete(seat);
  }

  /** The seats with a session. */
  get alive(): Seat[] {
    return [...this.seats].filter((seat) => seat.alive);
  }

  /** True if a link is up. */
  get up(): boolean {
    return [...this.seats].some((seat) => seat.up);
  }

  /** True if there is a session at every node that should be covered. */
  get covered(): boolean {
    const nodes = new Set(this.alive.map((seat) => seat.node));
    return (this.home?.listed ?? []).every((row) => !row.cover || nodes.has(row.id));
  }

  /** True if a link of this seat may have a session at the node that has answered. While no other link is up, any node
   * is welcome: all nodes may have been replaced. */
  accepts(seat: Seat, node: string): boolean {
    if (seat.node === "" || seat.node === node) return true;
    return ![...this.seats].some((other) => other !== seat && (other.up || (other.alive && other.node === node)));
  }

  // --- what happens --------------------------------------------------------------------------------

  /** There is a new session. Nothing but the frame for it may enter it first. A lost session of the same seat has been
   * reported before. */
  began(seat: Seat, node: string): Order[] {
    seat.node = node;
    seat.alive = true;
    seat.version = 0;
    seat.listed = [];
    this.home ??= seat;
    return this.#orders(seat);
  }

  /** A session is over. The home then moves to another session. */
  lost(seat: Seat): Order[] {
    if (!seat.alive) return [];
    seat.alive = false;
    if (seat === this.home) {
      const { alive } = this;
      this.home = alive.find((other) => other.up) ?? alive[0];
    }
    return this.#orders();
  }

  /** A node has listed the nodes. */
  listed(seat: Seat, { version, rows }: Nodes): void {
    if (version < seat.version) return;
    seat.version = version;
    seat.listed = rows;
    for (const other of this.seats) {
      const row = rows.find(({ id }) => id === other.node);
      if (row) describe(other, row);
    }
  }

  /** `fresh`: the session that has just begun. */
  #orders(fresh?: Seat): Order[] {
    const { alive } = this;
    // A session that has always been the only one carries out everything without being told.
    if (alive.length === 0 || (alive.length === 1 && fresh)) return [];
    this.#term += 1;
    const nodes = alive.map(({ node }) => node);
    return alive.map((seat) => ({
      seat,
      frame: { type: Type.Cover, term: this.#term, home: seat === this.home, fence: seat === fresh, nodes },
    }));
  }

  // --- what follows --------------------------------------------------------------------------------

  /** Returns the nodes to dial, and the seats to drop. A node is gone if its link is down and no other node lists it
   * any more. */
  steps(): Steps {
    const { home } = this;
    if (!home) return NOTHING;
    const known = new Set([...this.seats].map((seat) => seat.node));
    // While the home is down it marks nothing, and a new session waits for its mark.
    const dial = home.up ? home.listed.filter((row) => row.cover && !known.has(row.id)) : [];
    const unwanted = new Set(home.listed.filter((row) => !row.cover).map((row) => row.id));
    const lists = [...this.seats].filter((seat) => seat.up && seat.listed.length > 0).map((seat) => seat.listed);
    const there = new Set(lists.flat().map((row) => row.id));
    const isGone = (seat: Seat): boolean => lists.length > 0 && !seat.up && !there.has(seat.node);
    const isUnwanted = (seat: Seat): boolean => home.up && seat !== home && unwanted.has(seat.node);
    return { dial, drop: [...this.seats].filter((seat) => isGone(seat) || isUnwanted(seat)) };
  }
}

function describe(seat: Seat, { name, url, region }: NodeRow): void {
  seat.name = name;
  seat.url = url;
  seat.region = region;
}
