// Errors for a link that could not be made. Each text names the cause and the remedy.

import type { IncomingHttpHeaders } from "node:http";

import { MoorageError } from "../../wire/errors.js";

/** The names that the texts need. */
export interface Target {
  readonly endpoint: string;
  readonly hub: string;
  readonly serverId: string;
}

/** An HTTP server's answer to the request for a WebSocket. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Statuses from 400 to 499 after which a new attempt may succeed. */
const TEMPORARY = new Set([408, 409, 410, 429]);

/** The server answered without opening a WebSocket. `now` in milliseconds since 1970. */
export function refused(target: Target, answer: Answer, now: number): MoorageError {
  const { status } = answer;
  const refusal = parseRefusal(answer.body);
  if (refusal === undefined) return notMoorage(target, answer);
  const { reason, number, message } = refusal;
  const text = `The service at ${target.endpoint} refused the link: ${message} (${number} ${reason}).`;
  const advice = remedy(reason, target, answer, now);
  const retry = status < 400 || status > 499 || TEMPORARY.has(status);
  return new MoorageError(reason, advice ? `${text} ${advice}` : text, { number, retry });
}

interface ServiceRefusal {
  readonly reason: string;
  readonly number: number;
  readonly message: string;
}

function parseRefusal(body: string): ServiceRefusal | undefined {
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
      return "Endpoint must be the address that the service knows as its own: check host and port, or set the service's public_endpoint if a proxy changes them.";
    case "token-expired":
    case "token-not-yet":
      return clockAdvice(answer.headers.date, now);
    case "unknown-hub":
      return `Check the hub's name, "${target.hub}": a letter, then up to 127 letters, digits or "_", and listed under the service's "hubs" unless allow_unlisted_hubs is on.`;
    case "unknown-path":
      return `Endpoint must not have a path, unless a proxy removes it. Or this is ${OTHER_SERVICE}`;
    case "link-unknown-dialect":
      return `The service does not support the protocol moorage.v1: it is ${OTHER_SERVICE}`;
    default:
      return "";
  }
}

const OTHER_SERVICE =
  "an older Moorage without the link protocol moorage.v1 (update it), or another service.";

function clockAdvice(date: string | undefined, now: number): string {
  const theirs = date === undefined ? NaN : Date.parse(date);
  if (Number.isNaN(theirs)) return "The clocks of this machine and of the service differ: set them right (NTP).";
  const seconds = Math.round((now - theirs) / 1000);
  const how = `${Math.abs(seconds)} seconds ${seconds < 0 ? "behind" : "ahead of"}`;
  return `This machine's clock is ${how} the service's: set it right (NTP).`;
}

/** The answer does not come from Moorage. */
function notMoorage({ endpoint }: Target, { status, headers }: Answer): MoorageError {
  const what = `${endpoint} answered ${status}`;
  if (status >= 300 && status < 400) {
    const text = `${what}, a redirect to ${headers.location ?? "another address"}: use that address as Endpoint.`;
    return new MoorageError("link-redirected", text);
  }
  if (status === 401 || status === 403) {
    const text = `${what}, but the answer is not Moorage's: a proxy in front of it requires other credentials, or it is another service.`;
    return new MoorageError("not-moorage", text);
  }
  if (status >= 400 && status <= 499 && !TEMPORARY.has(status)) {
    const text = `${what}, but the answer is not Moorage's: check host, port and path of Endpoint, and whether a proxy there forwards /server/tunnel with WebSocket upgrades.`;
    return new MoorageError("not-moorage", text);
  }
  if (status >= 200 && status < 300) {
    const text = `${what} instead of opening a WebSocket: it is not Moorage, or a proxy in front of it does not forward WebSocket upgrades.`;
    return new MoorageError("not-moorage", text);
  }
  const text = `${what}: Moorage may be down behind a proxy.`;
  return new MoorageError("service-unavailable", text, { retry: true });
}

/** The server opened a WebSocket without the subprotocol of the link. */
export function wrongDialect({ endpoint }: Target): MoorageError {
  const text = `The service at ${endpoint} opened the link without the protocol moorage.v1: it is ${OTHER_SERVICE} With Azure Web PubSub, use Azure's package.`;
  return new MoorageError("link-unknown-dialect", text, { number: 4005 });
}

/** The connection failed: the text has Node.js' error and its meaning. */
export function unreachable({ endpoint }: Target, cause: Error): MoorageError {
  const code = (cause as NodeJS.ErrnoException).code ?? "";
  const text = `${unreachableText(endpoint, code, cause.message)} (${code || cause.message})`;
  // A wrong certificate or scheme stays wrong; the other causes may pass.
  const retry = !isTls(code, cause.message);
  return new MoorageError("service-unreachable", text, { retry, cause });
}

function unreachableText(endpoint: string, code: string, message: string): string {
  if (isTls(code, message)) return tlsText(endpoint, code, message);
  switch (code) {
    case "ECONNREFUSED":
      return `Nothing listens at ${endpoint}: is Moorage running there, and is the port right?`;
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `The host name in ${endpoint} is not known: check Endpoint, and this machine's DNS.`;
    case "ECONNRESET":
    case "EPIPE":
      return `${endpoint} closed the connection without an answer: is it Moorage, and is the scheme (http:, https:) right?`;
    case "ETIMEDOUT":
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return `${endpoint} cannot be reached: check host, port and firewall.`;
    default:
      return `The link to ${endpoint} failed.`;
  }
}

function tlsText(endpoint: string, code: string, message: string): string {
  if (/wrong version number|packet length too long/i.test(message))
    return `${endpoint} does not use TLS: should its scheme be http:?`;
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID")
    return `The certificate of ${endpoint} is for other host names: use one of those in Endpoint.`;
  if (code === "CERT_HAS_EXPIRED" || code === "CERT_NOT_YET_VALID")
    return `The certificate of ${endpoint} is expired or not yet valid: renew it, or set this machine's clock.`;
  return `The certificate of ${endpoint} is not trusted: name its authority's certificate in NODE_EXTRA_CA_CERTS.`;
}

function isTls(code: string, message: string): boolean {
  return /CERT|SIGNATURE|^ERR_TLS|^ERR_SSL|^EPROTO/.test(code) || /SSL routines|certificate/i.test(message);
}

/** The server did not answer, or sent no hello, within `ms`. */
export function connectTimeout({ endpoint }: Target, ms: number): MoorageError {
  const text = `${endpoint} did not open a link within ${ms} ms: check host, port and firewall, or whether it is overloaded.`;
  return new MoorageError("link-timeout", text, { retry: true });
}
