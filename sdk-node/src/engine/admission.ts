// Who decides whether a client gets in before any namespace: `io.engine.use` and `allowRequest`.

import type { EngineOptions, Middleware } from "../internals.js";
import type { ClientRequest } from "./request.js";
import { ClientResponse } from "./response.js";

/** Why a client stays out. `code` in engine.io's numbers, for its `connection_error` event. */
export interface Refusal {
  readonly status: number;
  readonly code: number;
  readonly message: string;
  /** What the client is told. */
  readonly words: string;
  readonly context: Record<string, unknown>;
}

const BAD_REQUEST = 3;
const FORBIDDEN = 4;
const FORBIDDEN_STATUS = 403;
const BAD_REQUEST_STATUS = 400;

/** Undefined: let it in. Never rejects. */
export async function admit(
  request: ClientRequest,
  middlewares: readonly Middleware[],
  allowRequest: EngineOptions["allowRequest"],
): Promise<Refusal | undefined> {
  const response = new ClientResponse();
  for (const middleware of middlewares) {
    const refusal = await runMiddleware(middleware, request, response);
    if (refusal) return refusal;
  }
  return allowRequest && (await ask(allowRequest, request));
}

function runMiddleware(
  middleware: Middleware,
  request: ClientRequest,
  response: ClientResponse,
): Promise<Refusal | undefined> {
  return new Promise((resolve) => {
    const failed = (error: unknown): Refusal => ({
      status: 400,
      code: BAD_REQUEST,
      message: "Bad request",
      words: "Bad request",
      context: { name: "MIDDLEWARE_FAILURE", error },
    });
    const ended = (): void =>
      resolve({
        status: refusing(response.statusCode),
        code: FORBIDDEN,
        message: response.body || "Forbidden",
        words: response.body || "Forbidden",
        context: { name: "MIDDLEWARE_RESPONSE" },
      });
    response.once("finish", ended);
    const next = (error?: unknown): void => {
      response.off("finish", ended);
      resolve(error ? failed(error) : undefined);
    };
    try {
      middleware(request, response, next);
    } catch (error) {
      next(error);
    }
  });
}

function ask(allowRequest: NonNullable<EngineOptions["allowRequest"]>, request: ClientRequest): Promise<Refusal | undefined> {
  return new Promise((resolve) => {
    // Whatever it is: apps give an `Error` where the types want text.
    const refuse = (error: unknown): void => {
      const words = error instanceof Error ? error.message : String(error);
      // engine.io answers a refused WebSocket with 400 always.
      const status = request._query["transport"] === "websocket" ? BAD_REQUEST_STATUS : FORBIDDEN_STATUS;
      resolve({ status, code: FORBIDDEN, message: "Forbidden", words, context: { message: words } });
    };
    try {
      allowRequest(request, (error, success) => (success ? resolve(undefined) : refuse(error || "Forbidden")));
    } catch (error) {
      refuse(error);
    }
  });
}

/** A status that says no. */
function refusing(status: number): number {
  return Number.isInteger(status) && status >= 400 && status <= 599 ? status : FORBIDDEN_STATUS;
}
