// The Python interpreter with Moorage installed. pytest names its own; by hand, it is that of the checkout (`make`).

import { fileURLToPath } from "node:url";

export const PYTHON = process.env.MOORAGE_PYTHON ?? fileURLToPath(new URL("../../../.venv/bin/python", import.meta.url));
