#!/usr/bin/env bash
# scripts/coverage.sh [all]: branch coverage of wire, engine and hub by their own tests, which must be complete. `all`
# then adds the other suites, with the services that they start, and reports on the whole package, without a gate: it
# takes several minutes of CPU.
#
# Tests with random examples are left out: a branch must be covered in every run, not in a lucky one.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONDONTWRITEBYTECODE=

workers=$(($(nproc) + 1))
coverage() { .venv/bin/python -m coverage "$@"; }
measure() {
  coverage run -m pytest -q --no-header --numprocesses=$((workers < 8 ? workers : 8)) --dist=loadfile \
    -m "not hypothesis and not slow and not alone and not node" -k "not runTest" "$@"
}

rm -rf .cache/coverage
mkdir -p .cache/coverage
measure tests/wire tests/engine tests/hub
coverage combine -q
coverage report --include='src/moorage/wire/*,src/moorage/engine/*,src/moorage/hub/*' --fail-under=100
if [ "${1:-}" = all ]; then
  measure tests/cluster tests/config tests/contract tests/control tests/edge tests/sdk tests/test_*.py
  coverage combine -q --append
  coverage report
fi
