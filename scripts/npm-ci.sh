#!/usr/bin/env bash
# scripts/npm-ci.sh FOLDER: installs a folder's npm packages exactly as locked. Says so, and prints nothing else but errors.
set -euo pipefail
cd "$(dirname "$0")/../$1"

if ! node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' 2>/dev/null; then
  echo "moorage: Node.js 20 or newer is needed for $1" >&2
  exit 1
fi
if ! command -v npm >/dev/null; then
  echo "moorage: npm is needed for $1" >&2
  exit 1
fi

echo "Installing the npm packages of $1 (once) ..." >&2
rm -f node_modules/.ready
# PLAYWRIGHT_SKIP...: the tests use Debian's browser, so only the packages are downloaded.
PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --loglevel=error --no-progress --no-audit --no-fund </dev/null >/dev/null
touch node_modules/.ready
