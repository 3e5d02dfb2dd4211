// The planner, step by step and with random histories.

import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { test } from "node:test";

import { Planner } from "../../dist/esm/link/planner.js";

const row = (id, cover = true) => ({ id, name: `name ${id}`, url: `http://${id}`, region: "eu", cover });
const nodes = (version, ...rows) => ({ type: 51, version, rows: rows.map((one) => (typeof one === "string" ? row(one) : one)) });
const told = (orders) => orders.map(({ view, frame }) => [view.node, frame.term, frame.home, frame.fence, frame.nodes.join("")]);
const ids = ({ dial, drop }) => [dial.map(({ id }) => id).join(""), drop.map(({ node }) => node).join("")];

/** A planner with sessions at these nodes, all up; the first is the home. */
function covering(...all) {
  const planner = new Planner();
  const views = all.map((node, at) => {
    const view = planner.add(at === 0 ? undefined : row(node));
    view.up = true;
    planner.began(view, node);
    planner.listed(view, nodes(1, ...all));
    return view;
  });
  return { planner, views };
}

test("one session is told nothing; a second one is fenced, and all are told the same", () => {
  const planner = new Planner();
  const a = planner.add();
  deepStrictEqual(planner.began(a, "a"), []);
  a.up = true;
  planner.listed(a, nodes(1, "a", "b", row("c", false)));
  strictEqual(planner.covered, false);
  deepStrictEqual(ids(planner.steps()), ["b", ""]);
  const b = planner.add(row("b"));
  deepStrictEqual(ids(planner.steps()), ["", ""]);
  deepStrictEqual(told(planner.began(b, "b")), [["a", 1, true, false, "ab"], ["b", 1, false, true, "ab"]]);
  strictEqual(planner.covered, true);
  deepStrictEqual([a.name, a.url, a.region], ["name a", "http://a", "eu"]);
});

test("one that takes the place of the first session is told; without a cluster it is not", () => {
  const planner = new Planner();
  const view = planner.add();
  planner.began(view, "a");
  planner.lost(view);
  deepStrictEqual(planner.began(view, "a"), [], "nobody has listed nodes");
  planner.listed(view, nodes(1, "a", "b"));
  planner.lost(view);
  deepStrictEqual(told(planner.began(view, "b")), [["b", 1, true, false, "b"]], "what a has forwarded may be on its way to b");
});

test("a lost session is left out; a lost home is replaced by a session that is up", () => {
  const { planner, views: [a, b, c] } = covering("a", "b", "c");
  deepStrictEqual(told(planner.lost(c)), [["a", 3, true, false, "ab"], ["b", 3, false, false, "ab"]]);
  deepStrictEqual(planner.lost(c), []);
  deepStrictEqual(told(planner.began(c, "c")), [["a", 4, true, false, "abc"], ["b", 4, false, false, "abc"], ["c", 4, false, true, "abc"]]);
  b.up = false;
  deepStrictEqual(told(planner.lost(a)), [["b", 5, false, false, "bc"], ["c", 5, true, false, "bc"]]);
  deepStrictEqual(told(planner.lost(b)), [["c", 6, true, false, "c"]]);
  deepStrictEqual([planner.lost(c), planner.home], [[], undefined]);
  deepStrictEqual([told(planner.began(b, "b")), planner.home], [[["b", 7, true, false, "b"]], b], "nobody could mark it");
});

test("a node is gone only if its link is down and no other node lists it", () => {
  const { planner, views: [a, b] } = covering("a", "b", "c");
  planner.listed(a, nodes(2, "a", "c"));
  deepStrictEqual(ids(planner.steps()), ["", ""], "its link is up");
  b.up = false;
  deepStrictEqual(ids(planner.steps()), ["", ""], "c lists it");
  planner.listed([...planner.views][2], nodes(2, "a", "c"));
  deepStrictEqual(ids(planner.steps()), ["", "b"]);
  a.up = false;
  [...planner.views][2].up = false;
  deepStrictEqual(ids(planner.steps()), ["", ""], "nothing is known while all are down");
});

test("the home alone decides what is covered, and an outdated list is ignored", () => {
  const { planner, views: [a, b] } = covering("a", "b");
  planner.listed(a, nodes(3, "a", "b", "c"));
  planner.listed(a, nodes(2, "a", "b", "d"));
  planner.listed(b, nodes(9, "a", "b", "e"));
  deepStrictEqual(ids(planner.steps()), ["c", ""]);
  planner.listed(a, nodes(4, "a", row("b", false)));
  deepStrictEqual(ids(planner.steps()), ["", "b"]);
  a.up = false;
  deepStrictEqual(ids(planner.steps()), ["", ""], "the home marks nothing while it is down");
});

test("another node than the wanted one is accepted only while no link is up", () => {
  const { planner, views: [a, b] } = covering("a", "b");
  deepStrictEqual([planner.accepts(a, "a"), planner.accepts(a, "x"), planner.accepts(planner.add(), "x")], [true, false, true]);
  b.up = false;
  deepStrictEqual([planner.accepts(a, "x"), planner.accepts(a, "b")], [true, false], "b may be resumed");
  planner.lost(b);
  strictEqual(planner.accepts(a, "b"), true);
});

for (let seed = 1; seed <= 20; seed += 1)
  test(`random histories, seed ${seed}: terms grow, one session is the home, and all know all`, () => {
    let state = seed;
    const random = (below) => (state = (state * 48271) % 2147483647) % below;
    const planner = new Planner();
    const known = new Map();
    let term = 0;
    const obey = (orders) => {
      if (orders.length === 0) return;
      const [{ frame }] = orders;
      ok(frame.term > term, "the term grows");
      term = frame.term;
      strictEqual(orders.filter((order) => order.frame.home).length, 1);
      deepStrictEqual(orders.map(({ view }) => view), planner.alive);
      for (const order of orders) {
        deepStrictEqual([order.frame.term, order.frame.nodes], [term, planner.alive.map(({ node }) => node)]);
        if (order.frame.fence) ok(!known.has(order.view), "only a new session is fenced");
        known.set(order.view, order.frame);
      }
    };
    const all = [..."abcdef"];
    const first = planner.add();
    first.up = true;
    obey(planner.began(first, "a"));
    for (let step = 0; step < 300; step += 1) {
      const views = [...planner.views];
      const view = views[random(views.length)];
      const event = random(4);
      if (event === 0 && view.alive) planner.listed(view, nodes(step, ...all.filter(() => random(3) > 0)));
      else if (event === 1) view.up = view.alive && !view.up;
      else if (event === 2 && planner.alive.length > 1) {
        known.delete(view);
        obey(planner.lost(view));
        view.up = false;
      } else if (!view.alive && planner.accepts(view, view.node)) {
        obey(planner.began(view, view.node));
        view.up = true;
      }
      const { dial, drop } = planner.steps();
      for (const gone of drop) {
        known.delete(gone);
        obey(planner.lost(gone));
        planner.remove(gone);
      }
      for (const one of dial) planner.add(one);
      ok(planner.home && planner.alive.includes(planner.home));
      strictEqual(new Set([...planner.views].map(({ node }) => node)).size, planner.views.size);
    }
  });
