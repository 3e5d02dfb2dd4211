#!/usr/bin/env bash
# scripts/test.sh [--unmeasured] [PYTEST'S ARGUMENTS]: the suite in parallel, then one by one the tests that measure
# times. With `--unmeasured`, without the tests that `make coverage` has run.
# scripts/test.sh --scenarios [PYTEST'S ARGUMENTS]: only the scenarios that are too long for the suite, in parallel.
set -uo pipefail
cd "$(dirname "$0")/.."

# Tests start hundreds of Python processes. Without cached bytecode each of them compiles the whole package.
export PYTHONDONTWRITEBYTECODE=

# Tests wait most of the time, so there are more workers than cores.
workers=$(($(nproc) * 3))
found=0
failed=0
parallel="not slow and not alone and not scenario"
if [ "${1:-}" = --unmeasured ]; then
  parallel+=" and not measured"
  shift
fi
run() {
  .venv/bin/python -m pytest "$@"
  case $? in
    0) found=1 ;;
    5) ;; # no test was selected
    *) found=1 failed=1 ;;
  esac
}

if [ "${1:-}" = --scenarios ]; then
  shift
  # They share nothing, so each may run on any worker.
  run --numprocesses=$((workers < 8 ? workers : 8)) --dist=worksteal -m "scenario and not slow" "${@:-tests/scenarios}"
  ((found && !failed))
  exit
fi

# One file stays on one worker, so that its tests share a service. Files start in the order of tests/conftest.py.
run --numprocesses=$((workers < 8 ? workers : 8)) --dist=loadfile --no-loadscope-reorder -m "$parallel" "$@"
# Collecting the whole suite again would take longer than these tests.
alone=()
if (($# == 0)); then
  mapfile -t alone < <(grep -rl 'mark\.alone' --include='test_*.py' tests)
fi
run -m "alone and not slow" "${alone[@]}" "$@"
((found && !failed))
