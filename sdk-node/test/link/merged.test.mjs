// Requests that several sessions answer.

import { deepStrictEqual, rejects } from "node:assert";
import { test } from "node:test";

import { Requests } from "../../dist/esm/link/requests.js";
import { MoorageError } from "../../dist/esm/wire/errors.js";

const [a, b, c] = [{ is: "a" }, { is: "b" }, { is: "c" }];
const asked = (count) => ({ type: 12, ref: 1, count });
const done = (count, ...missing) => ({ type: 14, ref: 1, count, missing });
const failed = (reason) => ({ type: 15, ref: 1, number: 7, reason, message: reason });
const lost = new MoorageError("session-lost", "lost");

/** A request that went to `links`, and the parts that its caller got. */
function request(...links) {
  const requests = new Requests();
  requests.next();
  const parts = [];
  const answer = requests.wait(1, links, { onPart: (part, link) => parts.push([part.type, part.count ?? part.payload, link.is]) });
  return { requests, parts, answer };
}

test("the numbers that were asked become one, behind the last; answers pass at once; counts add up", async () => {
  const { requests, parts, answer } = request(a, b);
  requests.part(asked(2), a);
  requests.part({ type: 13, ref: 1, sender: "s", payload: "x" }, a);
  requests.done(done(1, "s"), a);
  requests.part(asked(3), b);
  requests.done(done(3, "s", "t"), b);
  deepStrictEqual(parts, [[13, "x", "a"], [12, 5, "b"]]);
  deepStrictEqual(await answer, done(4, "s", "t"));
});

test("a node that fails or is lost is missing", async () => {
  const { requests, parts, answer } = request(a, b, c);
  requests.part(asked(1), a);
  requests.failed(failed("no"), b, "node b");
  requests.lost(c, "node c", lost);
  requests.done(done(1), a);
  deepStrictEqual(parts, [[12, 1, "c"]]);
  deepStrictEqual(await answer, done(1, "node b", "node c"));
});

test("the request fails if all nodes fail, with the first error", async () => {
  const { requests, answer } = request(a, b);
  requests.failed(failed("first"), b, "node b");
  requests.lost(a, "node a", lost);
  await rejects(answer, { reason: "first" });
  deepStrictEqual(requests.failed(failed("late"), a, "node a"), false);
});

test("a new home owes the answer of the lost one too", async () => {
  const { requests, parts, answer } = request(a, b);
  requests.part(asked(1), b);
  requests.also(1, b);
  requests.lost(a, "node a", lost);
  deepStrictEqual(parts, []);
  requests.part(asked(2), b);
  requests.done(done(1), b);
  requests.done(done(2), b);
  deepStrictEqual(parts, [[12, 3, "b"]]);
  deepStrictEqual(await answer, done(3, "node a"));
});

test("a request of one session fails with it, and others go on", async () => {
  const { requests, answer } = request(a);
  requests.lost(b, "node b", lost);
  requests.lost(a, "node a", lost);
  await rejects(answer, { reason: "session-lost" });
});
