// The URL of a link, and the token that authorises it.

import { createHmac } from "node:crypto";

import { MoorageError } from "../wire/errors.js";

/** Seconds that a token is valid. Each attempt uses a new token at once; ten minutes allow for clocks that differ. The
 * Python SDK uses the same value. */
const LIFETIME = 600;

/** Returns the URL for links of `hub` at `endpoint`, which may have a path. It is also what the link's token is for.
 * Raises `MoorageError` (endpoint). */
export function linkUrl(endpoint: string, hub: string): string {
  let url: URL;
  try {
    url = new URL(endpoint);
  } catch {
    throw wrongEndpoint(endpoint);
  }
  const scheme = { "http:": "ws:", "https:": "wss:", "ws:": "ws:", "wss:": "wss:" }[url.protocol];
  if (scheme === undefined) throw wrongEndpoint(endpoint);
  const base = `${scheme}//${url.host}${url.pathname}`.replace(/\/+$/, "");
  return `${base}/server/tunnel?hub=${encodeURIComponent(hub)}`;
}

function wrongEndpoint(endpoint: string): MoorageError {
  const text = `"${endpoint}" is not the address of a service: it should look like "http://HOST:PORT".`;
  return new MoorageError("endpoint", text);
}

/** `now` in milliseconds since 1970. The key is used as text, as it stands in the connection string. */
export function linkToken(key: string, serverId: string, audience: string | readonly string[], now: number): string {
  const seconds = Math.floor(now / 1000);
  const claims = { sub: serverId, aud: audience, iat: seconds, exp: seconds + LIFETIME };
  return signedToken(key, claims);
}

const HEADER = base64url({ alg: "HS256", typ: "JWT" });

/** A JWT with these claims, signed with the access key. */
export function signedToken(key: string, claims: object): string {
  const signed = `${HEADER}.${base64url(claims)}`;
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}

function base64url(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
