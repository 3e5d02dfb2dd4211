#!/usr/bin/env bash
# Makes sure that the browser tests have a Chromium: $CHROMIUM when set, else Debian's (tests/node/lib/chromium.mjs).
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "${CHROMIUM:-}" ]; then
  [ -x "$CHROMIUM" ] && exit
elif [ -x /usr/bin/chromium-headless-shell ] || [ -x /usr/bin/chromium ]; then
  exit
fi
# The build without windows is smaller and starts faster. Not every distribution has it.
scripts/apt-install.sh chromium-headless-shell "for the browser tests" ||
  scripts/apt-install.sh chromium "for the browser tests"
