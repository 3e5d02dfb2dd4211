// Validates a link's options and fills in the defaults.

import { randomBytes } from "node:crypto";

import type { ClientOptions } from "ws";

import { MoorageError } from "../wire/errors.js";
import { linkToken, linkUrl } from "./token.js";
import type { LinkOptions } from "./types.js";
import type { TransportOptions } from "./transport.js";

const KIB = 1024;
const MIB = 1024 * KIB;
const DEFAULT_SDK = "moorage-node";
/** The smallest window that the service accepts. */
const MIN_WINDOW = 64 * KIB;
const MAX_ID_LENGTH = 128;
const ID_BYTES = 12;

/** Where one attempt goes. */
export interface Place {
  /** The node's own address; "" for the connection string's endpoint. */
  readonly url: string;
  /** The node and the session to which a balancer or another node passes the request; "" for none. */
  readonly node: string;
  readonly session: string;
}

export interface Settings {
  /** The endpoint that is dialled. */
  readonly endpoint: string;
  readonly hub: string;
  readonly serverId: string;
  readonly sdk: string;
  readonly window: number;
  readonly maxQueue: number;
  readonly retryFirst: boolean;
  readonly emitOnly: boolean;
  readonly recovery: number;
  readonly quiet: boolean;
  readonly traces: boolean;
  /** Builds the target of one attempt, with a fresh token. Raises `MoorageError` (endpoint). */
  readonly target: (place: Place) => TransportOptions;
}

/** Raises `MoorageError` (bad-option, endpoint). */
export function settings(options: LinkOptions): Settings {
  const { key, hub } = options;
  const endpoint = options.via ?? options.endpoint;
  if (!hub) throw badOption("hub", "the name of a hub", hub);
  if (!key) throw badOption("key", "the access key of the service", key);
  const serverId = options.serverId ?? randomBytes(ID_BYTES).toString("base64url");
  if (typeof serverId !== "string" || serverId.length < 1 || serverId.length > MAX_ID_LENGTH) throw badOption("serverId", `a string of 1 to ${MAX_ID_LENGTH} characters`, serverId);
  const url = linkUrl(endpoint, hub);
  // The service may know itself by the proxy's address, or only by its own.
  const known = options.via === undefined ? [url] : [linkUrl(options.endpoint, hub), url];
  const timeout = number("connectTimeout", options.connectTimeout ?? 10_000, 1);
  const maxMessage = number("maxMessageBytes", options.maxMessageBytes ?? 64 * MIB, MIN_WINDOW);
  const request = (options.request ?? {}) as ClientOptions;
  const target = (place: Place): TransportOptions => {
    const query = queryOf(place);
    const dialled = (place.url ? linkUrl(place.url, hub) : url) + query;
    const audience = [...new Set([...known.map((one) => one + query), dialled])];
    const token = linkToken(key, serverId, audience.length === 1 ? dialled : audience, Date.now());
    return { endpoint: place.url || endpoint, hub, serverId, url: dialled, token, timeout, maxMessage, request };
  };
  return {
    endpoint,
    hub,
    serverId,
    sdk: options.sdk ?? DEFAULT_SDK,
    window: number("window", options.window ?? 4 * MIB, MIN_WINDOW),
    maxQueue: number("maxQueueBytes", options.maxQueueBytes ?? 16 * MIB, 1),
    retryFirst: options.retryFirst ?? false,
    emitOnly: options.emitOnly ?? false,
    recovery: number("connectionStateRecovery.maxDisconnectionDuration", options.recovery ?? 0, 0),
    quiet: options.quiet ?? false,
    traces: options.traces ?? false,
    target,
  };
}

function queryOf({ node, session }: Place): string {
  const wanted = Object.entries({ node, session }).filter(([, value]) => value !== "");
  return wanted.map(([name, value]) => `&${name}=${encodeURIComponent(value)}`).join("");
}

function number(name: string, value: number, min: number): number {
  if (!Number.isSafeInteger(value) || value < min) throw badOption(name, `a whole number of ${min} or more`, value);
  return value;
}

function badOption(name: string, wanted: string, given: unknown): MoorageError {
  return new MoorageError("bad-option", `The option "${name}" must be ${wanted}, not ${JSON.stringify(given)}.`);
}
