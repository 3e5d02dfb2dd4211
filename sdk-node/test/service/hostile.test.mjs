// Clients that break every rule affect neither the app server nor other connections.

import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { WebSocket } from "ws";

import { Service } from "../../../tests/node/lib/service.mjs";
import { poll, within } from "../../../tests/node/lib/waiting.mjs";
import { world } from "../support/world.mjs";

const APP = fileURLToPath(new URL("../support/hostile-app.mjs", import.meta.url));

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

/** The app in its own process, and the lines of its output. It waits `patience` milliseconds for acks. */
async function hostileApp(w, patience = 300) {
  const options = { hub: w.hub, connectionString: service.connectionString() };
  const process = fork(APP, [JSON.stringify(options), String(patience)], { stdio: ["ignore", "pipe", "inherit", "ipc"] });
  w.atEnd(async () => {
    process.kill("SIGKILL");
    await once(process, "exit");
  });
  const lines = [];
  createInterface(process.stdout).on("line", (line) => lines.push(line));
  await poll(() => lines.includes("ready"), "the app");
  return lines;
}

/** An Engine.IO session without a Socket.IO client on top: the test decides what it sends. */
class Raw {
  heard = [];

  static async open(w) {
    const raw = new Raw();
    const query = "EIO=4&transport=websocket&room=__proto__&__proto__=1&constructor=2";
    raw.socket = new WebSocket(`${service.url.replace("http", "ws")}/clients/socketio/hubs/${w.hub}/?${query}`);
    raw.socket.on("message", (data, binary) => raw.heard.push(binary ? data : data.toString()));
    raw.socket.on("error", () => {});
    raw.closed = new Promise((resolve) => raw.socket.once("close", resolve));
    w.atEnd(() => raw.socket.terminate());
    await poll(() => raw.find(/^0\{/), "the handshake");
    return raw;
  }

  find(pattern) {
    return this.heard.map((text) => pattern.exec(text)).find(Boolean);
  }

  /** Enters a namespace; returns the ids of the acks that the app server waits for, the broadcast's last. */
  async asked(prefix = "") {
    this.socket.send(`40${prefix}`);
    const acks = new RegExp(`^42${prefix}(\\d+)\\["ask"\\]`);
    const ids = () => this.heard.map((text) => acks.exec(text)?.[1]).filter(Boolean);
    await poll(() => ids().length >= 2, "both questions");
    return ids().sort((a, b) => a - b);
  }

  /** Sends all packets; resolves once the service has read them, or has closed the connection. */
  async send(...packets) {
    for (const packet of packets) this.socket.send(packet);
    this.socket.ping();
    await within(Promise.race([once(this.socket, "pong"), this.closed]), "the service");
  }
}

/** Closes broken connections, and checks that all others work. */
async function unharmed(client, lines) {
  const state = await within(client.emitWithAck("look"), "the app's answer");
  assert.deepEqual(lines, ["ready"]);
  return state;
}

test("[repair 1] an answer without data counts; an unreadable one closes its client", async (t) => {
  const w = world(t, service);
  const lines = await hostileApp(w, 60_000);
  const bystander = await w.client({ nsp: "/bystander" });
  const raw = await Raw.open(w);
  const [own, broadcast] = await raw.asked();
  await raw.send(`43${own}`, `43${broadcast}`);
  await poll(async () => (await unharmed(bystander, lines)).answers.io.length === 1, "the answer");
  const { answers } = await unharmed(bystander, lines);
  assert.deepEqual(answers, { io: [[null]], socket: [[]] });
  for (const bad of [`43BROADCAST{}`, `43BROADCAST[`, `43BROADCASTx`, `460-BROADCAST[]`, `43OWN{}`, `461-BROADCAST[{"_placeholder":true,"num":3}]`]) {
    const other = await Raw.open(w);
    const [mine, all] = await other.asked();
    other.socket.send(bad.replace("BROADCAST", all).replace("OWN", mine));
    if (bad.startsWith("461-")) other.socket.send(Buffer.from("x"));
    await within(other.closed, `the end after ${bad}`);
  }
  await unharmed(bystander, lines);
});

/** A small pseudo-random generator with a seed, so that a failure can be repeated. */
function random(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const NAMES = ["/", "/a", "/dynamic1", "/none", "/__proto__", "/constructor", "/a?token=x", "/é", "//", "/ "];
const JSONS = [
  ...["", "[]", "{}", "null", "1", '"x"', "[1]", "[null]", "[[]]", "[{}]", '["x"]', '["x",1,{"a":[]}]', "x", "[", '["x"', "NaN", "[NaN]"],
  ...['["connect"]', '["connect_error"]', '["disconnect"]', '["disconnecting"]', '["newListener"]', '["removeListener"]', '["error"]'],
  ...['["__proto__"]', '["constructor",{"__proto__":{"x":1}}]', '["hasOwnProperty"]', '["toString"]', '["message"]', '["\\ud83d"]'],
  ...['[{"_placeholder":true,"num":0}]', '["x",{"_placeholder":true,"num":0}]', '["x",{"_placeholder":true,"num":-1}]', '["x",{"_placeholder":true}]'],
  ...['{"token":"x"}', '{"__proto__":{"admin":true},"constructor":1}', '{"toJSON":1}', `${"[".repeat(500)}${"]".repeat(500)}`],
];
const IDS = ["", "0", "1", "7", "00", "1073741824", "9999999999999999", "99999999999999999", " 1", "-1", "1e3"];

/** A packet that may be valid or not, and possible attachments. */
function packets(pick, acks) {
  const type = "0123456012345601234562222227"[pick(28)];
  const attachments = type === "5" || type === "6" ? pick(3) : 0;
  const name = NAMES[pick(4) ? pick(2) : pick(NAMES.length)];
  const id = [...IDS, ...acks, ...acks, ...acks][pick(IDS.length + acks.length * 3)];
  const head = type === "5" || type === "6" ? `${attachments}-` : "";
  const text = `4${type}${head}${name === "/" ? "" : `${name},`}${id}${JSONS[pick(JSONS.length)]}`;
  return [text, ...Array.from({ length: pick(8) ? attachments : pick(3) }, () => Buffer.from("bytes"))];
}

test("[repair 1] packets of any shape affect neither the app server nor other clients", async (t) => {
  const w = world(t, service);
  const lines = await hostileApp(w);
  const bystander = await w.client({ nsp: "/bystander" });
  for (let seed = 1; seed <= 60; seed += 1) {
    const pick = random(seed);
    const raw = await Raw.open(w);
    const acks = pick(4) ? await raw.asked(pick(2) ? "" : "/a,") : [];
    const sent = [];
    while (raw.socket.readyState === WebSocket.OPEN && sent.length < 60) {
      const some = packets(pick, acks);
      sent.push(...some);
      await raw.send(...some);
    }
    raw.socket.terminate();
    await within(bystander.emitWithAck("look"), "the app's answer");
    assert.deepEqual(lines, ["ready"], `seed ${seed}: ${JSON.stringify(sent.slice(-8))}`);
  }
});
