// What the service keeps of a socket that may come back: its `data`.

import type { Report } from "../uplink.js";
import { type Save, Type } from "../wire/frames.js";
import { explain } from "./unserialisable.js";

/** Data that cannot be serialised is reported and left out. */
export function saveFrame(namespace: string, sid: string, data: unknown, report: Report): Save {
  let text = "";
  try {
    text = JSON.stringify(data) ?? "";
  } catch (error) {
    const why = explain(error, data);
    report(new Error(`data of socket ${sid} is not kept: ${why instanceof Error ? why.message : String(why)}`, { cause: error }));
  }
  return { type: Type.Save, namespace, sid, data: text === "{}" ? "" : text };
}
