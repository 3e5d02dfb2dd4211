"""The gate on each part of the package and on the whole. Reads what `scripts/coverage.sh` has measured."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from coverage import Coverage

LEAST = 95.0
"""Percent of all statements and branches."""
LEAST_OF_PART = 90.0
"""Percent of each part's, so that a large part cannot hide a small one."""
PACKAGE = Path("src/moorage")


def main() -> int:
    """Print each part's figure. The exit code is 1 if one of them is below the gate."""
    measured = Coverage()
    measured.load()
    parts = {folder.parent.name: [f"{folder.parent}/*"] for folder in sorted(PACKAGE.glob("*/__init__.py"))}
    parts["the modules beside them"] = [str(path) for path in PACKAGE.glob("*.py")]
    measured.report(precision=1, include=[f"{PACKAGE}/*"])
    failed = False
    for name, files in {**parts, "everything": [f"{PACKAGE}/*"]}.items():
        covered = measured.report(file=io.StringIO(), include=files)
        below = covered < (LEAST_OF_PART if name in parts else LEAST)
        failed |= below
        print(f"{covered:6.1f} %  {name}{'  below the gate' if below else ''}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
