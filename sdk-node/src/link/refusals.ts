// Why a link was not made, in words that name the cause and the way out of it.

import type { IncomingHttpHeaders } from "node:http";

import { MoorageError } from "../wire/errors.js";

/** For the texts. */
export interface Target {
  readonly endpoint: string;
  readonly hub: string;
  readonly serverId: string;
}

/** What an HTTP server answered instead of a WebSocket. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Statuses from 400 to 499 under which trying again makes sense all the same. */
const PASSING = new Set([408, 409, 429]);

/** An answer other than a WebSocket. `now` in milliseconds since 1970. */
export function refused(target: Target, answer: Answer, now: number): MoorageError {
  const { status } = answer;
  const given = fromService(answer.body);
  if (given === undefined) return stranger(target, answer);
  const { reason, number, message } = given;
  const text = `The service at ${target.endpoint} refused the link: ${message} (${number} ${reason}).`;
  const fix = remedy(reason, target, answer, now);
  const retry = status < 400 || status > 499 || PASSING.has(status);
  return new MoorageError(reason, fix ? `${text} ${fix}` : text, { number, retry });
}

interface Given {
  readonly reason: string;
  readonly number: number;
  readonly message: string;
}

function fromService(body: string): Given | undefined {
  try {
    const { reason, number, message } = JSON.parse(body) as Record<string, unknown>;
    if (typeof reason !== "string" || typeof number !== "number") return undefined;
    return { reason, number, message: typeof message === "string" ? message : reason };
  } catch {
    return undefined;
  }
}

function remedy(reason: string, target: Target, answer: Answer, now: number): string {
  switch (reason) {
    case "token-signature":
      return "The access key is wrong: take AccessKey from that service's connection string (keys.primary or keys.secondary).";
    case "token-audience":
      return "Endpoint must name the service as it knows itself: check host and port, or set the service's public_endpoint when a proxy changes them.";
    case "token-expired":
    case "token-not-yet":
      return clocks(answer.headers.date, now);
    case "unknown-hub":
      return `Check the hub's name, "${target.hub}": a letter, then up to 127 letters, digits or "_", and listed under the service's "hubs" unless allow_unlisted_hubs is on.`;
    case "unknown-path":
      return `Endpoint must not have a path, unless a proxy takes it off again. Or: ${OTHER_SERVICE}`;
    case "link-unknown-dialect":
      return `It does not speak ours: ${OTHER_SERVICE}`;
    default:
      return "";
  }
}

const OTHER_SERVICE =
  "an older Moorage without the link protocol moorage.v1 (update it), or another service.";

function clocks(date: string | undefined, now: number): string {
  const theirs = date === undefined ? NaN : Date.parse(date);
  if (Number.isNaN(theirs)) return "The clocks of this machine and of the service are apart: set them right (NTP).";
  const seconds = Math.round((now - theirs) / 1000);
  const how = `${Math.abs(seconds)} seconds ${seconds < 0 ? "behind" : "ahead of"}`;
  return `This machine's clock is ${how} the service's: set it right (NTP).`;
}

/** No Moorage wrote that. */
function stranger({ endpoint }: Target, { status, headers }: Answer): MoorageError {
  const what = `${endpoint} answered ${status}`;
  if (status >= 300 && status < 400) {
    const text = `${what}, a redirect to ${headers.location ?? "elsewhere"}: use the address behind it as Endpoint.`;
    return new MoorageError("link-redirected", text);
  }
  if (status === 401 || status === 403) {
    const text = `${what}, and not in Moorage's words: a proxy in front of it wants other credentials, or it is another service.`;
    return new MoorageError("not-moorage", text);
  }
  if (status >= 400 && status <= 499 && !PASSING.has(status)) {
    const text = `${what}, and not in Moorage's words: check host, port and path of Endpoint, and whether a proxy there passes /server/tunnel on, with WebSocket upgrades.`;
    return new MoorageError("not-moorage", text);
  }
  if (status >= 200 && status < 300) {
    const text = `${what} instead of opening a WebSocket: it is not a Moorage, or a proxy in front of it does not pass WebSocket upgrades on.`;
    return new MoorageError("not-moorage", text);
  }
  const text = `${what}: a proxy without a Moorage behind it at the moment?`;
  return new MoorageError("service-unavailable", text, { retry: true });
}

/** A WebSocket was opened, but without our subprotocol. */
export function wrongDialect({ endpoint }: Target): MoorageError {
  const text = `The service at ${endpoint} took the link in another dialect: ${OTHER_SERVICE} With Azure Web PubSub, use Azure's package.`;
  return new MoorageError("link-unknown-dialect", text, { number: 4005 });
}

/** No connection: what Node.js said, and what it means. */
export function unreachable({ endpoint }: Target, cause: Error): MoorageError {
  const code = (cause as NodeJS.ErrnoException).code ?? "";
  const text = `${unreachableText(endpoint, code, cause.message)} (${code || cause.message})`;
  // A certificate does not mend itself, nor does a wrong scheme; all else may.
  const retry = !isTls(code, cause.message);
  return new MoorageError("service-unreachable", text, { retry, cause });
}

function unreachableText(endpoint: string, code: string, message: string): string {
  if (isTls(code, message)) return tlsText(endpoint, code, message);
  switch (code) {
    case "ECONNREFUSED":
      return `Nothing listens at ${endpoint}: is Moorage running there, and the port right?`;
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `The host name in ${endpoint} is not known: check Endpoint, and this machine's DNS.`;
    case "ECONNRESET":
    case "EPIPE":
      return `${endpoint} closed the connection without an answer: is it a Moorage, and its scheme (http:, https:) right?`;
    case "ETIMEDOUT":
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return `${endpoint} cannot be reached: check host, port and firewall.`;
    default:
      return `No link to ${endpoint}.`;
  }
}

function tlsText(endpoint: string, code: string, message: string): string {
  if (/wrong version number|packet length too long/i.test(message))
    return `${endpoint} does not speak TLS: is its scheme http:?`;
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID")
    return `The certificate of ${endpoint} is for other host names: use one of those in Endpoint.`;
  if (code === "CERT_HAS_EXPIRED" || code === "CERT_NOT_YET_VALID")
    return `The certificate of ${endpoint} is out of its time: renew it, or set this machine's clock.`;
  return `The certificate of ${endpoint} is not trusted: name its authority's certificate in NODE_EXTRA_CA_CERTS.`;
}

function isTls(code: string, message: string): boolean {
  return /CERT|SIGNATURE|^ERR_TLS|^ERR_SSL|^EPROTO/.test(code) || /SSL routines|certificate/i.test(message);
}

/** It answers nothing, or no hello. */
export function tooLate({ endpoint }: Target, ms: number): MoorageError {
  const text = `${endpoint} did not open a link within ${ms} ms: check host, port and firewall, or whether it is overloaded.`;
  return new MoorageError("link-timeout", text, { retry: true });
}
