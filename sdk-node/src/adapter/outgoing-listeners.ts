// `onAnyOutgoing` listeners are called for broadcasts too. Asking each of thousands of sockets for listeners at each
// broadcast would cost more than the broadcast itself, so the sockets that have listeners are recorded.

import type { Packet } from "socket.io-parser";

import { type AnySocket, insideSocket } from "../server/internals.js";

type Listener = (...args: any[]) => void;
type Listen = (this: AnySocket, listener: Listener) => AnySocket;

export class OutgoingListeners {
  readonly #listening = new Set<AnySocket>();
  /** Two functions for all sockets: two closures for each of thousands of sockets would waste memory. */
  #wrapped: { on: Listen; prepend: Listen } | undefined;

  /** A socket has connected. */
  watch(socket: AnySocket): void {
    if (socket.listenersAnyOutgoing().length > 0) this.#listening.add(socket);
    this.#wrapped ??= { on: this.#wrap(socket.onAnyOutgoing), prepend: this.#wrap(socket.prependAnyOutgoing) };
    socket.onAnyOutgoing = this.#wrapped.on as AnySocket["onAnyOutgoing"];
    socket.prependAnyOutgoing = this.#wrapped.prepend as AnySocket["prependAnyOutgoing"];
  }

  #wrap(native: (listener: Listener) => unknown): Listen {
    const listening = this.#listening;
    return function (listener) {
      if (this.connected) listening.add(this);
      native.call(this, listener);
      return this;
    };
  }

  forget(socket: AnySocket): void {
    this.#listening.delete(socket);
  }

  /** Calls the listeners. `select` selects the sockets that receive the packet. */
  notify(packet: Packet, select: (listening: Iterable<AnySocket>) => Iterable<AnySocket>): void {
    if (this.#listening.size === 0) return;
    for (const socket of select([...this.#listening])) insideSocket(socket).notifyOutgoingListeners(packet);
  }
}
