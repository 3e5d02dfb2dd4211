// What `io.engine.use` middlewares get as their response. Headers that they set reach nobody: the service
// has its own conversation with the client. To end the response is to refuse the client.

import { EventEmitter } from "node:events";

export class ClientResponse extends EventEmitter {
  statusCode = 200;
  statusMessage = "";
  headersSent = false;
  finished = false;
  body = "";
  /** Node.js' own name, which middlewares look at: express-session and what is made like it. */
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

  /** As above. Goes by `writeHead`, which they replace by their own. */
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
