"""`python -m bench.holder PORT PATH COUNT`: clients in a process of their own that connect and stay idle.

Those of two servers at a time would need more descriptors than many systems allow one process.
"""

from __future__ import annotations

import sys

from bench.fleet import Fleet
from bench.frames import BROWSER
from bench.servers import Address


def main() -> None:
    """Connect, report it, and stay until standard input ends."""
    port, path, count = sys.argv[1:]
    with Fleet(Address(int(port), path), headers=BROWSER) as fleet:
        fleet.open(int(count), seconds=120)
        print('{"ready":true}', flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
