import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";

import { azureTarget, proxyOf } from "../../dist/esm/azure/options.js";
import { clientToken } from "../../dist/esm/azure/token.js";
import { clientAddress, target } from "../../dist/esm/options.js";

test("both kinds of options name the service", () => {
  const wanted = { hub: "h", endpoint: "http://x:1", key: "k" };
  assert.deepEqual(target({ hub: "h", connectionString: "Endpoint=http://x:1;AccessKey=k;Version=1.0;" }), wanted);
  const options = { hub: "h", endpoint: "http://x:1/", credential: { key: "k" } };
  assert.deepEqual(azureTarget(options), wanted);
  assert.deepEqual(proxyOf({ ...options, reverseProxyEndpoint: "https://proxy/path/" }), { via: "https://proxy/path" });
  assert.deepEqual(proxyOf(options), {});
  assert.throws(() => azureTarget({ hub: "", endpoint: "http://x", credential: { key: "k" } }), /"hub" is missing/);
});

test("the clients' path is below the endpoint's path", () => {
  assert.deepEqual(clientAddress({ hub: "a b", endpoint: "https://x/under", key: "k" }), {
    url: "https://x",
    path: "/under/clients/socketio/hubs/a%20b",
  });
});

test("a token is signed with the key's text, for the hub, for its time", () => {
  const to = { hub: "h", endpoint: "http://x", key: "käse" };
  const [head, body, signature] = clientToken(to, { userId: "ada", minutes: 1.5 }).split(".");
  assert.equal(signature, createHmac("sha256", "käse").update(`${head}.${body}`).digest("base64url"));
  const { iat, exp, ...claims } = JSON.parse(Buffer.from(body, "base64url"));
  assert.deepEqual(claims, { aud: "http://x/clients/socketio/hubs/h", sub: "ada", userId: "ada" });
  assert.deepEqual([exp - iat, Math.abs(iat - Date.now() / 1000) < 5], [90, true]);
  assert.deepEqual(Object.keys(JSON.parse(Buffer.from(clientToken(to, { minutes: 1 }).split(".")[1], "base64url"))), ["aud", "iat", "exp"]);
  for (const minutes of [NaN, Infinity]) assert.throws(() => clientToken(to, { minutes }), /cannot be valid for/);
});
