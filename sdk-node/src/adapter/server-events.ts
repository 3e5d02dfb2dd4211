// `serverSideEmit`: events between app servers.

import { RESERVED_EVENTS, RESERVED_SERVER_EVENTS } from "./reserved.js";
import { insideNamespace, type AnyNamespace } from "../server/internals.js";
import type { ClientLink } from "../link/types.js";
import type { Report, Uplink } from "../uplink.js";
import { type Part, Type } from "../wire/frames.js";
import { encodePacket, PacketReader, PacketType, standard } from "./encoding.js";

type Callback = (error: (Error & { missing?: readonly string[] }) | null, responses: unknown[]) => void;

const reader = new PacketReader(standard.decoder);

/** Sends an event to the other app servers. `args`: the event's name, its arguments, and optionally a callback for the
 * answers. The callback gets an error with `missing`, the ids of the app servers that did not answer within `timeout`
 * ms. */
export function sendServerEvent(uplink: Uplink, nsp: string, args: readonly unknown[], timeout: number, report: Report): void {
  const last = args.at(-1);
  const callback = typeof last === "function" ? (last as Callback) : undefined;
  const data = callback ? args.slice(0, -1) : [...args];
  // The receiver's decoder would reject it.
  if (RESERVED_EVENTS.has(data[0] as string)) throw new Error(`"${String(data[0])}" is a reserved event name`);
  const payload = encodePacket(standard.encoder, { type: PacketType.EVENT, nsp, data });
  if (!callback) {
    uplink.send({ type: Type.Tell, ref: 0, namespace: nsp, timeout: 0, payload });
    return;
  }
  const responses: unknown[] = [];
  const unreadable: string[] = [];
  const onPart = (part: Part): void => {
    if (part.type !== Type.Answer) return;
    const answer = reader.arguments(PacketType.ACK, part.payload);
    if (answer) responses.push(answer[0]);
    else unreadable.push(part.sender);
  };
  const make = (ref: number) => ({ type: Type.Tell, ref, namespace: nsp, timeout, payload }) as const;
  uplink
    .request(make, { onPart })
    .then(
      ({ missing }) => {
        const without = [...missing, ...unreadable];
        callback(without.length > 0 ? missingAnswers(without, responses.length) : null, responses);
      },
      (error: Error) => callback(error, responses),
    )
    .catch(report);
}

/** Answers a `serverSideEmit` after the link was closed: there are no other app servers. */
export function answerWithoutServers(args: readonly unknown[]): void {
  const callback = args.at(-1);
  if (typeof callback === "function") process.nextTick(callback as Callback, null, []);
}

function missingAnswers(missing: readonly string[], received: number): Error & { missing: readonly string[] } {
  const expected = received + missing.length;
  const text = `timeout reached: only ${received} responses received out of ${expected}, none from ${missing.join(", ")}`;
  return Object.assign(new Error(text), { missing });
}

/** Passes an event of another app server to the namespace's listeners. Raises `Error` for events that must not be
 * passed on: listeners of `RESERVED_SERVER_EVENTS` expect socket.io's own arguments, and "error" without a listener
 * throws. */
export function receiveServerEvent(link: ClientLink, namespace: AnyNamespace, ref: number, payload: string): void {
  const args = reader.arguments(PacketType.EVENT, payload);
  if (!args || args.length === 0) throw new Error("serverSideEmit: another app server sent an invalid event");
  const [name] = args as [string];
  if (RESERVED_SERVER_EVENTS.has(name) || (name === "error" && namespace.listenerCount(name) === 0))
    throw new Error(`serverSideEmit: another app server sent the event "${name}", which is reserved`);
  if (ref !== 0) args.push(replier(link, namespace.name, ref));
  // In a tick of its own, so that a listener's exception does not get into the link's code.
  process.nextTick(() => insideNamespace(namespace)._onServerSideEmit(args));
}

/** The answer goes to the session in which the question came. */
function replier(link: ClientLink, nsp: string, ref: number): (answer: unknown) => void {
  const { sessionId } = link;
  let called = false;
  return (answer) => {
    // In another session the number of the question is invalid, or belongs to another question.
    if (called || link.sessionId !== sessionId) return;
    const payload = encodePacket(standard.encoder, { type: PacketType.ACK, nsp, id: 0, data: [answer] });
    called = true;
    link.send({ type: Type.Reply, ref, payload });
  };
}
