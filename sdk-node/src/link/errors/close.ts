// Errors for a link that ended. Each text names the cause and the remedy.

import { MoorageError } from "../../wire/errors.js";
import type { Target } from "./connect.js";

/** The numbers of the reasons in the service's catalogue. A WebSocket close carries only the reason's name. */
const NUMBERS: ReadonlyMap<string, number> = new Map([
  ["draining", 1100],
  ["internal", 1199],
  ["link-bad-frame", 4002],
  ["link-frame-too-large", 4003],
  ["link-slow", 4004],
  ["link-unknown-dialect", 4005],
  ["link-version", 4007],
  ["link-server-taken", 4008],
  ["link-bad-request", 4009],
  ["link-silent", 4010],
  ["link-replaced", 4011],
]);

/** Reasons of a WebSocket close after which a new attempt cannot succeed. */
const FINAL = new Set(["link-version", "link-replaced"]);
/** Reasons that are final only when they answer the hello. */
const FINAL_HELLO = new Set(["link-bad-frame", "link-bad-request", "link-unknown-dialect"]);

/** The service closed the WebSocket with `code` and the reason `name`. `greeted`: the hellos had been exchanged. */
export function connectionClosed(target: Target, code: number, name: string, greeted: boolean): MoorageError {
  const final = FINAL.has(name) || (!greeted && FINAL_HELLO.has(name));
  const reason = name || "link-lost";
  const what = greeted ? "The link to" : "The hello was refused by";
  const text = `${what} ${target.endpoint}${greeted ? " ended" : ""}: ${name || `WebSocket close code ${code}`}.`;
  const advice = remedy(reason, target.serverId);
  return new MoorageError(reason, advice ? `${text} ${advice}` : text, { number: NUMBERS.get(reason) ?? 4001, retry: !final });
}

/** The service sent bytes that break the protocol. `wasUp`: the link had been up before. */
export function protocolError({ endpoint }: Target, { reason, number, message }: MoorageError, wasUp: boolean): MoorageError {
  const text = `${endpoint} broke the link protocol (${message}). ${remedy(reason, undefined)}`;
  return new MoorageError(reason, text, { number, retry: wasUp });
}

function remedy(reason: string, serverId: string | undefined): string {
  switch (reason) {
    case "link-server-taken":
      return `Another app server of the hub has the id "${serverId}": give each its own id, or omit the option for a random one.`;
    case "link-replaced":
      return `Another process took over the session of the app server "${serverId}".`;
    case "link-version":
      return "The service has another version of the link protocol: update the older of the two.";
    case "link-bad-frame":
      return "One side sent frames that the other cannot read: please report this with both versions.";
    default:
      return "";
  }
}

/** Nothing arrived for too long: the network path is dead, or the service is stuck. */
export function linkSilent({ endpoint }: Target): MoorageError {
  return new MoorageError("link-silent", `The service at ${endpoint} was silent for too long.`, { number: 4010, retry: true });
}

/** Another node answered than the one that was dialled. */
export function wrongNode({ endpoint }: Target, node: string): MoorageError {
  return new MoorageError("wrong-node", `The node ${node} answered at ${endpoint} in place of another one.`, { retry: true });
}

/** The session of one node out of several was given up. */
export function slowSession({ endpoint }: Target): MoorageError {
  const text = `A node of the service at ${endpoint} is slower than this app server: more than maxQueueBytes waited for it.`;
  return new MoorageError("link-slow", text, { number: 4004, retry: true });
}

/** The error for the pending requests of a session that was not resumed. */
export function sessionLost(): MoorageError {
  const text =
    "The session of this app server is lost: the link was down for too long, or the service was restarted.";
  return new MoorageError("session-lost", text, { retry: true });
}

/** The error for calls on a closed link. */
export function linkClosed(cause: MoorageError | undefined): MoorageError {
  const text = cause ? `The link to the service is closed: ${cause.message}` : "The link to the service is closed.";
  return new MoorageError("link-closed", text, { number: 4000, cause });
}
