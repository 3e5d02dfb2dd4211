// Puts a Socket.IO server behind a service.

import type { Server } from "socket.io";
import { PacketType } from "socket.io-parser";

import { MoorageAdapter, type Surroundings } from "./adapter/adapter.js";
import { namePaths } from "./adapter/encoding.js";
import { Dispatch, Gate } from "./dispatch.js";
import { Engine } from "./engine/engine.js";
import { type AnyNamespace, type AnyServer, type EngineInternals, insideNamespace, insideServer, isSupported, SUPPORTED } from "./internals.js";
import { Link } from "./link/link.js";
import type { LinkOptions } from "./link/types.js";
import { Moorage } from "./moorage.js";
import { clientAddress, type MoorageOptions, type Target, target } from "./options.js";
import { VERSION } from "./version.js";
import { MoorageError } from "./wire/errors.js";

const REQUESTS_TIMEOUT = 5_000;

/** The servers that are, or are just being put, behind a service. */
const targets = new WeakMap<AnyServer, Target>();

/** Where `io`'s service is, once `useMoorage` was called. */
export const targetOf = (io: AnyServer): Target | undefined => targets.get(io);

/** Puts `io` behind the service that `options` name: from then on its clients come through it, and what it
 * emits reaches the clients of all app servers of the hub. Resolves once the link is up; rejects with a
 * `MoorageError` that names cause and fix, and leaves `io` as it was. */
export async function useMoorage(io: Server<any, any, any, any>, options: MoorageOptions): Promise<Moorage> {
  const to = target(options);
  return connectTo(io, to, options);
}

type Rest = Omit<MoorageOptions, "hub" | "connectionString"> & Pick<LinkOptions, "via">;

/** The same, for whoever has another way of saying where the service is. */
export async function connectTo(io: AnyServer, to: Target, options: Rest): Promise<Moorage> {
  check(io);
  targets.set(io, to);
  const gate = new Gate();
  const early = watchClose(io);
  try {
    const link = await Link.connect({ ...linkOptions(options), ...to, handler: gate.handler, signal: early.signal });
    early.stop();
    const { moorage, dispatch, engine } = install(io, link, to, options);
    if (early.signal.aborted) {
      engine.close();
      await moorage.end();
    }
    link.handler = dispatch;
    gate.open(dispatch, moorage.report);
    return moorage;
  } catch (error) {
    early.stop();
    targets.delete(io);
    throw error;
  }
}

/** Until `stop`: `io.close()` aborts the signal. An app that is told to stop before the link is up must not be kept
 * running by it, nor get clients. */
function watchClose(io: AnyServer): { signal: AbortSignal; stop: () => void } {
  const closing = new AbortController();
  const { close } = io;
  const watched: typeof close = (done) => {
    closing.abort();
    return close.call(io, done);
  };
  io.close = watched;
  const stop = (): void => {
    if (io.close === watched) io.close = close;
  };
  return { signal: closing.signal, stop };
}

function linkOptions({ serverId, maxQueueBytes, connectTimeout, retryFirst, emitOnly, request, via }: Rest): Partial<Rest> & { sdk: string } {
  const given = Object.entries({ serverId, maxQueueBytes, connectTimeout, retryFirst, emitOnly, request, via });
  return { sdk: `moorage-node/${VERSION}`, ...Object.fromEntries(given.filter(([, value]) => value !== undefined)) };
}

/** Raises `MoorageError` (server, socket.io-version, parser). */
function check(io: AnyServer): void {
  if (typeof io?.bind !== "function" || typeof io.adapter !== "function")
    throw new MoorageError("server", "useMoorage: the first argument must be a socket.io Server");
  if (!isSupported(io)) {
    const text = `useMoorage: this server is of a release of socket.io that is not supported. Supported are ${SUPPORTED}: npm install socket.io@4.8`;
    throw new MoorageError("socket.io-version", text);
  }
  if (targets.has(io)) throw new MoorageError("server", "useMoorage: this server is behind a service already, or was; make another one");
  const [text] = insideServer(io).encoder.encode({ type: PacketType.CONNECT, nsp: "/", data: { sid: "x" } });
  // The service reads who joins and leaves a namespace, so packets must have Socket.IO's own form. What
  // a parser does to the JSON inside is its own affair.
  if (text !== '0{"sid":"x"}')
    throw new MoorageError("parser", "useMoorage: the option `parser` of this server makes packets that Moorage cannot read; leave it out");
}

