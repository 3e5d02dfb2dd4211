// Finds the value that keeps a packet from being serialised.

const MAX_DEPTH = 1_000;

/** Returns the error to throw instead of `error`, which an encoder threw for `data` (an event's name and arguments, or
 * an ack's arguments). Returns `error` itself if no value is found. */
export function explain(error: unknown, data: unknown): unknown {
  const found = find(data, [], []);
  if (!found) return error;
  return new TypeError(`cannot be sent: ${describePath(data, found.path)} is ${found.what}`, { cause: error });
}

interface Culprit {
  readonly path: readonly (string | number)[];
  readonly what: string;
}

function find(value: unknown, path: readonly (string | number)[], ancestors: readonly object[]): Culprit | undefined {
  if (typeof value === "bigint") return { path, what: "a BigInt" };
  if (typeof value !== "object" || value === null || isBytes(value)) return undefined;
  if (ancestors.includes(value)) return { path, what: "a circular reference" };
  if (value instanceof Blob) return { path, what: "a Blob (read it first: await blob.arrayBuffer())" };
  if (ancestors.length > MAX_DEPTH) return { path, what: "nested too deeply" };
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON === "function") return findInside({ "toJSON()": tryCall(() => toJSON.call(value)) }, path, [...ancestors, value]);
  return findInside(value, path, [...ancestors, value]);
}

function findInside(value: object, path: readonly (string | number)[], ancestors: readonly object[]): Culprit | undefined {
  for (const [key, item] of Object.entries(value)) {
    const culprit = find(item, [...path, Array.isArray(value) ? Number(key) : key], ancestors);
    if (culprit) return culprit;
  }
  return undefined;
}

const isBytes = (value: object): boolean => ArrayBuffer.isView(value) || value instanceof ArrayBuffer;

function tryCall(make: () => unknown): unknown {
  try {
    return make();
  } catch {
    return undefined;
  }
}

/** For example `"chat", argument 2, .user.id`; the first element of an event is its name. */
function describePath(data: unknown, path: readonly (string | number)[]): string {
  const [first, ...rest] = path;
  if (!Array.isArray(data) || typeof first !== "number") return `the packet's data ${joinPath(path)}`.trimEnd();
  const name = typeof data[0] === "string" && first > 0 ? `"${data[0]}", ` : "";
  return `${name}argument ${name ? first : first + 1}${rest.length > 0 ? `, ${joinPath(rest)}` : ""}`;
}

function joinPath(path: readonly (string | number)[]): string {
  return path.map((step) => (typeof step === "number" ? `[${step}]` : `.${step}`)).join("");
}
