// A connection whose client changes its app server.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Moving } from "../../dist/esm/engine/moving.js";
import { turn } from "../support/stage.mjs";

describe("what must not leave", () => {
  test("of a client that arrives: the answer to its CONNECT", () => {
    const moving = new Moving("adopting");
    assert.equal(moving.withholds('0{"sid":"x"}'), true);
    assert.equal(moving.withholds('2["event"]'), false);
    assert.equal(moving.withholds(Buffer.from("x")), false);
  });

  test("of a client that leaves: events that ask for an ack, with their attachments", () => {
    const moving = new Moving("frozen");
    const sent = ['2["plain"]', '21["asks"]', '52-/chat,7["asks",0,1]', Buffer.from("a"), Buffer.from("b"), '30["an answer"]', Buffer.from("c")];
    assert.deepEqual(sent.map((data) => moving.withholds(data)), [false, true, true, true, true, false, false]);
    assert.deepEqual(moving.withheld, sent.slice(1, 5));
  });

  test("of a client that has left: the same, and nobody needs it any more", () => {
    const moving = new Moving("released");
    assert.equal(moving.withholds('21["asks"]'), true);
    assert.deepEqual(moving.withheld, []);
  });

  test("of a client whose handlers end: nothing", () => {
    assert.equal(new Moving("freezing").withholds('21["asks"]'), false);
  });
});

describe("handlers that have not answered", () => {
  test("are waited for", async () => {
    const moving = new Moving("freezing");
    const done = [];
    moving.whenIdle(true, () => done.push("done"));
    await turn();
    assert.deepEqual(done, []);
    moving.idle();
    moving.idle();
    await turn();
    assert.deepEqual(done, ["done"]);
  });

  test("are not there", () => {
    const done = [];
    new Moving("freezing").whenIdle(false, () => done.push("done"));
    assert.deepEqual(done, ["done"]);
  });
});