function install(io: AnyServer, link: Link, to: Target, options: Rest): { moorage: Moorage; dispatch: Dispatch; engine: Engine } {
  const log = options.log ?? ((line: string) => console.warn(`moorage: ${line}`));
  const report = (error: Error): void => moorage.report(error);
  const native = insideServer(io).engine;
  const engine = new Engine(link, { ...insideServer(io).opts, ...native?.opts }, report, () => void moorage.end().catch(report));
  const moorage: Moorage = new Moorage(io, link, engine, to, log);
  const dispatch = new Dispatch(link, engine, report, (seconds) => moorage.emit("drain", seconds));
  const { adapters } = dispatch;
  const requestsTimeout = options.requestsTimeout ?? REQUESTS_TIMEOUT;
  const around: Surroundings = { uplink: link, report, adapters, requestsTimeout, closed: () => moorage.over };
  noRecovery(io, log);
  if (insideServer(io).opts.cors ?? native?.opts.cors) {
    log("the option `cors` has no effect behind Moorage: list the origins in the service's setting cors.allow_origins");
  }
  closeWithLink(io, moorage);
  if (link.service) warnOfLargeMessages(engine.opts.maxHttpBufferSize, link.service.maxPayload, log);
  engine.once("connection", () => warnOfIdle(io, log));
  namePaths(insideServer(io).encoder);
  io.bind(engine as unknown as Parameters<AnyServer["bind"]>[0]);
  if (native) replace(native, engine, clientAddress(to));
  io.adapter(
    class extends MoorageAdapter {
      constructor(namespace: AnyNamespace) {
        super(namespace, around);
      }
    },
  );
  return { moorage, dispatch, engine };
}

/** `io.close()` frees the HTTP port at once, as natively, and is over when the service knows of it: apps end their
 * process then, and what looks like a lost link would keep the clients waiting. */
function closeWithLink(io: AnyServer, moorage: Moorage): void {
  const close = io.close.bind(io);
  io.close = async (done?: (error?: Error) => void): Promise<void> => {
    let failure: Error | undefined;
    await close((error) => (failure = error));
    await moorage.end();
    done?.(failure);
  };
}

/** Sessions are the service's; recovery there would need the emits too. */
function noRecovery(io: AnyServer, log: (line: string) => void): void {
  const { opts } = insideServer(io);
  if (!opts.connectionStateRecovery) return;
  opts.connectionStateRecovery = undefined;
  log("connectionStateRecovery is off: Moorage does not support it");
}

/** Larger messages than the service takes would end the clients that send them. */
function warnOfLargeMessages(wanted: number, maxPayload: number, log: (line: string) => void): void {
  if (maxPayload === 0 || wanted <= maxPayload) return;
  log(
    `maxHttpBufferSize is ${wanted}, but the service takes at most ${maxPayload} bytes in one message of a client ` +
      "(its setting limits.max_payload), and ends clients that send more",
  );
}

/** An app server that gets clients and has no handler for them is most likely a worker that only emits. */
function warnOfIdle(io: AnyServer, log: (line: string) => void): void {
  const { parentNsps, _nsps } = insideServer(io);
  const serves = (namespace: AnyNamespace): boolean =>
    namespace.listenerCount("connection") > 0 || namespace.listenerCount("connect") > 0 || insideNamespace(namespace)._fns.length > 0;
  if (parentNsps.size > 0 || [..._nsps.values()].some(serves)) return;
  log(
    "clients connect to this app server, and it has no handler for them. If it only emits, pass emitOnly: true: " +
      "then they go to the app servers that have handlers",
  );
}

/** The engine that listens at the app's own HTTP server takes nobody any more: a client there would hear no
 * emit. What was registered with it goes on at the new one. */
function replace(native: EngineInternals, engine: Engine, { url, path }: { url: string; path: string }): void {
  for (const middleware of native.middlewares ?? []) engine.use(middleware);
  for (const event of native.eventNames()) {
    // The first to hear of connections is the Socket.IO server, which is bound to the new engine by now.
    const listeners = native.rawListeners(event).slice(event === "connection" ? 1 : 0);
    for (const listener of listeners) engine.on(event, listener as (...args: unknown[]) => void);
  }
  const where = `This app's clients connect to Moorage: io("${url}", { path: "${path}" })`;
  native.opts.allowRequest = (_request, decide) => decide(where, false);
  native.close();
}
