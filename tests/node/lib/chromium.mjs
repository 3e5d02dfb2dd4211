// Where the browser is that scripts/chromium.sh has found or installed.
import { existsSync } from "node:fs";

/** Debian's build without windows starts in half the time, and comes first. */
const PLACES = ["/usr/bin/chromium-headless-shell", "/usr/bin/chromium"];

export const executablePath = process.env.CHROMIUM || (PLACES.find((path) => existsSync(path)) ?? PLACES[0]);
