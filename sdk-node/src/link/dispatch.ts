// Passes each frame of the service to the handler method or the pending request that it belongs to.

import { Type, type FromService } from "../wire/frames.js";
import type { Requests } from "./requests.js";
import type { LinkHandler } from "./types.js";

/** The frames that a numbered batch may contain. */
export type Numbered = Exclude<FromService, { type: typeof Type.Hello }>;

/** Handles one frame. Throws what the handler throws. */
export function dispatch(frame: Numbered, handler: LinkHandler, requests: Requests): void {
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
    case Type.Asked:
    case Type.Answer:
    case Type.Sockets:
    case Type.Data:
    case Type.Servers:
      return requests.part(frame);
    case Type.Done:
      return requests.done(frame);
    case Type.Failed:
      if (!requests.failed(frame)) handler.failed(frame);
      return;
    case Type.Query:
      return handler.query(frame.ref, frame.namespace, frame.sockets);
    case Type.Told:
      return handler.told(frame.ref, frame.sender, frame.namespace, frame.payload);
    case Type.Drain:
      return handler.drain(frame.seconds);
  }
}
