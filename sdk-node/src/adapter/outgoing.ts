// `onAnyOutgoing` hears broadcasts too. To ask each of thousands of sockets at each broadcast whether it has
// such a listener would cost more than the broadcast itself; so those that have one are known.

import type { Packet } from "socket.io-parser";

import { type AnySocket, insideSocket } from "../internals.js";

type Listener = (...args: any[]) => void;
type Listen = (this: AnySocket, listener: Listener) => AnySocket;

export class Outgoing {
  readonly #watching = new Set<AnySocket>();
  /** The same two functions for all sockets: thousands of closures would be memory for nothing. */
  #wrapped: { on: Listen; prepend: Listen } | undefined;

  /** A socket has connected. */
  watch(socket: AnySocket): void {
    if (socket.listenersAnyOutgoing().length > 0) this.#watching.add(socket);
    this.#wrapped ??= { on: this.#wrap(socket.onAnyOutgoing), prepend: this.#wrap(socket.prependAnyOutgoing) };
    socket.onAnyOutgoing = this.#wrapped.on as AnySocket["onAnyOutgoing"];
    socket.prependAnyOutgoing = this.#wrapped.prepend as AnySocket["prependAnyOutgoing"];
  }

  #wrap(native: (listener: Listener) => unknown): Listen {
    const watching = this.#watching;
    return function (listener) {
      if (this.connected) watching.add(this);
      native.call(this, listener);
      return this;
    };
  }

  forget(socket: AnySocket): void {
    this.#watching.delete(socket);
  }

  /** `among` picks those that the packet goes to. */
  notify(packet: Packet, among: (watching: Iterable<AnySocket>) => Iterable<AnySocket>): void {
    if (this.#watching.size === 0) return;
    for (const socket of among([...this.#watching])) insideSocket(socket).notifyOutgoingListeners(packet);
  }
}
