// Access tokens for clients.

import { signedToken } from "../link/token.js";
import { clientAddress, type Target } from "../options.js";
import { MoorageError } from "../wire/errors.js";

/** Returns a client's access token: a JWT, signed with the access key. It contains the user id twice, as in Azure's
 * SDK, whose passport helper reads the second one. */
export function clientToken(service: Target, { userId, minutes }: { userId?: string | undefined; minutes: number }): string {
  // The value may come from a client's query. JSON has no NaN and no Infinity.
  if (!Number.isFinite(minutes)) throw new MoorageError("options", `a token cannot be valid for ${minutes} minutes`);
  // The service would refuse the token. JavaScript callers may pass a number, for example a database id.
  if (userId !== undefined && typeof userId !== "string")
    throw new MoorageError("options", `userId must be a string, not ${JSON.stringify(userId)}`);
  const { url, path } = clientAddress(service);
  const now = Math.floor(Date.now() / 1000);
  const who = userId ? { sub: userId, userId } : {};
  return signedToken(service.key, { aud: url + path, iat: now, exp: now + Math.ceil(minutes * 60), ...who });
}
