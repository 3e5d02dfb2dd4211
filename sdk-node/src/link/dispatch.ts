// Passes each frame of the service to the handler method or the pending request that it belongs to.

import { Type, type FromService, type Nodes } from "../wire/frames.js";
import type { Requests } from "./requests.js";
import type { LinkHandler } from "./types.js";

/** The frames that a numbered batch may contain. */
export type Numbered = Exclude<FromService, { type: typeof Type.Hello }>;

/** Where a frame came from. */
interface Origin {
  readonly handler: LinkHandler;
  readonly requests: Requests;
  /** The name of the node. */
  readonly nodeName: string;
  nodes(frame: Nodes): void;
}

/** Handles one frame. Throws the exception of the handler. */
export function dispatch(frame: Numbered, from: Origin): void {
  const { handler, requests } = from;
  switch (frame.type) {
    case Type.Packet:
      return handler.packet(frame.client, frame.payload);
    case Type.Open:
      return handler.open(frame.client, frame.id, frame.user, frame.handshake);
    case Type.Closed:
      return handler.closed(frame.client, frame.number, frame.reason, frame.cause);
    case Type.Left:
      return handler.left(frame.client, frame.namespace);
    case Type.Upgraded:
      return handler.upgraded(frame.client, frame.transport);
    case Type.Moved:
      return handler.moved(frame.client, frame.namespace, frame.joined, frame.rooms);
    case Type.Recover:
      return handler.recover(frame.client, frame.namespace, frame.packet, frame.sid, frame.rooms, frame.data);
    case Type.Parked:
      return handler.parked(frame.client, frame.cause);
    case Type.Back:
      return handler.back(frame.client, frame.namespace, frame.sid, frame.was);
    case Type.Freeze:
      return handler.freeze(frame.client);
    case Type.Adopt:
      return handler.adopt(frame);
    case Type.Released:
      return handler.released(frame.client);
    case Type.Resume:
      return handler.resume(frame.client);
    case Type.Trace:
      return handler.trace(frame.client, frame.ref, frame.parent, frame.state);
    case Type.Asked:
    case Type.Answer:
    case Type.Sockets:
    case Type.Data:
    case Type.Servers:
      return requests.part(frame, from);
    case Type.Done:
      return requests.done(frame, from);
    case Type.Failed:
      if (!requests.failed(frame, from, from.nodeName)) handler.failed(frame);
      return;
    case Type.Query:
      return handler.query(frame.ref, frame.namespace, frame.sockets);
    case Type.Told:
      return handler.told(frame.ref, frame.sender, frame.namespace, frame.payload);
    case Type.Drain:
      return handler.drain(frame.seconds);
    case Type.Nodes:
      return from.nodes(frame);
  }
}
