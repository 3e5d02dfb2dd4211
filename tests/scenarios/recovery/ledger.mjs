// What each session is entitled to, and what its client got. A session begins with a new socket id and lasts while
// its client comes back to it. Times are those of one process, which runs the clients and the app servers.

export class Session {
  got = new Map();
  order = [];
  faults = [];

  constructor(sid, since) {
    this.sid = sid;
    this.since = since;
    this.rooms = new Set();
    this.over = Infinity;
    // By emit: "once", or "maybe" for one that was under way at the session's begin.
    this.due = new Map();
  }

  take(emit) {
    const { key, emitter, number } = emit;
    const times = (this.got.get(key) ?? 0) + 1;
    this.got.set(key, times);
    if (times > 1 && !emit.again) this.faults.push(`${key} arrived ${times} times`);
    else if (times === 1) this.order.push([emitter, number, key]);
  }

  // `live`: the client is connected to it, and everything has arrived.
  check(live) {
    const faults = [...this.faults];
    const last = new Map();
    for (const [emitter, number, key] of this.order) {
      if (number < (last.get(emitter) ?? 0)) faults.push(`${key} arrived after ${emitter}${last.get(emitter)}`);
      last.set(emitter, number);
      if (!this.due.has(key)) faults.push(`${key} was not for it`);
    }
    if (live)
      for (const [key, how] of this.due) if (how === "once" && !this.got.has(key)) faults.push(`${key} is lost`);
    return faults.map((fault) => `${this.sid}: ${fault}`);
  }
}

export class Ledger {
  sessions = new Map();
  #emits = new Map();
  #numbers = new Map();

  begin(sid, namespace) {
    const session = new Session(sid, performance.now());
    session.namespace = namespace;
    this.sessions.set(sid, session);
    return session;
  }

  // An emit leaves now, to the sessions for which `to` is true. `again`: it asks for an ack, so it may come twice.
  emit(emitter, namespace, to, { volatile = false, again = false } = {}) {
    const number = (this.#numbers.get(emitter) ?? 0) + 1;
    this.#numbers.set(emitter, number);
    const emit = { emitter, number, key: `${emitter}${number}`, again, namespace, to, volatile, at: performance.now() };
    this.#emits.set(emit.key, emit);
    for (const session of this.sessions.values()) this.#entitle(session, emit, volatile ? "maybe" : "once");
    return emit.key;
  }

  #entitle(session, emit, how) {
    if (session.namespace === emit.namespace && session.over > emit.at && emit.to(session)) session.due.set(emit.key, how);
  }

  // A socket whose client had not heard of its connect yet may get what was sent meanwhile.
  early(session, from) {
    for (const emit of this.#emits.values()) if (emit.at >= from) this.#entitle(session, emit, "maybe");
  }

  got(session, key) {
    session.take(this.#emits.get(key));
  }

  get count() {
    return this.#emits.size;
  }
}
