// The package is `"type": "module"`; this folder's marker makes Node.js read dist/cjs as CommonJS.

import { writeFileSync } from "node:fs";

writeFileSync(new URL("../dist/cjs/package.json", import.meta.url), '{ "type": "commonjs" }\n');
