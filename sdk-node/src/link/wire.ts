// One WebSocket to the service, from dialling to its end.

import type { IncomingMessage } from "node:http";

import { WebSocket, type ClientOptions } from "ws";

import type { MoorageError } from "../wire/errors.js";
import { SUBPROTOCOL } from "../wire/frames.js";
import { closed } from "./ends.js";
import { refused, tooLate, unreachable, wrongDialect, type Target } from "./refusals.js";

/** An error page is read so far. */
const MAX_ERROR_BODY = 64 * 1024;
/** A close handshake that is not answered is waited for so long, in milliseconds. */
const CLOSE_PATIENCE = 2_000;

export interface WireTarget extends Target {
  readonly url: string;
  readonly token: string;
  /** Milliseconds from dialling to the hello. */
  readonly timeout: number;
  /** Bytes of one message. */
  readonly maxMessage: number;
  readonly request: ClientOptions;
}

/** Who hears of it. `ended` comes once, and last; none of them after `abandon`. */
export interface WireOwner {
  opened(wire: Wire): void;
  message(wire: Wire, bytes: Buffer): void;
  ended(wire: Wire, cause: MoorageError): void;
}

/** Can nobody between this process and the service read the bytes? */
function isPrivate({ url, request }: WireTarget): boolean {
  const { protocol, hostname } = new URL(url);
  const here = hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
  // An agent may lead through a proxy.
  return protocol === "wss:" || (here && !request.agent);
}

/** RFC 6455 (10.3) masks what a client sends so that a page's script cannot choose the bytes that a proxy on the
 * way sees. Where no proxy sees them a mask of zeros does, and that saves a pass over every byte in JavaScript: a
 * batch of 240 kB took 0.7 ms to send, and takes 0.04. */
function noMask(mask: Buffer): void {
  mask.fill(0);
}

export class Wire {
  readonly #target: WireTarget;
  readonly #owner: WireOwner;
  readonly #socket: WebSocket;
  #timer: NodeJS.Timeout;
  #greeted = false;
  #over = false;

  constructor(target: WireTarget, owner: WireOwner) {
    this.#target = target;
    this.#owner = owner;
    this.#socket = new WebSocket(target.url, SUBPROTOCOL, {
      ...target.request,
      headers: { ...target.request.headers, authorization: `Bearer ${target.token}` },
      // Batches are many small packets: not worth the CPU, and a memory per link.
      perMessageDeflate: false,
      maxPayload: target.maxMessage,
      ...(isPrivate(target) ? { generateMask: noMask } : {}),
    });
    this.#timer = setTimeout(() => this.#fail(tooLate(target, target.timeout)), target.timeout);
    this.#listen(this.#socket);
  }

  #listen(socket: WebSocket): void {
    socket.on("upgrade", (response: IncomingMessage) => {
      // Before the WebSocket library finds it out, whose words help nobody.
      if (response.headers["sec-websocket-protocol"] !== SUBPROTOCOL) this.#fail(wrongDialect(this.#target));
    });
    socket.on("unexpected-response", (_request, response: IncomingMessage) => void this.#refused(response));
    socket.on("error", (error: Error) => this.#fail(unreachable(this.#target, error)));
    socket.on("close", (code: number, reason: Buffer) => {
      this.#fail(closed(this.#target, code, reason.toString(), this.#greeted));
    });
    socket.on("open", () => this.#over || this.#owner.opened(this));
    // Text needs no check of its own: UTF-8 cannot begin as a batch does, with 0x93.
    socket.on("message", (data: Buffer) => this.#over || this.#owner.message(this, data));
  }

  async #refused(response: IncomingMessage): Promise<void> {
    const { statusCode: status = 0, headers } = response;
    const body = await text(response);
    this.#fail(refused(this.#target, { status, headers, body }, Date.now()));
  }

  /** The service has answered the hello. */
  greeted(): void {
    this.#greeted = true;
    clearTimeout(this.#timer);
  }

  /** Bytes are kept by reference until they are written. */
  send(bytes: Buffer): void {
    this.#socket.send(bytes);
  }

  /** The service sent rubbish: tell it so, and end. */
  reject(error: MoorageError): void {
    if (this.#over) return;
    this.#end();
    this.#socket.close(1002, error.reason);
    this.#terminateLater();
    this.#owner.ended(this, error);
  }

  /** Say goodbye; resolves when it is gone. */
  farewell(): Promise<void> {
    return new Promise((resolve) => {
      this.#end();
      if (this.#socket.readyState === WebSocket.CLOSED) return resolve();
      this.#socket.once("close", () => resolve());
      this.#socket.close(1000);
      this.#terminateLater();
    });
  }

  /** Forget it; it calls nobody any more. */
  abandon(): void {
    this.#end();
    this.#socket.terminate();
  }

  #fail(error: MoorageError): void {
    if (this.#over) return;
    this.abandon();
    this.#owner.ended(this, error);
  }

  #end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
  }

  #terminateLater(): void {
    const timer = setTimeout(() => this.#socket.terminate(), CLOSE_PATIENCE);
    timer.unref();
    this.#socket.once("close", () => clearTimeout(timer));
  }
}

/** An answer's body, as far as it comes and matters. */
async function text(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  try {
    for await (const part of response as AsyncIterable<Buffer>) {
      parts.push(part);
      if ((size += part.length) > MAX_ERROR_BODY) break;
    }
  } catch {
    // Cut off within: what came has to do.
  }
  return Buffer.concat(parts).toString();
}
