// Azure's entry point: leaving Azure's SDK takes one changed import.

import { type DefaultEventsMap, Server } from "socket.io";

import type { AnyServer } from "../server/internals.js";
import { connectTo } from "../use-moorage.js";
import { type AnyAzureOptions, azureTarget, proxyOf } from "./options.js";

/** Like `useMoorage`, but takes Azure's options and resolves with `io`. */
export async function useAzureSocketIO<S extends Server<any, any, any, any>>(io: S, options: AnyAzureOptions): Promise<S> {
  await connectTo(io, azureTarget(options), proxyOf(options));
  return io;
}

Object.defineProperty(Server.prototype, "useAzureSocketIO", {
  value: function (this: AnyServer, options: AnyAzureOptions): Promise<AnyServer> {
    return useAzureSocketIO(this, options);
  },
  writable: true,
  configurable: true,
});

declare module "socket.io" {
  // The type parameters must repeat socket.io's own declaration exactly.
  interface Server<
    ListenEvents extends { [event: string]: any } = DefaultEventsMap,
    EmitEvents extends { [event: string]: any } = ListenEvents,
    ServerSideEvents extends { [event: string]: any } = DefaultEventsMap,
    SocketData = any,
  > {
    /** Like `useMoorage`, with the options and the result of Azure's SDK. */
    useAzureSocketIO(options: AnyAzureOptions): Promise<this>;
  }
}
