#!/usr/bin/env bash
# scripts/make-venv.sh LOCKFILE: makes or refreshes .venv from a lock file, hashes checked, and installs
# moorage itself into it, editable. The stamp comes last, so that an interrupted run starts again.
set -euo pipefail
cd "$(dirname "$0")/.."
lock=$1

rm -f .venv/.ready
if ! .venv/bin/python -c 'import sys, pip; assert sys.version_info >= (3, 11)' 2>/dev/null; then
  python=$(scripts/find-python.sh)
  # Debian ships venv's ensurepip in a package of its own.
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    scripts/apt-install.sh "python$version-venv" "for the virtual environment"
  fi
  "$python" -m venv --clear .venv
fi

pip() {
  .venv/bin/python -m pip --disable-pip-version-check --no-input "$@" </dev/null
}
echo "Installing the Python packages of $lock into .venv (once, a minute or two) ..." >&2
pip install -qq --require-hashes -r "$lock"
# --no-build-isolation: hatchling comes from the lock, not from wherever a build environment finds it.
pip install -qq --no-deps --no-build-isolation --editable .
touch .venv/.ready
