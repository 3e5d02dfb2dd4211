// Requests to the service that serves this page. Addresses are relative, so the dashboard also works behind a proxy that
// adds a prefix.

const BASE = new URL("api/v1/", document.baseURI);
const SESSION = new URL("dashboard/session", document.baseURI);
const SECONDS = 10;
/** The service accepts a changing request with the session's cookie only with this header, which a foreign page cannot send. */
const OWN = { "X-Moorage-Admin": "1", "Content-Type": "application/json" };

/** A refusal, or no answer at all (`status` 0). `name` and `number` are those of the documented reasons. */
export class ApiError extends Error {
  constructor(status, message, name = "", number = 0) {
    super(message);
    this.status = status;
    this.reason = name;
    this.number = number;
  }
}

/** A reason as a sentence. */
export function sentence(text) {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

async function request(url, options) {
  let response;
  try {
    const limit = AbortSignal.timeout(SECONDS * 1000);
    const signal = options.signal ? AbortSignal.any([options.signal, limit]) : limit;
    response = await fetch(url, { credentials: "same-origin", ...options, signal });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, "The service does not answer.");
  }
  const text = await response.text().catch(() => "");
  let body = null;
  try {
    body = text === "" ? null : JSON.parse(text);
  } catch {
    throw new ApiError(0, "The answer does not come from the service. A proxy in front of it may have answered.");
  }
  if (response.ok) return body;
  const reason = body?.code ?? "";
  throw new ApiError(
    response.status,
    sentence(body?.message ?? `HTTP status ${response.status}`),
    reason,
    Number(body?.inner?.code ?? 0),
  );
}

/** The address of an API path with its query; parameters that are empty are left out. */
export function address(path, parameters = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== "" && value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  return url;
}

/** The JSON answer of a GET. Throws `ApiError`, or an `AbortError` if `signal` ends it. */
export function get(path, parameters, signal) {
  return request(address(path, parameters), { signal, cache: "no-store" });
}

/** Carries out an action. Throws `ApiError`. */
export function act(path, body = {}) {
  return request(address(path), { method: "POST", headers: OWN, body: JSON.stringify(body) });
}

/** Starts a session with an admin key. The cookie comes with the answer. */
export function signIn(key) {
  return request(SESSION, { method: "POST", headers: OWN, body: JSON.stringify({ key }) });
}

/** Ends the session. */
export function signOut() {
  return request(SESSION, { method: "DELETE", headers: OWN });
}
