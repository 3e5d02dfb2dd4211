// Traces of OpenTelemetry: the service's span of an event goes on in the handler.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";

import { Service } from "../../../tests/node/lib/service.mjs";
import { poll } from "../../../tests/node/lib/waiting.mjs";
import { world } from "../support/world.mjs";

const exporter = new InMemorySpanExporter();
const bodies = [];
const collector = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  bodies.push(Buffer.concat(parts).toString("latin1"));
  response.end();
});
let service;

before(async () => {
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  collector.listen(0, "127.0.0.1");
  await once(collector, "listening");
  const env = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `http://127.0.0.1:${collector.address().port}/v1/traces`, OTEL_BSP_SCHEDULE_DELAY: "50" };
  service = await Service.start({ env });
});
after(async () => {
  await service.stop();
  collector.close();
});

const finished = (name) => exporter.getFinishedSpans().filter((span) => span.name === `process ${name}`);
const current = () => trace.getActiveSpan()?.spanContext();

test("a handler runs in a span of the service's trace, which ends with the ack", async (t) => {
  const w = world(t, service);
  const io = await w.app();
  let inside;
  io.on("connection", (socket) => {
    socket.on("echo", async (text, answer) => {
      await new Promise((done) => setTimeout(done, 5));
      inside = current();
      answer(text);
    });
  });
  const client = await w.client();
  assert.equal(await client.emitWithAck("echo", "hello"), "hello");
  await poll(() => finished("echo").length > 0, "the handler's span");
  const [span] = finished("echo");
  assert.deepEqual(inside, span.spanContext());
  assert.ok(span.parentSpanContext.isRemote);
  assert.equal(span.attributes["messaging.destination.name"], "/");
  await poll(() => bodies.some((body) => body.includes("receive echo") && body.includes("handled")), "the service's span");
  const body = bodies.find((found) => found.includes("receive echo"));
  assert.ok(body.includes(Buffer.from(span.spanContext().traceId, "hex").toString("latin1")), "one trace");
});

test("binary events, events without an ack, and the events between", async (t) => {
  const w = world(t, service);
  const io = await w.app();
  const seen = [];
  io.of("/files").on("connection", (socket) => {
    socket.on("file", (bytes) => seen.push([bytes.length, current()?.traceId]));
  });
  const client = await w.client({ nsp: "/files" });
  client.emit("file", Buffer.alloc(3));
  client.emit("file", Buffer.alloc(5));
  await poll(() => finished("file").length === 2, "the spans");
  const ids = finished("file").map((span) => span.spanContext().traceId);
  assert.deepEqual(seen, [[3, ids[0]], [5, ids[1]]]);
  assert.notEqual(ids[0], ids[1]);
  assert.equal(finished("file")[0].attributes["messaging.destination.name"], "/files");
  assert.equal(current(), undefined);
});

test("an event that is never answered ends its span with the connection", async (t) => {
  const w = world(t, service);
  const io = await w.app();
  io.on("connection", (socket) => socket.on("silent", () => {}));
  const client = await w.client();
  client.emit("silent", () => {});
  await new Promise((done) => setImmediate(done));
  assert.equal(finished("silent").length, 0);
  client.disconnect();
  await poll(() => finished("silent").length === 1, "the span");
});
