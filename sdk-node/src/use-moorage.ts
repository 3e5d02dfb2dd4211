// `useMoorage`: connects a Socket.IO server to a service.

import type { Server } from "socket.io";
import { PacketType } from "socket.io-parser";

import { MoorageAdapter, type AdapterContext } from "./adapter/adapter.js";
import { namePaths } from "./adapter/encoding.js";
import { type DispatchContext, Dispatcher, FrameBuffer } from "./dispatcher.js";
import { Engine } from "./engine/engine.js";
import { type AnyNamespace, type AnyServer, type EngineInternals, insideNamespace, insideServer, isSupported, SUPPORTED } from "./server/internals.js";
import { Fleet } from "./link/fleet.js";
import type { ClientLink, LinkHandler, LinkOptions } from "./link/types.js";
import { Moorage } from "./moorage.js";
import { applyRecovery, wantedRecovery } from "./server/recovery.js";
import { clientAddress, type MoorageOptions, type Target, target } from "./options.js";
import { handOverOnSigterm } from "./sigterm.js";
import { loadTracing } from "./tracing.js";
import { VERSION } from "./version.js";
import { MoorageError } from "./wire/errors.js";

const REQUESTS_TIMEOUT = 5_000;
/** Milliseconds to wait for sessions at the other nodes. */
const COVER_WAIT = 2_000;

/** The servers that `useMoorage` was called with, unless it failed. */
const targets = new WeakMap<AnyServer, Target>();

/** The service of `io`, once `useMoorage` was called with it. */
export const targetOf = (io: AnyServer): Target | undefined => targets.get(io);

/** Connects `io` to the service that `options` name. From then on, clients connect through the service, and emits
 * reach the clients of all app servers of the hub. Resolves once the link is up. Rejects with a `MoorageError` that
 * names cause and remedy, and leaves `io` as it was. */
export async function useMoorage(io: Server<any, any, any, any>, options: MoorageOptions): Promise<Moorage> {
  const service = target(options);
  return connectTo(io, service, options);
}

type ConnectOptions = Omit<MoorageOptions, "hub" | "connectionString"> & Pick<LinkOptions, "via">;

/** Like `useMoorage`, for callers that have the service's address in another form. */
export async function connectTo(io: AnyServer, service: Target, options: ConnectOptions): Promise<Moorage> {
  validate(io);
  targets.set(io, service);
  const buffers = new Map<ClientLink, FrameBuffer>();
  const handlerOf = (link: ClientLink): LinkHandler => {
    const buffer = new FrameBuffer();
    buffers.set(link, buffer);
    return buffer.handler;
  };
  const loading = loadTracing();
  const closing = watchClose(io, loading);
  try {
    const recovery = wantedRecovery(io, options.quietRecovery === true);
    const traces = await loading;
    const fleet = await Fleet.connect({ ...linkOptions(options), ...recovery, traces, ...service, handlerOf, signal: closing.signal });
    closing.stop();
    const { moorage, context } = install(io, fleet, service, options);
    if (closing.signal.aborted) {
      context.engine.close();
      await moorage.end();
    }
    await fleet.covered(COVER_WAIT);
    fleet.handlerOf = (link) => {
      const dispatcher = new Dispatcher(link, context);
      buffers.get(link)?.release(dispatcher, moorage.report);
      return dispatcher;
    };
    return moorage;
  } catch (error) {
    closing.stop();
    targets.delete(io);
    throw error;
  }
}

/** Returns a signal that `io.close()` aborts, until `stop` is called. An app that is stopped before the link is up
 * must not be kept running by the link, nor get clients. */
function watchClose(io: AnyServer, ready: Promise<unknown>): { signal: AbortSignal; stop: () => void } {
  const controller = new AbortController();
  const { close } = io;
  const watched: typeof close = async (done) => {
    controller.abort();
    // The link must see it before socket.io closes the engine, which a server without an HTTP server gets from the link.
    await ready;
    return close.call(io, done);
  };
  io.close = watched;
  const stop = (): void => {
    if (io.close === watched) io.close = close;
  };
  return { signal: controller.signal, stop };
}

function linkOptions({ serverId, maxQueueBytes, connectTimeout, retryFirst, emitOnly, request, via }: ConnectOptions): Partial<ConnectOptions> & { sdk: string } {
  const given = Object.entries({ serverId, maxQueueBytes, connectTimeout, retryFirst, emitOnly, request, via });
  return { sdk: `moorage-node/${VERSION}`, ...Object.fromEntries(given.filter(([, value]) => value !== undefined)) };
}

