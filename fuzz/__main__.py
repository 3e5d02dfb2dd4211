"""python -m fuzz [--seconds N] [--seed N] [target…]: try every target for N seconds.

A failure prints its seed; `--seed` with that number and the target's name tries it again first.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from random import Random, SystemRandom

from fuzz import known, link, parsers, shells, trace, wire
from fuzz.target import FailureError, Target, trial

TARGETS: dict[str, Target] = {
    **wire.TARGETS,
    **known.TARGETS,
    **link.TARGETS,
    **parsers.TARGETS,
    **shells.TARGETS,
    **trace.TARGETS,
}


def run(name: str, seed: int, seconds: float) -> bool:
    """Fuzz one target. Returns True if its invariant held."""
    began = time.monotonic()
    tried = accepted = 0
    while time.monotonic() - began < seconds or not tried:
        try:
            accepted += trial(TARGETS[name], Random(seed + tried))
        except FailureError as failure:
            print(f"{name}: FAILED with --seed {seed + tried}\n{failure}")
            traceback.print_exception(failure.__cause__)
            return False
        tried += 1
    print(f"{name}: {tried} inputs from seed {seed}, {accepted} accepted")
    return True


def main() -> int:
    """Returns the exit code: 1 if an invariant was violated."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=30.0, help="per target (default: 30)")
    parser.add_argument("--seed", type=int, help="the first seed (default: random)")
    given = parser.parse_args()
    unknown = set(given.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    seed = SystemRandom().randrange(2**32) if given.seed is None else given.seed
    results = [run(name, seed, given.seconds) for name in given.targets or TARGETS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
