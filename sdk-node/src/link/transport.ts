// One WebSocket to the service, from dialling to its end.

import type { IncomingMessage } from "node:http";

import { WebSocket, type ClientOptions } from "ws";

import type { MoorageError } from "../wire/errors.js";
import { SUBPROTOCOL } from "../wire/frames.js";
import { connectionClosed } from "./errors/close.js";
import { refused, connectTimeout, unreachable, wrongDialect, type Target } from "./errors/connect.js";

/** Bytes of an error page that are read, at most. */
const MAX_ERROR_BODY = 64 * 1024;
/** Milliseconds to wait for the peer's half of the close handshake. */
const CLOSE_TIMEOUT = 2_000;

export interface TransportOptions extends Target {
  readonly url: string;
  readonly token: string;
  /** Milliseconds from dialling to the hello. */
  readonly timeout: number;
  /** Bytes of the largest message. */
  readonly maxMessage: number;
  readonly request: ClientOptions;
}

/** Receives the events of a transport. `ended` comes once, as the last one; after `abandon` none comes. */
export interface TransportListener {
  opened(transport: Transport): void;
  message(transport: Transport, bytes: Buffer): void;
  ended(transport: Transport, cause: MoorageError): void;
}

/** True if nothing between this process and the service can read the bytes. */
function isPrivate({ url, request }: TransportOptions): boolean {
  const { protocol, hostname } = new URL(url);
  const here = hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
  // An agent may connect through a proxy.
  return protocol === "wss:" || (here && !request.agent);
}

/** RFC 6455 (10.3) masks a client's data so that a page's script cannot choose the bytes that a proxy on the way
 * reads. Where no proxy can read them, a mask of zeros is safe, and it saves a pass over every byte in JavaScript: a
 * batch of 240 kB took 0.7 ms to send, and takes 0.04. */
function noMask(mask: Buffer): void {
  mask.fill(0);
}

export class Transport {
  readonly #target: TransportOptions;
  readonly #listener: TransportListener;
  readonly #socket: WebSocket;
  #timer: NodeJS.Timeout;
  #helloReceived = false;
  #ended = false;

  constructor(target: TransportOptions, listener: TransportListener) {
    this.#target = target;
    this.#listener = listener;
    this.#socket = new WebSocket(target.url, SUBPROTOCOL, {
      ...target.request,
      headers: { ...target.request.headers, authorization: `Bearer ${target.token}` },
      // Batches are many small packets: compression costs more CPU than it is worth, and memory per link.
      perMessageDeflate: false,
      maxPayload: target.maxMessage,
      ...(isPrivate(target) ? { generateMask: noMask } : {}),
    });
    this.#timer = setTimeout(() => this.#fail(connectTimeout(target, target.timeout)), target.timeout);
    this.#listen(this.#socket);
  }

  #listen(socket: WebSocket): void {
    socket.on("upgrade", (response: IncomingMessage) => {
      // Checked here because the WebSocket library's own error text does not help.
      if (response.headers["sec-websocket-protocol"] !== SUBPROTOCOL) this.#fail(wrongDialect(this.#target));
    });
    socket.on("unexpected-response", (_request, response: IncomingMessage) => void this.#refused(response));
    socket.on("error", (error: Error) => this.#fail(unreachable(this.#target, error)));
    socket.on("close", (code: number, reason: Buffer) => {
      this.#fail(connectionClosed(this.#target, code, reason.toString(), this.#helloReceived));
    });
    socket.on("open", () => this.#ended || this.#listener.opened(this));
    // Text needs no check: a batch begins with 0x93, which cannot begin UTF-8.
    socket.on("message", (data: Buffer) => this.#ended || this.#listener.message(this, data));
  }

  async #refused(response: IncomingMessage): Promise<void> {
    const { statusCode: status = 0, headers } = response;
    const body = await readBody(response);
    this.#fail(refused(this.#target, { status, headers, body }, Date.now()));
  }

  /** Called when the service has answered the hello. */
  helloReceived(): void {
    this.#helloReceived = true;
    clearTimeout(this.#timer);
  }

  /** The bytes are kept by reference until they are written. */
  send(bytes: Buffer): void {
    this.#socket.send(bytes);
  }

  /** Closes the WebSocket because the service broke the protocol. */
  reject(error: MoorageError): void {
    if (this.#ended) return;
    this.#end();
    this.#socket.close(1002, error.reason);
    this.#terminateLater();
    this.#listener.ended(this, error);
  }

  /** Closes the WebSocket; resolves when it is closed. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#end();
      if (this.#socket.readyState === WebSocket.CLOSED) return resolve();
      this.#socket.once("close", () => resolve());
      this.#socket.close(1000);
      this.#terminateLater();
    });
  }

  /** Terminates the WebSocket without any further event. */
  abandon(): void {
    this.#end();
    this.#socket.terminate();
  }

  #fail(error: MoorageError): void {
    if (this.#ended) return;
    this.abandon();
    this.#listener.ended(this, error);
  }

  #end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
  }

  #terminateLater(): void {
    const timer = setTimeout(() => this.#socket.terminate(), CLOSE_TIMEOUT);
    timer.unref();
    this.#socket.once("close", () => clearTimeout(timer));
  }
}

/** Reads an answer's body, up to the limit or to a cut. */
async function readBody(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  try {
    for await (const part of response as AsyncIterable<Buffer>) {
      parts.push(part);
      if ((size += part.length) > MAX_ERROR_BODY) break;
    }
  } catch {
    // The connection was cut: use what has arrived.
  }
  return Buffer.concat(parts).toString();
}
