// Stock `socket.io` on a port of its own: what the protocols' own suites are measured against.

import { createServer } from "node:http";
import { createRequire } from "node:module";

import { listen, notice } from "../lines.mjs";
import { mirror } from "./socketio.mjs";

const { Server } = createRequire(new URL("../../tests/node/package.json", import.meta.url))("socket.io");

let io;

listen({
  /** The server's URL. */
  async start({ options }) {
    const http = createServer();
    io = new Server(http, options);
    await new Promise((listening) => http.listen(0, "127.0.0.1", listening));
    return `http://127.0.0.1:${http.address().port}`;
  },

  define({ ns }) {
    io.of(ns).on("connection", mirror);
  },
});
notice("ready", {});