/** Raises `MoorageError` (server, socket.io-version, parser). */
function validate(io: AnyServer): void {
  if (typeof io?.bind !== "function" || typeof io.adapter !== "function")
    throw new MoorageError("server", "useMoorage: the first argument must be a socket.io Server");
  if (!isSupported(io)) {
    const text = `useMoorage: this release of socket.io is not supported. Supported are ${SUPPORTED}: npm install socket.io@4.8`;
    throw new MoorageError("socket.io-version", text);
  }
  if (targets.has(io)) throw new MoorageError("server", "useMoorage: this server has been connected to a service before; create a new one");
  const [text] = insideServer(io).encoder.encode({ type: PacketType.CONNECT, nsp: "/", data: { sid: "x" } });
  // The service reads CONNECT and DISCONNECT packets, so packets must have Socket.IO's standard form. A custom parser
  // may still change the JSON inside.
  if (text !== '0{"sid":"x"}')
    throw new MoorageError("parser", "useMoorage: Moorage cannot read the packets of this server's option `parser`; remove the option");
}

function install(io: AnyServer, fleet: Fleet, service: Target, options: ConnectOptions): { moorage: Moorage; context: DispatchContext } {
  const log = options.log ?? ((line: string) => console.warn(`moorage: ${line}`));
  const report = (error: Error): void => moorage.report(error);
  const native = insideServer(io).engine;
  const engine = new Engine(fleet, { ...insideServer(io).opts, ...native?.opts }, report, () => void moorage.end().catch(report));
  const moorage: Moorage = new Moorage(io, fleet, engine, service, log);
  const adapters = new Map<string, MoorageAdapter>();
  const requestsTimeout = options.requestsTimeout ?? REQUESTS_TIMEOUT;
  const { restorations } = engine;
  const recovers = applyRecovery(io, fleet.service?.recovery ?? 0, log);
  const context: AdapterContext = { uplink: fleet, report, adapters, restorations, recovers, requestsTimeout, closed: () => moorage.isClosed };
  if (insideServer(io).opts.cors ?? native?.opts.cors) {
    log("the option `cors` has no effect behind Moorage: list the origins in the service's setting cors.allow_origins");
  }
  closeWithLink(io, moorage);
  if (options.handOverOnSigterm) moorage.once("closed", handOverOnSigterm(() => moorage.handOver(), report));
  if (fleet.service) warnOfLargeMessages(engine.opts.maxHttpBufferSize, fleet.service.maxPayload, log);
  engine.once("connection", () => warnOfIdle(io, log));
  namePaths(insideServer(io).encoder);
  io.bind(engine as unknown as Parameters<AnyServer["bind"]>[0]);
  if (native) replaceEngine(native, engine, clientAddress(service));
  io.adapter(
    class extends MoorageAdapter {
      constructor(namespace: AnyNamespace) {
        super(namespace, context);
      }
    },
  );
  return { moorage, context: { io, engine, adapters, report, onDrain: (seconds) => moorage.emit("drain", seconds) } };
}

/** Extends `io.close()`: it frees the HTTP port at once, as natively, but ends only when the service knows of it. Apps
 * exit then, and without a goodbye the service would take the link for lost and keep the clients waiting. */
function closeWithLink(io: AnyServer, moorage: Moorage): void {
  const close = io.close.bind(io);
  io.close = async (done?: (error?: Error) => void): Promise<void> => {
    let failure: Error | undefined;
    await close((error) => (failure = error));
    await moorage.end();
    done?.(failure);
  };
}

/** The service closes clients whose messages are larger than its own limit. */
function warnOfLargeMessages(wanted: number, maxPayload: number, log: (line: string) => void): void {
  if (maxPayload === 0 || wanted <= maxPayload) return;
  log(
    `maxHttpBufferSize is ${wanted}, but the service accepts at most ${maxPayload} bytes in one message of a client ` +
      "(its setting limits.max_payload), and closes clients that send more",
  );
}

/** An app server that gets clients and has no handler for them is most likely a worker that only emits. */
function warnOfIdle(io: AnyServer, log: (line: string) => void): void {
  const { parentNsps, _nsps } = insideServer(io);
  const serves = (namespace: AnyNamespace): boolean =>
    namespace.listenerCount("connection") > 0 || namespace.listenerCount("connect") > 0 || insideNamespace(namespace)._fns.length > 0;
  if (parentNsps.size > 0 || [..._nsps.values()].some(serves)) return;
  log(
    "clients connect to this app server, but it has no handler for them. If it only emits, pass emitOnly: true; " +
      "then the clients go to the app servers that have handlers",
  );
}

/** Replaces the engine that listens on the app's own HTTP server. It refuses clients from now on, because they would
 * not receive any emits. Its middlewares and listeners move to the new engine. */
function replaceEngine(native: EngineInternals, engine: Engine, { url, path }: { url: string; path: string }): void {
  for (const middleware of native.middlewares ?? []) engine.use(middleware);
  for (const event of native.eventNames()) {
    // The first "connection" listener is the Socket.IO server's own; it is bound to the new engine already.
    const listeners = native.rawListeners(event).slice(event === "connection" ? 1 : 0);
    for (const listener of listeners) engine.on(event, listener as (...args: unknown[]) => void);
  }
  const where = `This app's clients connect to Moorage: io("${url}", { path: "${path}" })`;
  native.opts.allowRequest = (_request, decide) => decide(where, false);
  native.close();
}
