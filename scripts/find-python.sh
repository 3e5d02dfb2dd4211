#!/usr/bin/env bash
# Prints the path of a Python that is 3.11 or newer. `python3` may be any version, and a version
# manager's shim may exist for an interpreter that is not there, so each candidate is asked.
set -euo pipefail

for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3.14 python3; do
  if found=$("$candidate" -c 'import sys; assert sys.version_info >= (3, 11); print(sys.executable)' 2>/dev/null); then
    echo "$found"
    exit 0
  fi
done
echo "moorage needs Python 3.11 or newer; none of python3.11 ... python3.14, python3 is one (set PYTHON=/path/to/python)" >&2
exit 1
