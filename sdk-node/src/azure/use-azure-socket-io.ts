// Azure's entry point, so that leaving its SDK is one changed import.

import { Server } from "socket.io";

import type { AnyServer } from "../internals.js";
import { connectTo } from "../use-moorage.js";
import { type AnyAzureOptions, linkTarget } from "./options.js";

/** As `useMoorage`, but takes Azure's options and resolves with `io`. */
export async function useAzureSocketIO<S extends Server<any, any, any, any>>(io: S, options: AnyAzureOptions): Promise<S> {
  await connectTo(io, linkTarget(options), {});
  return io;
}

Object.defineProperty(Server.prototype, "useAzureSocketIO", {
  value: function (this: AnyServer, options: AnyAzureOptions): Promise<AnyServer> {
    return useAzureSocketIO(this, options);
  },
  writable: true,
  configurable: true,
});
