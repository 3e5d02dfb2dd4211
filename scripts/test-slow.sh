#!/usr/bin/env bash
# scripts/test-slow.sh [PYTEST'S ARGUMENTS]: the tests that take minutes, then the tests with random examples, eight
# times as many of them as scripts/test.sh tries, then the conformance scenarios with app servers and clients at
# different nodes.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONDONTWRITEBYTECODE=

.venv/bin/python -m pytest -m slow "$@"
slow=$?
mapfile -t files < <(grep -rlE --include='test_*.py' '^(from|import) hypothesis' tests)
.venv/bin/python -m pytest --hypothesis-profile=thorough --numprocesses="$(nproc)" --dist=loadfile \
  --no-loadscope-reorder --timeout=600 -m "not slow and not alone" "${@:-${files[@]}}"
thorough=$?
CONFORMANCE=forwarded .venv/bin/python -m pytest \
  tests/conformance/test_{acks,cluster,connect,ends,events,rooms}.py "$@"
forwarded=$?
# 5: no test was selected.
[[ $slow =~ ^[05]$ && $thorough =~ ^[05]$ && $forwarded =~ ^[05]$ ]]
