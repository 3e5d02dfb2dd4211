// Acknowledgements: of one socket both ways, and of many clients to one emit.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { Service } from "../lib/service.mjs";
import { PATIENCE, next, within } from "../lib/waiting.mjs";
import { connected, overEachTransport, serverSide, world } from "../lib/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

/** Long enough for every answer on a busy machine. Tests that wait for a timeout use `SHORT`. */
const LONG = PATIENCE;
const SHORT = 400;
/** Long enough for the answers of those that do answer. */
const HALF = 2_000;
/** All arguments of an event's answer; `emitWithAck` returns only the first. */
function answers(side, ...event) {
  return within(new Promise((resolve) => side.emit(...event, (...all) => resolve(all))), `an answer to ${event[0]}`);
}

const BYTES = Buffer.from([0, 1, 2, 253, 254, 255]);

overEachTransport((transport) => {
  describe(`over ${transport}`, () => {
    /** An app server and clients that answer "q" with their index. */
    async function crew(t, count) {
      const w = world(t, service, transport);
      const io = await w.app();
      const clients = await w.clients(count);
      clients.forEach((client, index) => client.on("q", (text, answer) => answer(`${text} ${index}`)));
      return { w, io, clients, sockets: clients.map((client) => serverSide(io, client)) };
    }

    it("answers a client", async (t) => {
      const { clients: [client], sockets: [socket] } = await crew(t, 1);
      socket.on("add", (a, b, answer) => answer(a + b, "é"));
      const sums = await Promise.all(
        [1, 2, 3].map((n) => answers(client, "add", n, n)),
      );
      assert.deepEqual(sums, [[2, "é"], [4, "é"], [6, "é"]]);
      assert.equal(await client.timeout(LONG).emitWithAck("add", 1, 1), 2);
    });

    it("is answered by a client", async (t) => {
      const { clients, sockets } = await crew(t, 2);
      assert.deepEqual(
        await Promise.all(sockets.map((socket) => socket.timeout(LONG).emitWithAck("q", "é"))),
        ["é 0", "é 1"],
      );
      clients[0].off("q");
      await assert.rejects(sockets[0].timeout(SHORT).emitWithAck("q", 1), /timed out/);
    });

    it("carries binary in answers both ways", async (t) => {
      const { clients: [client], sockets: [socket] } = await crew(t, 1);
      const echo = (value, answer) => answer({ value, more: [BYTES, "x"] }, BYTES);
      client.on("echo", echo);
      socket.on("echo", echo);
      for (const side of [client, socket]) {
        const got = await answers(side, "echo", BYTES);
        assert.deepEqual(got, [{ value: BYTES, more: [BYTES, "x"] }, BYTES]);
      }
    });

    it("collects the answers of all clients", async (t) => {
      const { io } = await crew(t, 3);
      const answers = await io.timeout(LONG).emitWithAck("q", "é");
      assert.deepEqual(answers.sort(), ["é 0", "é 1", "é 2"]);
    });

    it("collects the answers of a room, and of all but one", async (t) => {
      const { io, sockets } = await crew(t, 4);
      await sockets[1].join("room");
      await sockets[2].join(["room", "other", "out"]);
      assert.deepEqual((await io.to("room").timeout(LONG).emitWithAck("q", 1)).sort(), ["1 1", "1 2"]);
      assert.deepEqual(await io.to(["room", "other"]).except("out").timeout(LONG).emitWithAck("q", 2), ["2 1"]);
      assert.deepEqual((await sockets[1].broadcast.timeout(LONG).emitWithAck("q", 3)).sort(), ["3 0", "3 2", "3 3"]);
      assert.deepEqual(await sockets[1].to("room").timeout(LONG).emitWithAck("q", 4), ["4 2"]);
    });

    it("is done at once without recipients", async (t) => {
      const { io } = await crew(t, 1);
      assert.deepEqual(await io.to("nobody").timeout(LONG).emitWithAck("q", 1), []);
    });

    it("collects the answers of many emits at a time, each separately", async (t) => {
      const { io } = await crew(t, 2);
      const all = await Promise.all(
        Array.from({ length: 20 }, (_, n) => io.timeout(LONG).emitWithAck("q", `n${n}`)),
      );
      all.forEach((answers, n) => assert.deepEqual(answers.sort(), [`n${n} 0`, `n${n} 1`]));
    });

    it("times out when one client never answers, with the others' answers", async (t) => {
      const { io, clients } = await crew(t, 3);
      clients[1].off("q");
      const heard = next(clients[1], "q");
      const error = await io.timeout(HALF).emitWithAck("q", 1).then(assert.fail, (problem) => problem);
      assert.match(error.message, /timed out/);
      assert.deepEqual(error.responses.sort(), ["1 0", "1 2"]);
      const [, answer] = await heard;
      // A late answer is ignored.
      answer("late");
      clients[1].on("q", (text, reply) => reply(`${text} again`));
      assert.deepEqual((await io.timeout(LONG).emitWithAck("q", 2)).sort(), ["2 0", "2 2", "2 again"]);
    });

    it("[repair 1] counts an answer without data, and ends a client whose answer cannot be read", async (t) => {
      const { io, clients } = await crew(t, 2);
      /** Answers the client's next "raw" event below its Socket.IO part. */
      const answerRaw = ({ io: { engine } }, data) =>
        engine.on("data", (text) => {
          const [, id] = /^2(\d+)\["raw"\]/.exec(text) ?? [];
          if (id) engine.send(`3${id}${data}`);
        });
      const ended = next(clients[1], "disconnect");
      answerRaw(clients[0], "");
      answerRaw(clients[1], "{}");
      const error = await io.timeout(HALF).emitWithAck("raw").then(assert.fail, (problem) => problem);
      assert.deepEqual(error.responses, [undefined]);
      await ended;
      assert.deepEqual(await io.timeout(LONG).emitWithAck("q", "é"), ["é 0"]);
    });

    it("times out when one client leaves without an answer", async (t) => {
      const { io, clients } = await crew(t, 2);
      clients[1].off("q");
      clients[1].on("q", () => clients[1].disconnect());
      const error = await io.timeout(HALF).emitWithAck("q", 1).then(assert.fail, (problem) => problem);
      assert.deepEqual(error.responses, ["1 0"]);
    });

    it("collects binary questions' and answers' bytes", async (t) => {
      const { io, clients } = await crew(t, 2);
      clients.forEach((client, index) =>
        client.on("bin", (value, answer) => answer({ index, back: [value, Buffer.from([index])] })),
      );
      const answers = await io.timeout(LONG).emitWithAck("bin", BYTES);
      assert.deepEqual(
        answers.sort((a, b) => a.index - b.index),
        [0, 1].map((index) => ({ index, back: [BYTES, Buffer.from([index])] })),
      );
    });

    it("collects answers of a namespace from connections that are in others, too", async (t) => {
      const { io, clients } = await crew(t, 2);
      const chats = io.of("/chat");
      const chat = clients.map((client) => client.io.socket("/chat"));
      await Promise.all(chat.map(connected));
      chat.forEach((socket, index) => socket.on("q", (text, answer) => answer(`chat ${text} ${index}`)));
      const [main, inChat] = await Promise.all([
        io.timeout(LONG).emitWithAck("q", 1),
        chats.timeout(LONG).emitWithAck("q", 2),
      ]);
      assert.deepEqual(main.sort(), ["1 0", "1 1"]);
      assert.deepEqual(inChat.sort(), ["chat 2 0", "chat 2 1"]);
    });

    it("keeps a socket's own acks and those of broadcasts apart", async (t) => {
      const { io, clients, sockets } = await crew(t, 2);
      clients.forEach((client) => client.on("own", (n, answer) => answer(n)));
      const [answers, ...own] = await Promise.all([
        io.timeout(LONG).emitWithAck("q", 1),
        ...Array.from({ length: 10 }, (_, n) => sockets[n % 2].timeout(LONG).emitWithAck("own", n)),
        io.timeout(LONG).emitWithAck("q", 2),
      ]);
      assert.deepEqual(answers.sort(), ["1 0", "1 1"]);
      assert.deepEqual(own.pop().sort(), ["2 0", "2 1"]);
      assert.deepEqual(own, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    });
  });
});
