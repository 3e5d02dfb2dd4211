// Who a client is, from the access token that it came with.

import type { AnySocket } from "../internals.js";
import type { ClientRequest } from "./request.js";

/** Whom the client's access token names; null without a token or a name in it. */
export function userIdOf(socket: AnySocket): string | null {
  return (socket.request as Partial<ClientRequest>).userId ?? null;
}

/** The claims of the client's access token, each a list. */
export function claimsOf(socket: AnySocket): Readonly<Record<string, readonly string[]>> {
  return (socket.request as Partial<ClientRequest>).claims ?? {};
}
