#!/usr/bin/env bash
# scripts/coverage.sh: the measured tests (tests/conftest.py), with branch coverage and its gates: 100 % of wire,
# engine and hub by their own tests; 95 % of everything and 90 % of each part by all measured tests.
#
# `make test ARGS=--unmeasured` runs the rest of the suite, so that .ci/run runs each test once.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONDONTWRITEBYTECODE=

workers=$(($(nproc) + 1))
coverage() { .venv/bin/python -m coverage "$@"; }
measure() {
  coverage run -m pytest -q --no-header --numprocesses=$((workers < 8 ? workers : 8)) --dist=loadfile \
    --no-loadscope-reorder -m measured "$@"
}

rm -rf .cache/coverage
mkdir -p .cache/coverage
own=(tests/wire tests/engine tests/hub)
measure "${own[@]}"
coverage combine -q
coverage report --include='src/moorage/wire/*,src/moorage/engine/*,src/moorage/hub/*' --fail-under=100

measure tests "${own[@]/#/--ignore=}"
coverage combine -q --append
.venv/bin/python -m scripts.coverage_parts
