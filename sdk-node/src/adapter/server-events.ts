// `serverSideEmit`: events between app servers.

import { RESERVED_EVENTS, RESERVED_SERVER_EVENTS } from "./reserved.js";
import { insideNamespace, type AnyNamespace } from "../internals.js";
import type { Report, Uplink } from "../uplink.js";
import { type Part, Type } from "../wire/frames.js";
import { encodePacket, PacketReader, PacketType, standard } from "./encoding.js";

type Callback = (error: (Error & { missing?: readonly string[] }) | null, responses: unknown[]) => void;

const reader = new PacketReader(standard.decoder);

/** Tell the other app servers. `args`: the event's name, its arguments, and maybe a callback for their
 * answers, which gets an error that names in `missing` who did not answer within `timeout` ms. */
export function tell(uplink: Uplink, nsp: string, args: readonly unknown[], timeout: number, report: Report): void {
  const last = args.at(-1);
  const callback = typeof last === "function" ? (last as Callback) : undefined;
  const data = callback ? args.slice(0, -1) : [...args];
  // A decoder on the other side would refuse it.
  if (RESERVED_EVENTS.has(data[0] as string)) throw new Error(`"${String(data[0])}" is a reserved event name`);
  const payload = encodePacket(standard.encoder, { type: PacketType.EVENT, nsp, data });
  if (!callback) {
    uplink.send({ type: Type.Tell, ref: 0, namespace: nsp, timeout: 0, payload });
    return;
  }
  const responses: unknown[] = [];
  const unread: string[] = [];
  const onPart = (part: Part): void => {
    if (part.type !== Type.Answer) return;
    const answer = reader.arguments(PacketType.ACK, part.payload);
    if (answer) responses.push(answer[0]);
    else unread.push(part.sender);
  };
  const make = (ref: number) => ({ type: Type.Tell, ref, namespace: nsp, timeout, payload }) as const;
  uplink
    .request(make, { onPart })
    .then(
      ({ missing }) => {
        const without = [...missing, ...unread];
        callback(without.length > 0 ? late(without, responses.length) : null, responses);
      },
      (error: Error) => callback(error, responses),
    )
    .catch(report);
}

/** The same once there is nobody to tell. */
export function tellNobody(args: readonly unknown[]): void {
  const callback = args.at(-1);
  if (typeof callback === "function") process.nextTick(callback as Callback, null, []);
}

function late(missing: readonly string[], received: number): Error & { missing: readonly string[] } {
  const expected = received + missing.length;
  const text = `timeout reached: only ${received} responses received out of ${expected}, none from ${missing.join(", ")}`;
  return Object.assign(new Error(text), { missing });
}

/** Another app server tells: its event goes to the namespace's listeners. Raises `Error` for an event that must
 * not: listeners of `RESERVED_SERVER_EVENTS` expect socket.io's own arguments, and "error" without one throws. */
export function told(uplink: Uplink, namespace: AnyNamespace, ref: number, payload: string): void {
  const args = reader.arguments(PacketType.EVENT, payload);
  if (!args || args.length === 0) throw new Error("serverSideEmit: another app server sent what is not an event");
  const [name] = args as [string];
  if (RESERVED_SERVER_EVENTS.has(name) || (name === "error" && namespace.listenerCount(name) === 0))
    throw new Error(`serverSideEmit: another app server sent the event "${name}", which is reserved`);
  if (ref !== 0) args.push(replier(uplink, namespace.name, ref));
  // Not in the middle of the link's work: a listener that throws shall do so on its own account.
  process.nextTick(() => insideNamespace(namespace)._onServerSideEmit(args));
}

function replier(uplink: Uplink, nsp: string, ref: number): (answer: unknown) => void {
  const { sessionId } = uplink;
  let called = false;
  return (answer) => {
    // In another session the question is one that nobody asks any more, or another one.
    if (called || uplink.sessionId !== sessionId) return;
    const payload = encodePacket(standard.encoder, { type: PacketType.ACK, nsp, id: 0, data: [answer] });
    called = true;
    uplink.send({ type: Type.Reply, ref, payload });
  };
}
