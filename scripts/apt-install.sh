#!/usr/bin/env bash
# scripts/apt-install.sh PACKAGE WHY...: installs one Debian package, as root or through sudo, and
# otherwise prints what to install by hand. It asks no questions without a terminal.
set -euo pipefail
package=$1
shift

refuse() {
  echo "moorage: $package is missing ($*) and cannot be installed from here; please install it by hand" >&2
  exit 1
}

command -v apt-get >/dev/null || refuse "$@"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || refuse "$@"
  as_root=(sudo)
  [ -t 0 ] || as_root=(sudo -n)
  "${as_root[@]}" true || refuse "$@"
fi

echo "moorage: installing $package ($*)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() {
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "$@" </dev/null >"$log" 2>&1; then
    cat "$log" >&2
    return 1
  fi
}
# A fresh image has no package lists. One unreachable mirror must not stop the installation.
quietly apt-get update -q || true
quietly apt-get install -q -y --no-install-recommends "$package" || refuse "$@"
