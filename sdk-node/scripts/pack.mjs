// node scripts/pack.mjs FOLDER: pack the built package into FOLDER, and print what `npm pack --json` prints.
//
// The packed package.json has no scripts: they need the compiler, and npm 11.16 and newer warn of a package that has
// `prepare`, although npm does not run it for a tarball.

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const sdk = fileURLToPath(new URL("..", import.meta.url));
const target = resolve(process.argv[2]);
const stage = mkdtempSync(join(tmpdir(), "moorage-pack-"));
try {
  for (const name of ["dist", "src", "README.md", "LICENSE"]) cpSync(join(sdk, name), join(stage, name), { recursive: true });
  const { scripts, ...manifest } = JSON.parse(readFileSync(join(sdk, "package.json"), "utf8"));
  writeFileSync(join(stage, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  execFileSync("npm", ["pack", "--json", "--pack-destination", target], { cwd: stage, stdio: ["ignore", "inherit", "inherit"] });
} finally {
  rmSync(stage, { recursive: true });
}
