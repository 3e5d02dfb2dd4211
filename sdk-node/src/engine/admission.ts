// Decides whether a client may connect, before any namespace: `io.engine.use` middlewares and `allowRequest`.

import type { EngineOptions, Middleware } from "../server/internals.js";
import type { ClientRequest } from "./request.js";
import { ClientResponse } from "./response.js";

/** Why a client was refused. `code` is engine.io's number, for its `connection_error` event. */
export interface Refusal {
  readonly status: number;
  readonly code: number;
  readonly message: string;
  /** The text that the client gets. */
  readonly clientMessage: string;
  readonly context: Record<string, unknown>;
}

const BAD_REQUEST = 3;
const FORBIDDEN = 4;
const FORBIDDEN_STATUS = 403;
const BAD_REQUEST_STATUS = 400;

/** Resolves with undefined if the client may connect. Never rejects. */
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
  return allowRequest && (await callAllowRequest(allowRequest, request));
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
      clientMessage: "Bad request",
      context: { name: "MIDDLEWARE_FAILURE", error },
    });
    const ended = (): void =>
      resolve({
        status: refusalStatus(response.statusCode),
        code: FORBIDDEN,
        message: response.body || "Forbidden",
        clientMessage: response.body || "Forbidden",
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

function callAllowRequest(allowRequest: NonNullable<EngineOptions["allowRequest"]>, request: ClientRequest): Promise<Refusal | undefined> {
  return new Promise((resolve) => {
    // The error may have any type: apps pass an `Error` where the types expect text.
    const refuse = (error: unknown): void => {
      const clientMessage = error instanceof Error ? error.message : String(error);
      // engine.io always answers a refused WebSocket with 400.
      const status = request._query["transport"] === "websocket" ? BAD_REQUEST_STATUS : FORBIDDEN_STATUS;
      resolve({ status, code: FORBIDDEN, message: "Forbidden", clientMessage, context: { message: clientMessage } });
    };
    try {
      allowRequest(request, (error, success) => (success ? resolve(undefined) : refuse(error || "Forbidden")));
    } catch (error) {
      refuse(error);
    }
  });
}

/** Returns `status` if it is an error status, else 403. */
function refusalStatus(status: number): number {
  return Number.isInteger(status) && status >= 400 && status <= 599 ? status : FORBIDDEN_STATUS;
}
