// Two ends of a stream over connections that break at random: all frames arrive, once and in order.

import { deepStrictEqual, ok } from "node:assert";
import { test } from "node:test";

import { decode } from "@msgpack/msgpack";

import { Incoming, Outgoing } from "../../dist/esm/wire/stream.js";

const FRAMES = 400;
const WINDOW = 3000;

/** Returns random numbers below `limit`, the same ones for the same seed, so that a failure can be repeated. */
function dice(seed) {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

/** One direction: frames one way, acknowledgements the other way, each in order; a cut loses both. */
class Direction {
  sender = new Outgoing({ window: WINDOW, maxBatch: 1 << 20, maxQueue: 1 << 20 });
  receiver = new Incoming(WINDOW);
  got = [];
  #there = [];
  #back = [];
  #queued = 0;

  queue(length) {
    if (this.#queued === FRAMES) return;
    this.sender.queue({ type: 4, client: this.#queued, payload: "x".repeat(length) });
    this.#queued += 1;
  }

  send() {
    const before = this.sender.inFlight;
    const batch = this.sender.take(0);
    if (batch === undefined) return;
    ok(before < WINDOW, "sent without credit");
    this.#there.push(batch);
  }

  deliver() {
    const batch = this.#there.shift();
    if (batch === undefined) return;
    const [number, , frames] = decode(batch);
    if (!this.receiver.arrived(number, batch.length)) return;
    this.got.push(...frames.map((frame) => frame[1]));
    this.receiver.takeAll();
  }

  acknowledge() {
    if (this.receiver.hasUnsentAck) this.#back.push(this.receiver.takeAck());
  }

  hear() {
    const ack = this.#back.shift();
    if (ack !== undefined) this.sender.acknowledge(ack);
  }

  cut() {
    this.#back = [];
    this.#there = this.sender.resume(this.receiver.received);
    this.receiver.takeAck();
  }

  get done() {
    return this.got.length === FRAMES && this.sender.inFlight === 0;
  }
}

for (let seed = 1; seed <= 30; seed += 1)
  test(`seed ${seed}`, () => {
    const roll = dice(seed);
    const way = new Direction();
    const steps = [
      () => way.queue(roll(500)),
      () => way.send(),
      () => way.deliver(),
      () => way.acknowledge(),
      () => way.hear(),
      () => roll(5) || way.cut(),
    ];
    for (let turn = 0; !way.done; turn += 1) {
      ok(turn < 100_000, `stuck at ${way.got.length} of ${FRAMES}`);
      steps[roll(steps.length)]();
    }
    deepStrictEqual(way.got, [...Array(FRAMES).keys()]);
  });
