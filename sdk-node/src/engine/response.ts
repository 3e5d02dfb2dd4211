// The response that `io.engine.use` middlewares get. Headers that they set are not sent, because the service has its
// own HTTP exchange with the client. Ending the response refuses the client.

import { EventEmitter } from "node:events";

export class ClientResponse extends EventEmitter {
  statusCode = 200;
  statusMessage = "";
  headersSent = false;
  finished = false;
  body = "";
  /** Node.js' internal name, which express-session and similar middlewares read. */
  _header: string | null = null;
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
    this._header = `HTTP/1.1 ${status}`;
    return this;
  }

  /** Node.js' internal name as well. It calls `writeHead`, which such middlewares replace by their own. */
  _implicitHeader(): void {
    this.writeHead(this.statusCode);
  }

  get writableEnded(): boolean {
    return this.finished;
  }

  write(chunk: unknown): boolean {
    this.body += typeof chunk === "string" ? chunk : Buffer.from(chunk as Uint8Array).toString();
    return true;
  }

  /** The last argument may be a callback. */
  end(...args: unknown[]): this {
    if (this.finished) return this;
    const [chunk, callback] = [args[0], args.at(-1)];
    if (typeof chunk === "string" || chunk instanceof Uint8Array) this.write(chunk);
    if (!this.headersSent) this._implicitHeader();
    this.finished = true;
    if (typeof callback === "function") this.once("finish", callback as () => void);
    this.emit("finish");
    return this;
  }
}
