// Connection strings, `Endpoint=…;AccessKey=…;Version=1.0;`, as the service prints them and Azure's portal shows
// them.

import { MoorageError } from "./wire/errors.js";

interface ConnectionString {
  /** An http: or https: URL without a trailing slash. */
  readonly endpoint: string;
  readonly key: string;
}

/** Raises `MoorageError` (connection-string), which names the part that is missing or wrong and never contains the
 * key. */
export function parseConnectionString(text: string): ConnectionString {
  const parts = new Map<string, string>();
  for (const part of text.split(";")) {
    const at = part.indexOf("=");
    if (at > 0) parts.set(part.slice(0, at).trim().toLowerCase(), part.slice(at + 1).trim());
  }
  const endpoint = parts.get("endpoint");
  const key = parts.get("accesskey");
  if (!endpoint) throw invalid("has no Endpoint");
  if (!key) throw invalid("has no AccessKey");
  return { endpoint: withPort(endpoint, parts.get("port")), key };
}

function withPort(endpoint: string, port: string | undefined): string {
  let url: URL;
  try {
    url = new URL(endpoint);
  } catch {
    throw invalid(`names "${endpoint}" as its Endpoint, which is not a URL`);
  }
  if (!/^(http|ws)s?:$/.test(url.protocol)) throw invalid(`has an Endpoint of scheme ${url.protocol}, not http: or https:`);
  if (port) url.port = port;
  url.protocol = url.protocol.replace("ws", "http");
  return (url.origin + url.pathname).replace(/\/+$/, "");
}

function invalid(what: string): MoorageError {
  const shape = "Endpoint=http://HOST:PORT;AccessKey=KEY;Version=1.0;";
  return new MoorageError("connection-string", `The connection string ${what}. It looks like "${shape}"; "moorage dev" prints one.`);
}
