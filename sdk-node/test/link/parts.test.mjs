// Connection strings, tokens and delays.

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert";
import { createHmac } from "node:crypto";
import { test } from "node:test";

import { Backoff } from "../../dist/esm/link/backoff.js";
import { parseConnectionString } from "../../dist/esm/connection-string.js";
import { linkToken, linkUrl } from "../../dist/esm/link/token.js";

for (const [text, endpoint, key] of [
  ["Endpoint=http://localhost:8080;AccessKey=abc;Version=1.0;", "http://localhost:8080", "abc"],
  ["Endpoint=http://localhost;AccessKey=a=b==;Port=8080;Version=1.0", "http://localhost:8080", "a=b=="],
  ["endpoint=https://x.example/base/; accesskey=k", "https://x.example/base", "k"],
  ["Endpoint=wss://x.example;AccessKey=k", "https://x.example", "k"],
  ["AccessKey=k;Endpoint=http://[::1]:80", "http://[::1]", "k"],
])
  test(`connection string: ${text}`, () => deepStrictEqual(parseConnectionString(text), { endpoint, key }));

for (const [text, what] of [
  ["", /has no Endpoint/],
  ["Endpoint=http://x", /has no AccessKey/],
  ["AccessKey=secret", /has no Endpoint/],
  ["Endpoint=x;AccessKey=secret", /"x" .* not a URL/],
  ["Endpoint=ftp://x;AccessKey=secret", /ftp:/],
  ["Endpoint=http://x;AccessKey=", /has no AccessKey/],
])
  test(`no connection string: ${text}`, () =>
    throws(
      () => parseConnectionString(text),
      (error) => {
        strictEqual(error.reason, "connection-string");
        ok(what.test(error.message) && !error.message.includes("secret"), error.message);
        return true;
      },
    ));

for (const [endpoint, hub, url] of [
  ["http://localhost:8080", "chat", "ws://localhost:8080/server/tunnel?hub=chat"],
  ["https://x.example/base/", "a`b[c]", "wss://x.example/base/server/tunnel?hub=a%60b%5Bc%5D"],
  ["wss://x.example", "chat", "wss://x.example/server/tunnel?hub=chat"],
])
  test(`${hub} at ${endpoint}`, () => strictEqual(linkUrl(endpoint, hub), url));

test("a token has server, audience and times, and is signed with the key's text", () => {
  const token = linkToken("kéy", "me", "ws://x/server/tunnel?hub=h", 1_700_000_000_900);
  const [head, claims, signature] = token.split(".");
  const read = (part) => JSON.parse(Buffer.from(part, "base64url"));
  deepStrictEqual(read(head), { alg: "HS256", typ: "JWT" });
  const [iat, exp] = [1_700_000_000, 1_700_000_600];
  deepStrictEqual(read(claims), { sub: "me", aud: "ws://x/server/tunnel?hub=h", iat, exp });
  strictEqual(signature, createHmac("sha256", "kéy").update(`${head}.${claims}`).digest("base64url"));
});

test("delays double from 100 ms to 5 s, and are cut by up to half", () => {
  const delays = (random) => {
    const backoff = new Backoff(() => random);
    return Array.from({ length: 8 }, () => backoff.next());
  };
  deepStrictEqual(delays(0), [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  deepStrictEqual(delays(1), [50, 100, 200, 400, 800, 1600, 2500, 2500]);
});

test("delays are shorter while the service keeps the session", () => {
  const backoff = new Backoff(() => 0);
  deepStrictEqual(Array.from({ length: 5 }, () => backoff.next(true)), [100, 200, 400, 500, 500]);
  strictEqual(backoff.next(), 3200);
});

test("after a link that was up for a while the delays begin anew", () => {
  const backoff = new Backoff(() => 0);
  backoff.next();
  backoff.broke(499);
  strictEqual(backoff.next(), 200, "a link that breaks at once is not tried ever faster");
  backoff.broke(500);
  strictEqual(backoff.next(), 100);
});
