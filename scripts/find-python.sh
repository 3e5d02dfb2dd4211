#!/usr/bin/env bash
# Prints the path of a Python that is 3.11 or newer. `python3` may be any version, and a version
# manager's shim may exist for a missing interpreter, so each candidate is checked.
#
# The distribution's own comes first: it is built with profile-guided optimisation, which version
# managers leave out unless asked, and the service's own code needs a fifth less CPU with it. One that cannot make
# virtual environments is taken only if none can; make-venv.sh then installs what is missing.
set -euo pipefail

names=(python3.11 python3.12 python3.13 python3.14 python3)
candidates=("${names[@]/#//usr/bin/}" "${names[@]}")
[ -z "${PYTHON:-}" ] || candidates=("$PYTHON")

first() {
  local candidate found
  for candidate in "${candidates[@]}"; do
    if found=$("$candidate" -c "import sys; assert sys.version_info >= (3, 11); $1; print(sys.executable)" 2>/dev/null); then
      echo "$found"
      return 0
    fi
  done
  return 1
}

first "import ensurepip, venv" || first "pass" || {
  echo "moorage needs Python 3.11 or newer; none of ${candidates[*]} is one (set PYTHON=/path/to/python)" >&2
  exit 1
}
