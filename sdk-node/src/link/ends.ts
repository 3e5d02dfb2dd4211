// Why a link ended, in words that name the cause and the way out of it.

import { MoorageError } from "../wire/errors.js";
import type { Target } from "./refusals.js";

/** Names in a close come without their numbers: those of the service's catalogue. */
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

/** Reasons in a WebSocket close that stay true however often one tries. */
const LASTING = new Set(["link-version", "link-replaced"]);
/** These as well, when they answer a hello. */
const LASTING_HELLO = new Set(["link-bad-frame", "link-bad-request", "link-unknown-dialect"]);

/** The WebSocket was closed. `greeted`: after the hellos. */
export function closed(target: Target, code: number, name: string, greeted: boolean): MoorageError {
  const lasting = LASTING.has(name) || (!greeted && LASTING_HELLO.has(name));
  const reason = name || "link-lost";
  const what = greeted ? "The link to" : "The hello was refused by";
  const text = `${what} ${target.endpoint}${greeted ? " ended" : ""}: ${name || `WebSocket close code ${code}`}.`;
  const fix = closedRemedy(reason, target.serverId);
  return new MoorageError(reason, fix ? `${text} ${fix}` : text, { number: NUMBERS.get(reason) ?? 4001, retry: !lasting });
}

/** The service sent what cannot be read. `before`: there was a link already. */
export function garbled({ endpoint }: Target, { reason, number, message }: MoorageError, before: boolean): MoorageError {
  const text = `${endpoint} broke the link protocol (${message}). ${closedRemedy(reason, undefined)}`;
  return new MoorageError(reason, text, { number, retry: before });
}

function closedRemedy(reason: string, serverId: string | undefined): string {
  switch (reason) {
    case "link-server-taken":
      return `Another app server of the hub has the id "${serverId}": give each its own, or none for a random one.`;
    case "link-replaced":
      return `Another process took over the session of the app server "${serverId}".`;
    case "link-version":
      return "The service speaks another version of the link protocol: bring both to versions that fit.";
    case "link-bad-frame":
      return "One side does not understand the other: report it with both versions.";
    default:
      return "";
  }
}

/** A dead network path, or a service that is stuck. */
export function silent({ endpoint }: Target): MoorageError {
  return new MoorageError("link-silent", `Nothing came from ${endpoint} for too long.`, { number: 4010, retry: true });
}

/** What becomes of requests of a session that was not resumed. */
export function sessionLost(): MoorageError {
  const text =
    "The service forgot the session of this app server: the link was down for too long, or the service was restarted.";
  return new MoorageError("session-lost", text, { retry: true });
}

/** For whoever uses a link that is closed. */
export function ended(cause: MoorageError | undefined): MoorageError {
  const text = cause ? `The link to the service is closed: ${cause.message}` : "The link to the service is closed.";
  return new MoorageError("link-closed", text, { number: 4000, cause });
}
