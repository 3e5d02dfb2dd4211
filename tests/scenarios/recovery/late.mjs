// Stock clients that print, in JSON lines, each connect and each event "all".
// Arguments: URL of the service, number of clients.

import { createRequire } from "node:module";

const [url, count] = process.argv.slice(2);
const require = createRequire(new URL("../../../sdk-node/package.json", import.meta.url));
const { io: connect } = require("socket.io-client");

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
for (let client = 0; client < Number(count); client += 1) {
  const transports = client % 2 ? ["polling"] : ["websocket"];
  const socket = connect(url, { transports, forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 300 });
  socket.on("connect", () => say({ client, id: socket.id, recovered: socket.recovered }));
  socket.on("all", (number, app) => say({ client, number, app }));
}
