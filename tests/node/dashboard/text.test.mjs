// The modules that need no browser.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

const STATIC = "../../../src/moorage/control/dashboard/static";
const { UNKNOWN, bytes, clock, count, decimal, duration, latency, plural, short } = await import(`${STATIC}/widgets/format.js`);
const { link, parse } = await import(`${STATIC}/router.js`);
const { Rates } = await import(`${STATIC}/rates.js`);

const each = (format, table) => {
  for (const [value, text] of table) assert.equal(format(value), text, String(value));
};

describe("text", () => {
  it("of numbers has few digits", () => {
    each(count, [
      [0, "0"],
      [1234567, "1,234,567"],
      [2.6, "3"],
    ]);
    each(decimal, [
      [0, "0"],
      [0.001, "<0.01"],
      [0.251, "0.25"],
      [12.34, "12.3"],
      [1234.5, "1,235"],
      [7, "7"],
    ]);
    each(short, [
      [0.5, "0.5"],
      [950, "950"],
      [12_000, "12k"],
      [1_500_000, "1.5M"],
    ]);
    each(bytes, [
      [0, "0 B"],
      [1023, "1023 B"],
      [1536, "1.5 KB"],
      [56 * 1024 * 1024, "56 MB"],
      [5e15, "4547 TB"],
    ]);
  });

  it("of times has two units", () => {
    each(duration, [
      [0, "0 s"],
      [59.9, "59 s"],
      [60, "1 min"],
      [3725, "1 h 2 min"],
      [86_400, "1 d"],
      [90_061, "1 d 1 h"],
      [3605, "1 h"],
      [-1, "0 s"],
    ]);
    each(latency, [
      [0.0004, "0.4 ms"],
      [0.25, "250 ms"],
      [1.25, "1.3 s"],
    ]);
    assert.match(clock(1_700_000_000.25, true), /^\d\d:\d\d:20\.250$/);
    assert.equal(plural(1, "client"), "1 client");
    assert.equal(plural(2000, "client"), "2,000 clients");
  });

  it("of what is not known is a dash", () => {
    for (const format of [count, decimal, bytes, duration, latency, clock]) {
      for (const value of [null, undefined, NaN, Infinity, "7"]) assert.equal(format(value), UNKNOWN);
    }
  });
});

describe("an address", () => {
  it("names a page, an id and filters, and comes back from its link", () => {
    for (const [name, params, id] of [
      ["rooms", { prefix: "a b&c=d#e" }, ""],
      ["connections", {}, "x/y?z#%"],
      ["connections", { user: "<b>", hub: "Grüße" }, ""],
    ]) {
      assert.deepEqual(parse(link(name, params, id)), { name, id, params });
    }
    assert.equal(link("rooms", { prefix: "", hub: null, namespace: undefined }), "#/rooms");
    assert.deepEqual(parse(""), { name: "overview", id: "", params: {} });
    assert.equal(parse("#/connections/%E0%A4%A").id, "%E0%A4%A", "a link that was cut off");
  });
});

describe("a rate", () => {
  it("needs two totals, and is unknown after a restart", (t) => {
    let now = 0;
    t.mock.method(performance, "now", () => now);
    const rates = new Rates();
    const take = (total) => rates.take([{ name: "a", total }], ({ name }) => name, ["total"]);
    take(100);
    assert.equal(rates.text("a", "total"), UNKNOWN);
    now += 2000;
    take(150);
    assert.equal(rates.text("a", "total"), "25");
    now += 100;
    take(160);
    assert.equal(rates.text("a", "total"), "25", "two answers at nearly the same time");
    now += 2000;
    take(10);
    assert.equal(rates.text("a", "total"), UNKNOWN);
  });
});
