// A real `moorage dev` process on loopback.

import { spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { PYTHON } from "./python.mjs";
import { poll } from "./waiting.mjs";

export class Service {
  /** `set`: settings such as `links.grace=1s`. `env`: further variables. */
  static async start({ set = [], port = 0, key = randomBytes(16).toString("hex"), env = {} } = {}) {
    const service = new Service();
    service.key = key;
    service._set = set;
    service._env = env;
    await service._spawn(port);
    return service;
  }

  async _spawn(port) {
    const flags = ["log.format=json", ...this._set].flatMap((setting) => ["--set", setting]);
    this.lines = [];
    this._process = spawn(
      PYTHON,
      ["-m", "moorage", "dev", "--port", String(port), "--access-key", this.key, ...flags],
      { stdio: ["ignore", "pipe", "pipe"], env: { ...plainEnvironment(), ...this._env, PYTHONUNBUFFERED: "1" } },
    );
    let ended = false;
    this._exited = once(this._process, "exit").then(() => (ended = true));
    for (const stream of [this._process.stdout, this._process.stderr])
      createInterface(stream).on("line", (line) => this.lines.push(line));
    const address = () => this.lines.map((line) => /Endpoint=([^;]+);/.exec(line)?.[1]).find(Boolean);
    await poll(() => address() ?? ended, "the service");
    this.url = address();
    if (!this.url) throw new Error(`the service did not start:\n${this.lines.join("\n")}`);
    this.port = Number(new URL(this.url).port);
  }

  /** For app servers; `url` if they connect through a proxy. */
  connectionString(url = this.url) {
    return `Endpoint=${url};AccessKey=${this.key};Version=1.0;`;
  }

  /** A client's access token, signed with the access key. */
  token(hub, claims) {
    const aud = `${this.url}/clients/socketio/hubs/${hub}`;
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const exp = Math.floor(Date.now() / 1000) + 300;
    const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ aud, exp, ...claims })}`;
    return `${signed}.${createHmac("sha256", this.key).update(signed).digest("base64url")}`;
  }

  /** Kills the process with SIGKILL, and waits until it has ended. */
  async kill() {
    this._process.kill("SIGKILL");
    await this._exited;
  }

  /** Starts the service again with the same port and key. */
  async restart() {
    await this._spawn(this.port);
  }

  /** Stops the service at the end of the tests; fails if the service logged an error. */
  async stop() {
    const faults = this.records().filter((record) => record.level === "error");
    await this.kill();
    if (faults.length) throw new Error(`the service logged errors:\n${JSON.stringify(faults, null, 2)}`);
  }

  /** The log lines so far, parsed. */
  records() {
    return this.lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  }

  /** The first log line that has all `fields`. */
  record(fields) {
    const wanted = Object.entries(fields);
    return poll(
      () => this.records().find((record) => wanted.every(([name, value]) => record[name] === value)),
      `a log line with ${JSON.stringify(fields)}`,
    );
  }

  /** One sample of /metrics by its full name with labels; 0 where it is not there. */
  async metric(name) {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const line = text.split("\n").find((candidate) => candidate.startsWith(`${name} `));
    return line ? Number(line.slice(name.length + 1)) : 0;
  }
}

/** The service reads settings from MOORAGE_... variables; those of the test run must not reach it. */
function plainEnvironment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("MOORAGE_")));
}
