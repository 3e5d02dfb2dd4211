// JSON lines on stdin and stdout: how the suite drives a program. README.md has the language.

import { createInterface } from "node:readline";

/** Write a line that nobody asked for. */
export function notice(name, fields) {
  write({ notice: name, ...fields });
}

/**
 * Carry out what comes in, each line as it comes: `commands[line.do](line)` may give a promise, and the next
 * line does not wait for it. Ends with stdin, as the suite does.
 */
export function listen(commands) {
  createInterface({ input: process.stdin }).on("line", async (text) => {
    const { id, ...line } = unpack(JSON.parse(text));
    try {
      write({ id, value: await perform(commands, line) });
    } catch (error) {
      write({ id, error: describe(error) });
    }
  });
  process.stdin.on("end", () => process.exit());
  // What a handler throws must reach the suite, and not end the program: the suite tests that, too.
  process.on("uncaughtException", (error) => notice("uncaught", describe(error)));
  process.on("unhandledRejection", (error) => notice("unhandled", describe(error)));
}

/** One command, up to its first `await` at once: so a batch is emitted without a pause in it. */
export function perform(commands, line) {
  if (line.do === "batch") return Promise.all(line.commands.map((each) => perform(commands, each)));
  if (!Object.hasOwn(commands, line.do)) throw new Error(`no command ${line.do}`);
  return commands[line.do](line);
}

function write(line) {
  process.stdout.write(`${JSON.stringify(pack(line))}\n`);
}

function describe(error) {
  const plain = error instanceof Error ? error : new Error(String(error));
  return { name: plain.name, message: plain.message, ...(plain.data === undefined ? {} : { data: plain.data }) };
}

/** Bytes travel as `{"$bytes": base64}`; `{"$odd": 1}` comes in for a value that JSON has no form for. */
function pack(value) {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof ArrayBuffer) return pack(Buffer.from(value));
  if (ArrayBuffer.isView(value)) {
    return { $bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
  }
  if (Array.isArray(value)) return value.map(pack);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, pack(member)]));
}

function unpack(value) {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(unpack);
  if (value.$odd) return 1n;
  if (typeof value.$bytes === "string") return Buffer.from(value.$bytes, "base64");
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, unpack(member)]));
}
