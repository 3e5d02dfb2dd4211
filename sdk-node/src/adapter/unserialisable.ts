// Why a packet could not be serialised, and where in it.

const MAX_DEPTH = 1_000;

/** The error to throw instead of `error`, which an encoder threw on `data` (an event name and its
 * arguments, or an ack's). `error` itself where nothing is found to blame. */
export function explain(error: unknown, data: unknown): unknown {
  const found = find(data, [], []);
  if (!found) return error;
  return new TypeError(`cannot be sent: ${place(data, found.path)} is ${found.what}`, { cause: error });
}

interface Fault {
  readonly path: readonly (string | number)[];
  readonly what: string;
}

function find(value: unknown, path: readonly (string | number)[], above: readonly object[]): Fault | undefined {
  if (typeof value === "bigint") return { path, what: "a BigInt" };
  if (typeof value !== "object" || value === null || isBytes(value)) return undefined;
  if (above.includes(value)) return { path, what: "a circular reference" };
  if (value instanceof Blob) return { path, what: "a Blob (read it first: await blob.arrayBuffer())" };
  if (above.length > MAX_DEPTH) return { path, what: "nested too deeply" };
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON === "function") return inside({ "toJSON()": attempt(() => toJSON.call(value)) }, path, [...above, value]);
  return inside(value, path, [...above, value]);
}

function inside(value: object, path: readonly (string | number)[], above: readonly object[]): Fault | undefined {
  for (const [key, item] of Object.entries(value)) {
    const fault = find(item, [...path, Array.isArray(value) ? Number(key) : key], above);
    if (fault) return fault;
  }
  return undefined;
}

const isBytes = (value: object): boolean => ArrayBuffer.isView(value) || value instanceof ArrayBuffer;

function attempt(make: () => unknown): unknown {
  try {
    return make();
  } catch {
    return undefined;
  }
}

/** `"chat", argument 2, .user.id`: the first of an event is its name. */
function place(data: unknown, path: readonly (string | number)[]): string {
  const [first, ...rest] = path;
  if (!Array.isArray(data) || typeof first !== "number") return `the packet's data ${trail(path)}`.trimEnd();
  const name = typeof data[0] === "string" && first > 0 ? `"${data[0]}", ` : "";
  return `${name}argument ${name ? first : first + 1}${rest.length > 0 ? `, ${trail(rest)}` : ""}`;
}

function trail(path: readonly (string | number)[]): string {
  return path.map((step) => (typeof step === "number" ? `[${step}]` : `.${step}`)).join("");
}
