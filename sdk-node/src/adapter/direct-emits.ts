// `socket.emit` with connection state recovery. socket.io then hands the packet to the adapter as an emit to the socket's
// private room, because its own adapters record it there. Here the service records what it sends to a client, so the
// packet goes to the client alone, as without recovery: on the link of its node only.

import type { AnySocket } from "../server/internals.js";

type Emit = (this: AnySocket, event: string, ...args: any[]) => boolean;

export class DirectEmits {
  #emitting: AnySocket | undefined;
  /** One function for all sockets. */
  #wrapped: Emit | undefined;

  /** A socket has connected. */
  watch(socket: AnySocket): void {
    this.#wrapped ??= this.#wrap(socket.emit as Emit);
    socket.emit = this.#wrapped as AnySocket["emit"];
  }

  #wrap(native: Emit): Emit {
    const self = this;
    return function (event, ...args) {
      self.#emitting = this;
      try {
        return native.call(this, event, ...args);
      } finally {
        self.#emitting = undefined;
      }
    };
  }

  /** Called by the adapter: the connected socket whose `emit` has called it. A socket that is gone is reached in its
   * room only: its client may come back. */
  take(): AnySocket | undefined {
    const socket = this.#emitting;
    this.#emitting = undefined;
    return socket?.connected ? socket : undefined;
  }
}
