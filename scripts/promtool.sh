#!/usr/bin/env bash
# scripts/promtool.sh: unpacks Debian's promtool into .tools/. Prometheus itself is not installed, so no service starts.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x .tools/promtool ] || command -v promtool >/dev/null && exit 0
command -v apt-get >/dev/null || exit 0
echo "moorage: fetching promtool (for the test of the alert rules)"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The lists may be missing in a fresh image. Without promtool the test of the alerts is skipped.
(cd "$folder" && { apt-get download -q prometheus || { apt-get update -q && apt-get download -q prometheus; }; }) >/dev/null 2>&1 || exit 0
dpkg -x "$folder"/prometheus_*.deb "$folder/files"
mkdir -p .tools
mv "$folder/files/usr/bin/promtool" .tools/promtool
