// What `useMoorage` is told, checked before anything is touched.

import type { ClientRequestArgs } from "node:http";

import { parseConnectionString } from "./link/connection-string.js";
import { MoorageError } from "./wire/errors.js";

export interface MoorageOptions {
  /** The hub that this app server serves. */
  readonly hub: string;
  /** `Endpoint=…;AccessKey=…;Version=1.0;`, as `moorage dev` prints it. */
  readonly connectionString: string;
  /** Unique among the hub's app servers; `serverSideEmit` and `fetchSockets` name it where they name
   * who is missing. Default: a random one. */
  readonly serverId?: string;
  /** Milliseconds that other app servers get to answer `fetchSockets` (where it has no `timeout`)
   * and `serverSideEmit`. Default 5,000. */
  readonly requestsTimeout?: number;
  /** Bytes of emits that may wait while the link is down or slow; beyond, emits throw. Default 16 MiB. */
  readonly maxQueueBytes?: number;
  /** Milliseconds in which the first connect must succeed. Default 10,000. */
  readonly connectTimeout?: number;
  /** Wait for a service that cannot be reached yet instead of failing. Default false. */
  readonly retryFirst?: boolean;
  /** For a worker or a script that only emits: it never gets clients. Default false. */
  readonly emitOnly?: boolean;
  /** For the link's HTTP request: `agent`, `ca`, `rejectUnauthorized`, `headers` and so on. */
  readonly request?: ClientRequestArgs;
  /** Takes the lines about a lost and a restored link, and errors that nobody listens to. Default:
   * `console.warn`. */
  readonly log?: (line: string) => void;
}

/** Where the service is and how to prove who asks. */
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

/** Where clients of a hub connect: the options of `socket.io-client`. */
export function clientAddress({ endpoint, hub }: Target): { url: string; path: string } {
  const { origin, pathname } = new URL(endpoint);
  return { url: origin, path: `${pathname.replace(/\/$/, "")}/clients/socketio/hubs/${encodeURIComponent(hub)}` };
}
