// Properties of a link's WebSocket that only the bytes of the TCP connection show.

import { deepStrictEqual, strictEqual } from "node:assert";
import { Agent } from "node:http";
import { test } from "node:test";

import { within } from "../../../tests/node/lib/waiting.mjs";
import { Peer } from "./peer.mjs";

/** The mask of the first frame that a link sends after its upgrade. */
async function mask(t, options) {
  const peer = await Peer.start(t);
  const found = new Promise((resolve) => {
    peer._server.prependListener("upgrade", (_request, socket, head) => {
      if (head.length) resolve(head);
      else socket.once("data", resolve);
    });
  });
  await peer.link(t, options);
  const frame = await within(found, "the first frame");
  strictEqual(frame[0], 0x82);
  strictEqual(frame[1] >> 7, 1, "a client's frames are masked (RFC 6455, 5.1)");
  strictEqual((frame[1] & 0x7f) < 126, true);
  return [...frame.subarray(2, 6)];
}

test("on loopback the mask is zeros", async (t) => {
  deepStrictEqual(await mask(t, {}), [0, 0, 0, 0]);
});

test("through an agent, which may use a proxy, the mask is random", async (t) => {
  const agent = new Agent();
  t.after(() => agent.destroy());
  const masks = await Promise.all([1, 2, 3].map(() => mask(t, { request: { agent } })));
  strictEqual(new Set(masks.map(String)).size, 3, `${masks}`);
});
