#!/usr/bin/env bash
# Rewrites requirements/*.txt from pyproject.toml, each pin with the hashes of all its files.
#
#   scripts/lock.sh            keep the pins that still fit, add what is missing
#   scripts/lock.sh --upgrade  newest versions of everything
#
# `uv pip compile --universal` was chosen over pip-compile, because one file works for every platform and every
# Python from 3.11, and it ignores the pip configuration, so a developer's private mirrors and wheel
# folders cannot leak foreign hashes (or addresses) into the files.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=${UV:-.tools/uv/bin/uv}
if [ ! -x "$uv" ]; then
  "$(scripts/find-python.sh)" -m venv .tools/uv
  .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13'
fi

compile() { # output, further arguments
  local output=$1
  shift
  "$uv" pip compile --no-config --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-annotate \
    --custom-compile-command 'scripts/lock.sh' --output-file "$output" "$@" </dev/null >/dev/null
}

compile requirements/run.txt pyproject.toml --extra server "${@}"
# The dev set is locked on top of the run set, so that the tests use the shipped versions.
compile requirements/dev.txt pyproject.toml --extra server --extra cluster --extra otel --group dev --constraint requirements/run.txt "${@}"

if grep -nE '://|find-links|index-url' requirements/*.txt; then
  echo "lock: a lock file names an address" >&2
  exit 1
fi
