// A client's identity, from its access token.

import type { AnySocket } from "../server/internals.js";
import type { ClientRequest } from "./request.js";

/** The user id in the client's access token; null without a token, or without a user id in it. */
export function userIdOf(socket: AnySocket): string | null {
  return (socket.request as Partial<ClientRequest>).userId ?? null;
}

/** The claims of the client's access token; each value is a list. */
export function claimsOf(socket: AnySocket): Readonly<Record<string, readonly string[]>> {
  return (socket.request as Partial<ClientRequest>).claims ?? {};
}
