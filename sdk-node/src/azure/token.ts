// Access tokens for clients.

import { createHmac } from "node:crypto";

import { clientAddress, type Target } from "../options.js";
import { MoorageError } from "../wire/errors.js";

const HEADER = encode({ alg: "HS256", typ: "JWT" });

/** A client's access token: a JWT, signed with the access key. The user stands in it twice, as Azure's
 * SDK writes it; its passport helper reads the second. */
export function clientToken(to: Target, { userId, minutes }: { userId?: string | undefined; minutes: number }): string {
  // It may come from a client's query. In JSON neither NaN nor Infinity would be a time.
  if (!Number.isFinite(minutes)) throw new MoorageError("options", `a token cannot be good for ${minutes} minutes`);
  // The service would refuse the token. Without types a number may come, the id of a database.
  if (userId !== undefined && typeof userId !== "string")
    throw new MoorageError("options", `userId must be a string, not ${JSON.stringify(userId)}`);
  const { url, path } = clientAddress(to);
  const now = Math.floor(Date.now() / 1000);
  const who = userId ? { sub: userId, userId } : {};
  const body = encode({ aud: url + path, iat: now, exp: now + Math.ceil(minutes * 60), ...who });
  const signed = `${HEADER}.${body}`;
  return `${signed}.${createHmac("sha256", to.key).update(signed).digest("base64url")}`;
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString("base64url");
}
