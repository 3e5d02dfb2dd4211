// The option `handOverOnSigterm`.

import type { Report } from "./uplink.js";

/** Hands the clients over at the first SIGTERM. If the app has no handler of its own, the process then ends as it would
 * have ended. Returns a function that removes the handler. */
export function handOverOnSigterm(handOver: () => Promise<unknown>, report: Report): () => void {
  const handle = (): void => {
    const end = (): void => {
      if (process.listenerCount("SIGTERM") === 0) process.kill(process.pid, "SIGTERM");
    };
    handOver().catch(report).finally(end);
  };
  process.once("SIGTERM", handle);
  return () => process.off("SIGTERM", handle);
}
