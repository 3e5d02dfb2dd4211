// Rooms of own sockets when two sides change them: this app server (Enter, Exit) and others (Moved).
//
// The service applies all changes in one order. An unconfirmed change of this app server comes after every Moved that
// arrives before its Done. Until then, such a Moved is out of date for the same socket and room, and must not undo
// the local change.

export class Membership {
  /** Number of pending changes, by socket and room. */
  readonly #pending = new Map<string, number>();

  /** Records a pending change. The caller must call the returned function as soon as the answer is read: the next
   * frame may be a Moved that is up to date. */
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

  /** Returns the `rooms` without pending changes. */
  settled(id: string, rooms: readonly string[]): readonly string[] {
    if (this.#pending.size === 0) return rooms;
    return rooms.filter((room) => !this.#pending.has(key(id, room)));
  }
}

/** A socket id contains no space. */
const key = (id: string, room: string): string => `${id} ${room}`;
