// npm runs the build when somebody installs this folder as a dependency, but does not install the compiler for it.

import { existsSync } from "node:fs";

if (!existsSync(new URL("../node_modules/typescript", import.meta.url))) {
  console.error(
    "moorage: this folder cannot be installed as it is: its TypeScript compiler is missing. " +
      "Run `make dist` in the checkout and install dist/moorage-*.tgz.",
  );
  process.exit(1);
}
