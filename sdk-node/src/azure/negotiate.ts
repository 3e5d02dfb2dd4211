// `negotiate`, `usePassport` and `restorePassport`: access tokens for clients, with the interface of Azure's SDK.

import type { IncomingMessage, ServerResponse } from "node:http";
import createDebug from "debug";

import type { AnyServer } from "../server/internals.js";
import { clientAddress, type Target } from "../options.js";
import { targetOf } from "../use-moorage.js";
import { MoorageError } from "../wire/errors.js";
import { type AnyAzureOptions, azureTarget } from "./options.js";
import { clientToken } from "./token.js";

const debug = createDebug("moorage:negotiate");

/** Azure's defaults for a token's lifetime, in minutes. */
const DEFAULT_MINUTES = 60;
const PASSPORT_MINUTES = 600;

/** The user and the lifetime of the token that `negotiate` makes. */
export interface NegotiateOptions {
  /** The user of the client. Default: none. */
  userId?: string;
  /** Lifetime of the token. Default 60. */
  expirationTimeInMinutes?: number;
}

/** The answer to a client: `io(endpoint, { path, query: { access_token: token } })`. */
export interface NegotiateResponse {
  /** The service's address. */
  endpoint: string;
  /** The hub's path. */
  path: string;
  /** The access token. */
  token: string;
}

/** Chooses the user of a request, and the lifetime of the token. */
export type ConfigureNegotiateOptions = (
  request: IncomingMessage,
) => Promise<NegotiateOptions | undefined> | NegotiateOptions | undefined | void;

type Handler = (request: IncomingMessage, response: ServerResponse, next?: (error?: unknown) => void) => Promise<void>;

/** Returns an Express handler that answers with a `NegotiateResponse`. `io` is a server that was passed to
 * `useMoorage` or `useAzureSocketIO`, or the options of such a call. Answers 500 if `configure` fails. */
export function negotiate(io: AnyServer | AnyAzureOptions, configure?: ConfigureNegotiateOptions): Handler {
  const service = serviceOf(io);
  return async (request, response) => {
    try {
      const { userId, expirationTimeInMinutes } = (await configure?.(request)) ?? {};
      const token = clientToken(service, { userId: userId ?? undefined, minutes: expirationTimeInMinutes ?? DEFAULT_MINUTES });
      const { url, path } = clientAddress(service);
      answer(response, 200, { endpoint: url, path, token } satisfies NegotiateResponse);
    } catch (error) {
      debug("failed: %O", error);
      console.warn(`moorage: negotiate failed: ${error instanceof Error ? error.message : String(error)}`);
      answer(response, 500, { message: "Internal Server Error" });
    }
  };
}

function serviceOf(io: AnyServer | AnyAzureOptions): Target {
  if (isOptions(io)) return azureTarget(io);
  const service = targetOf(io);
  if (!service) throw new MoorageError("server", "negotiate: call useMoorage or useAzureSocketIO with this server first");
  return service;
}

const isOptions = (io: AnyServer | AnyAzureOptions): io is AnyAzureOptions => typeof (io as AnyServer).bind !== "function";

function answer(response: ServerResponse, status: number, body: unknown): void {
  // A cache must not give one user's token to another.
  response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store" });
  response.end(JSON.stringify(body));
}

/** For `negotiate`: the token is for the user that passport has put at `request[assignProperty]`. The query parameter
 * `expirationMinutes` sets the token's lifetime. */
export function usePassport(assignProperty = "user"): ConfigureNegotiateOptions {
  if (!assignProperty) throw new Error("Valid assignProperty is required.");
  return (request) => {
    const query = new URL(request.url ?? "/", "http://localhost").searchParams;
    const expirationTimeInMinutes = Number(query.get("expirationMinutes") ?? PASSPORT_MINUTES);
    const user = (request as unknown as Record<string, { id?: unknown } | undefined>)[assignProperty];
    return { ...(user && { userId: String(user.id) }), expirationTimeInMinutes };
  };
}

/** For `io.engine.use`, before passport's own middleware: puts the access token's user where passport looks for it,
 * `request.session.passport[assignProperty]`. */
export function restorePassport(assignProperty = "user") {
  return (request: IncomingMessage, _response: unknown, next: (error?: Error) => void): void => {
    const { claims } = request as { claims?: Record<string, readonly string[]> };
    const [userId, ...more] = claims?.["userId"] ?? [];
    if (userId === undefined || more.length > 0) debug("no user to restore: claims.userId = %o", claims?.["userId"]);
    else Object.assign(request, { session: { passport: { [assignProperty]: userId } } });
    next();
  };
}
