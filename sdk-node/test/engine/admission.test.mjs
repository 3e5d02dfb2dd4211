import assert from "node:assert/strict";
import { test } from "node:test";

import { admit } from "../../dist/esm/engine/admission.js";

const request = { method: "GET", _query: {} };

test("middlewares run one after the other, and then allowRequest", async () => {
  const order = [];
  const step = (name) => (_request, _response, next) => setImmediate(() => (order.push(name), next()));
  const allow = (asked, decide) => (order.push(asked === request), decide(null, true));
  assert.equal(await admit(request, [step("a"), step("b")], allow), undefined);
  assert.deepEqual(order, ["a", "b", true]);
});

test("a middleware that fails, throws or ends the response refuses the client; so does allowRequest", async () => {
  const never = () => assert.fail("a later one ran");
  const refusals = [
    await admit(request, [(_q, _s, next) => next(new Error("x")), never], never),
    await admit(request, [() => { throw new Error("x"); }], never),
    await admit(request, [(_q, response) => response.writeHead(401).end("who?"), never], never),
    await admit(request, [(_q, response) => { response.statusCode = 302; response.write(Buffer.from("a")); response.end("b"); }], never),
    await admit(request, [], (_q, decide) => decide("no", false)),
    await admit(request, [], () => { throw new Error("broken"); }),
    await admit(request, [], (_q, decide) => decide(new Error("an error"), false)),
    await admit(request, [(_q, response) => response.writeHead("nonsense").end()], never),
  ];
  assert.deepEqual(refusals.map(({ status, code, clientMessage }) => [status, code, clientMessage]), [
    [400, 3, "Bad request"],
    [400, 3, "Bad request"],
    [401, 4, "who?"],
    [403, 4, "ab"],
    [403, 4, "no"],
    [403, 4, "broken"],
    [403, 4, "an error"],
    [403, 4, "Forbidden"],
  ]);
});

test("a response that a session middleware has wrapped can be ended", async () => {
  const called = [];
  const session = (_request, response, next) => {
    const { writeHead, end } = response;
    response.writeHead = (...args) => (called.push("head"), writeHead.apply(response, args));
    response.end = (...args) => {
      if (!response._header) response._implicitHeader();
      setImmediate(() => end.apply(response, args));
    };
    next();
  };
  const guard = (_request, response) => {
    response.statusCode = 401;
    response.end("who?", "utf8", () => called.push(`end ${response.writableEnded}`));
  };
  const { status, message } = await admit(request, [session, guard], undefined);
  assert.deepEqual([status, message, called], [401, "who?", ["head", "end true"]]);
});

test("a middleware may set headers and go on", async () => {
  const helmet = (_request, response, next) => {
    response.setHeader("X-A", "1");
    assert.deepEqual([response.getHeader("x-a"), response.hasHeader("X-a"), response.getHeaderNames()], ["1", true, ["x-a"]]);
    assert.deepEqual(response.getHeaders(), { "x-a": "1" });
    response.removeHeader("X-A");
    assert.equal(response.hasHeader("x-a"), false);
    next();
  };
  assert.equal(await admit(request, [helmet], undefined), undefined);
});
