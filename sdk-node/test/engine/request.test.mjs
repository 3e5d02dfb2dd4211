import assert from "node:assert/strict";
import { IncomingMessage } from "node:http";
import { test } from "node:test";

import { ClientRequest, headersOf, queryOf } from "../../dist/esm/engine/request.js";

test("is a request like those of Node.js", () => {
  const handshake = {
    headers: { host: ["a", "b"], cookie: ["x=1", "y=2"], accept: ["text", "html"], "set-cookie": ["p", "q"] },
    query: { a: ["1", "2"], empty: [] },
    claims: { sub: ["ada"] },
    url: "/x?a=1",
    address: "1.2.3.4",
    secure: true,
  };
  const request = new ClientRequest(handshake, "ada");
  assert.equal(request instanceof IncomingMessage, true);
  assert.deepEqual(request.headers, { host: "a", cookie: "x=1; y=2", accept: "text, html", "set-cookie": ["p", "q"] });
  assert.deepEqual(request.rawHeaders.slice(0, 4), ["host", "a", "host", "b"]);
  assert.deepEqual({ ...request._query }, { a: "2", empty: "" });
  assert.deepEqual([request.method, request.url, request.httpVersion], ["GET", "/x?a=1", "1.1"]);
  assert.deepEqual([request.socket.remoteAddress, request.socket.encrypted, request.connection.encrypted], ["1.2.3.4", true, true]);
  assert.deepEqual([request.claims, request.userId], [{ sub: ["ada"] }, "ada"]);
});

test("of an older service has defaults for missing fields", () => {
  const request = new ClientRequest({ headers: {}, query: {}, claims: {} }, null);
  assert.deepEqual([request.url, request.socket.remoteAddress, request.socket.encrypted], ["/", "", false]);
  assert.deepEqual([headersOf({ headers: {} }), { ...queryOf({ query: {} }) }], [{}, {}]);
});
