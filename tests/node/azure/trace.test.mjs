// The live trace of stock clients whose app uses the published SDK.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { Service } from "../lib/service.mjs";
import { poll } from "../lib/waiting.mjs";
import { overEachTransport, serverSide, world } from "../lib/world.mjs";

const KEY = "read-key-of-the-tests";

let service;
before(async () => (service = await Service.start({ set: [`admin.read_key=${KEY}`] })));
after(() => service.stop());

/** Reads a trace until the test ends. `events` collects its packets and states. */
async function traced(t, query) {
  const ended = new AbortController();
  t.after(() => ended.abort());
  const answer = await fetch(`${service.url}/api/v1/trace?${new URLSearchParams(query)}`, {
    headers: { authorization: `Bearer ${KEY}` },
    signal: ended.signal,
  });
  assert.equal(answer.status, 200);
  const events = [];
  (async () => {
    let text = "";
    for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (text += chunk).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const found = /^event: (packet|state)\ndata: (.*)$/.exec(block);
        if (found) events.push({ kind: found[1], ...JSON.parse(found[2]) });
      }
    }
  })().catch(() => {});
  return events;
}

overEachTransport((transport) => {
  describe(`over ${transport}`, () => {
    it("shows a client's events, acks and rooms", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      const events = await traced(t, { sample: 1, hub: w.hub });
      const [client] = await w.clients(1);
      const socket = serverSide(io, client);
      socket.on("question", (bytes, answer) => answer("yes"));
      assert.equal(await client.emitWithAck("question", Buffer.from([1, 2, 3])), "yes");
      await socket.join("r");
      io.to("r").emit("news", 1);
      const find = (wanted) => events.find((event) => Object.entries(wanted).every(([name, value]) => event[name] === value));
      await poll(() => find({ event: "news" }), "the emit");
      const question = find({ direction: "in", event: "question" });
      assert.equal(question.attachments, 1);
      const answer = find({ direction: "out", type: "ack", ack: question.ack });
      assert.ok(answer.ack_ms > 0);
      assert.equal(answer.app_server, question.app_server);
      assert.ok(find({ state: "joined", namespace: "/", room: "r" }));
      assert.ok(find({ state: "opened", transport: transport === "upgrade" ? "polling" : transport }));
      assert.equal(Boolean(find({ state: "upgraded" })), transport === "upgrade");
      client.disconnect();
      const closed = await poll(() => find({ state: "closed" }), "the end");
      assert.equal(closed.reason, "client-closed");
    });

    it("shows an emit to a room once", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      const events = await traced(t, { room: "r", hub: w.hub });
      const clients = await w.clients(3);
      for (const client of clients) await serverSide(io, client).join("r");
      io.to("r").emit("news", 1);
      const news = await poll(() => events.find(({ event }) => event === "news"), "the emit");
      assert.equal(news.recipients, 3);
      assert.equal(events.filter(({ event }) => event === "news").length, 1);
      assert.equal(events.filter(({ state, room }) => state === "joined" && room === "r").length, 3);
    });
  });
});
