// A TypeScript application that uses the package: it must compile against the built types, as an ES module and,
// copied to `consumer.cts`, as CommonJS. Nothing here runs.

import { Server, type Socket } from "socket.io";
import {
  claimsOf,
  missingServers,
  type Moorage,
  MoorageError,
  type MoorageOptions,
  negotiate,
  restorePassport,
  useAzureSocketIO,
  useMoorage,
  usePassport,
  userIdOf,
} from "moorage";

interface FromClient {
  chat: (text: string, answer: (count: number) => void) => void;
}
interface ToClient {
  said: (text: string) => void;
  who: (answer: (name: string) => void) => void;
}
interface BetweenServers {
  news: (text: string) => void;
}
interface Data {
  name: string;
}

async function main(): Promise<void> {
  const io = new Server<FromClient, ToClient, BetweenServers, Data>();
  const options: MoorageOptions = { hub: "app", connectionString: "…", serverId: "a", request: { timeout: 1 } };
  const moorage: Moorage = await useMoorage(io, options);
  moorage.on("error", (error) => error.message.toUpperCase());
  moorage.on("restored", (resumed: boolean) => resumed);
  const address: string = moorage.clientUrl + moorage.clientPath + moorage.serverId + moorage.hub;
  const count: number = moorage.clientsCount + moorage.queuedBytes + address.length;
  // @ts-expect-error: the hub is missing
  void useMoorage(io, { connectionString: "…" });
  // @ts-expect-error: no such event
  moorage.on("nonsense", () => count);

  io.on("connection", (socket: Socket<FromClient, ToClient, BetweenServers, Data>) => {
    const user: string | null = userIdOf(socket);
    const roles: readonly string[] | undefined = claimsOf(socket)["role"];
    const handedOver: boolean | undefined = socket.handedOver;
    if (handedOver) return;
    socket.data.name = `${user}${roles?.[0]}`;
    socket.on("chat", (text, answer) => answer(text.length));
  });
  const { moved, missing: stay }: { moved: number; missing: readonly string[] } = await moorage.handOver();
  address.concat(String(moved), ...stay);
  const sockets = await io.in("red").fetchSockets();
  const missing: readonly string[] = missingServers(sockets);
  const names: string[] = sockets.map((socket) => socket.data.name).concat(missing);
  const answers: string[] = await io.timeout(1000).emitWithAck("who");
  io.serverSideEmit("news", names.concat(answers).join());

  const same = await useAzureSocketIO(io, { hub: "app", connectionString: "…" });
  same.emit("said", "hello");
  const again = await io.useAzureSocketIO({ hub: "app", endpoint: "http://x", credential: { key: "…" } });
  again.emit("said", "hello");
  const handler = negotiate(io, usePassport());
  negotiate({ hub: "app", connectionString: "…" }, async (request) => ({ userId: request.url ?? "" }));
  io.engine.use(restorePassport("user"));
  void handler;

  const error = new MoorageError("link-lost", "…");
  const reason: string = error.reason;
  void reason;
  await moorage.close({ drain: 1000 });
}

void main();
