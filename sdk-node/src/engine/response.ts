// What `io.engine.use` middlewares get as their response. Headers that they set reach nobody: the service
// has its own conversation with the client. To end the response is to refuse the client.

import { EventEmitter } from "node:events";

export class ClientResponse extends EventEmitter {
  statusCode = 200;
  statusMessage = "";
  headersSent = false;
  finished = false;
  body = "";
  readonly #headers = new Map<string, unknown>();

  setHeader(name: string, value: unknown): this {
    this.#headers.set(name.toLowerCase(), value);
    return this;
  }

  getHeader(name: string): unknown {
    return this.#headers.get(name.toLowerCase());
  }

  hasHeader(name: string): boolean {
    return this.#headers.has(name.toLowerCase());
  }

  getHeaders(): Record<string, unknown> {
    return Object.fromEntries(this.#headers);
  }

  getHeaderNames(): string[] {
    return [...this.#headers.keys()];
  }

  removeHeader(name: string): void {
    this.#headers.delete(name.toLowerCase());
  }

  writeHead(status: number): this {
    this.statusCode = status;
    this.headersSent = true;
    return this;
  }

  write(chunk: unknown): boolean {
    this.body += typeof chunk === "string" ? chunk : Buffer.from(chunk as Uint8Array).toString();
    return true;
  }

  end(chunk?: unknown): this {
    if (this.finished) return this;
    if (typeof chunk === "string" || chunk instanceof Uint8Array) this.write(chunk);
    this.finished = true;
    this.headersSent = true;
    this.emit("finish");
    return this;
  }
}
