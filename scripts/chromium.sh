#!/usr/bin/env bash
# Makes sure that the browser tests have a Chromium: $CHROMIUM when set, else Debian's.
set -euo pipefail
cd "$(dirname "$0")/.."

[ -x "${CHROMIUM:-/usr/bin/chromium}" ] || scripts/apt-install.sh chromium "for the browser tests"
