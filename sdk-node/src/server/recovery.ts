// The option `connectionStateRecovery` of a Socket.IO server, behind a service.

import { milliseconds } from "../quantities.js";
import { type AnyServer, insideServer } from "./internals.js";

/** The recovery to ask the service for. */
export function wantedRecovery(io: AnyServer, quiet: boolean): { recovery: number; quiet: boolean } {
  const { connectionStateRecovery: wanted } = insideServer(io).opts;
  if (!wanted) return { recovery: 0, quiet: false };
  return { recovery: milliseconds(wanted.maxDisconnectionDuration), quiet };
}

/** Adjusts the option to what the service does. `time`: the milliseconds that apply. Returns true if it recovers
 * sockets. */
export function applyRecovery(io: AnyServer, time: number, log: (line: string) => void): boolean {
  const { opts } = insideServer(io);
  const wanted = opts.connectionStateRecovery;
  if (time > 0) {
    // The hub's settings turned it on. This app does not expect that its middlewares are skipped.
    opts.connectionStateRecovery = wanted || { maxDisconnectionDuration: time, skipMiddlewares: false };
  } else if (wanted) {
    opts.connectionStateRecovery = undefined;
    log("connectionStateRecovery has no effect: the service does not recover the clients of this hub (its setting hubs.NAME.recovery_max_disconnection)");
  }
  return time > 0;
}
