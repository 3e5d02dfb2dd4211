// Rooms of own sockets, when two sides change them: this app server (Enter, Exit) and others (Moved).
//
// The service has one order of all changes. A change of ours that is not confirmed yet comes after every
// Moved that we read before its Done. So until then such a Moved is out of date for the same socket and
// room, and must not undo ours here.

export class Membership {
  /** Changes under way, by socket and room. */
  readonly #pending = new Map<string, number>();

  /** A change is under way. Call what it returns when its answer is read, not later: the next frame may be a
   * Moved that is news again. */
  begin(id: string, rooms: readonly string[]): () => void {
    const keys = rooms.map((room) => key(id, room));
    for (const each of keys) this.#pending.set(each, (this.#pending.get(each) ?? 0) + 1);
    return () => {
      for (const each of keys.splice(0)) this.#release(each);
    };
  }

  #release(each: string): void {
    const left = (this.#pending.get(each) ?? 0) - 1;
    if (left > 0) this.#pending.set(each, left);
    else this.#pending.delete(each);
  }

  /** Those of `rooms` that nothing is under way for. */
  settled(id: string, rooms: readonly string[]): readonly string[] {
    if (this.#pending.size === 0) return rooms;
    return rooms.filter((room) => !this.#pending.has(key(id, room)));
  }
}

/** A socket id has no space. */
const key = (id: string, room: string): string => `${id} ${room}`;
