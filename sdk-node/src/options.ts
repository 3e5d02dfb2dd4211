// The options of `useMoorage`, and their validation.

import type { ClientRequestArgs } from "node:http";

import { parseConnectionString } from "./connection-string.js";
import { MoorageError } from "./wire/errors.js";

/** The options of `useMoorage`. */
export interface MoorageOptions {
  /** The hub that this app server serves. */
  readonly hub: string;
  /** `Endpoint=…;AccessKey=…;Version=1.0;`, as `moorage dev` prints it. */
  readonly connectionString: string;
  /** Unique among the hub's app servers. `serverSideEmit` and `fetchSockets` report app servers that did not answer by
   * this id. Default: a random id. */
  readonly serverId?: string;
  /** Milliseconds that other app servers have to answer `serverSideEmit`, and `fetchSockets` without its own
   * `timeout`. Default 5,000. */
  readonly requestsTimeout?: number;
  /** Bytes of emits that may wait while the link is down or slow. Beyond that, emits throw. Default 16 MiB. */
  readonly maxQueueBytes?: number;
  /** Milliseconds in which the first connect must succeed. Default 10,000. */
  readonly connectTimeout?: number;
  /** Wait for a service that cannot be reached yet instead of failing. Default false. */
  readonly retryFirst?: boolean;
  /** With `connectionStateRecovery`: a client that comes back in time runs no handler, neither "disconnect" nor
   * "connection", and its socket object lives on. Default false. */
  readonly quietRecovery?: boolean;
  /** At a SIGTERM, `Moorage.handOver` comes first. If the app has no handler for the signal, the process ends then.
   * Default false. */
  readonly handOverOnSigterm?: boolean;
  /** For a worker or a script that only emits: it never gets clients. Default false. */
  readonly emitOnly?: boolean;
  /** For the link's HTTP request: `agent`, `ca`, `rejectUnauthorized`, `headers` and so on. */
  readonly request?: ClientRequestArgs;
  /** Receives log lines: link lost, link restored, and errors without a listener. Default: `console.warn`. */
  readonly log?: (line: string) => void;
}

/** The service's address and the key that authorises the app server. */
export interface Target {
  readonly hub: string;
  readonly endpoint: string;
  readonly key: string;
}

/** Raises `MoorageError` (options, connection-string). */
export function target(options: { readonly hub?: unknown; readonly connectionString?: unknown } | undefined): Target {
  const { hub, connectionString } = options ?? {};
  if (typeof hub !== "string" || hub === "") throw missing("hub", "the hub's name, for example { hub: \"app\" }");
  if (typeof connectionString !== "string" || connectionString === "")
    throw missing(
      "connectionString",
      'is its environment variable set? "moorage dev" prints it: Endpoint=…;AccessKey=…;Version=1.0;',
    );
  return { hub, ...parseConnectionString(connectionString) };
}

function missing(name: string, what: string): MoorageError {
  return new MoorageError("options", `useMoorage: the option "${name}" is missing (${what})`);
}

/** The options with which `socket.io-client` connects to a hub. */
export function clientAddress({ endpoint, hub }: Target): { url: string; path: string } {
  const { origin, pathname } = new URL(endpoint);
  return { url: origin, path: `${pathname.replace(/\/$/, "")}/clients/socketio/hubs/${encodeURIComponent(hub)}` };
}
