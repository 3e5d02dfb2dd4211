"""`python -m bench`: run the measurements, print the table, write `bench/results/latest.json`."""

from __future__ import annotations

import argparse
import gc
import json
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from bench import measures, sdk_measures, servers
from bench.cluster import broker, fan_out, three_nodes, trips
from bench.cluster.killed import killed
from bench.dashboard.measure import open_dashboards
from bench.dashboard.traced import traced
from bench.edge.compression import compression
from bench.edge.relayed import relayed
from bench.edge.tls import tls
from bench.figures import Figure
from bench.gather import fetch_sockets
from bench.machine import facts
from bench.operator.telemetry import telemetry
from bench.peers import SLOWER, Peers, judged_by_before
from bench.plan import FULL, QUICK
from bench.recovery.deploy import deploy
from bench.recovery.jitter import jitter, jitter_lost, jitter_off, jitter_silent, jitter_workers
from bench.recovery.overhead import recovery_cost, recovery_memory, recovery_stored
from bench.report import all_met, document, table
from bench.run import Run
from bench.servers import NAMES, NATIVE
from bench.slow import slow_client
from bench.tester.capacity import capacity
from bench.tester.tool import tool

MEASURES: dict[str, Callable[[Run], list[Figure]]] = {
    "a": measures.fan_out,
    "b": measures.burst,
    "c": measures.trips,
    "d": measures.idle_memory,
    "e": measures.connects,
    "f": measures.app_cost,
    "slow": slow_client,
    "g": sdk_measures.node_trips,
    "h": sdk_measures.python_trips,
    "i": sdk_measures.broadcasts,
    "j": fetch_sockets,
    "k": sdk_measures.sdk_connects,
    "l": fan_out.broadcasts,
    "m": fan_out.room,
    "n": fan_out.connects,
    "o": trips.trips,
    "p": broker.messages,
    "q": three_nodes.joins,
    "r": three_nodes.publishes,
    "s": killed,
    "t": tool,
    "tester": capacity,
    "jitter": jitter,
    "jitter-off": jitter_off,
    "jitter-silent": jitter_silent,
    "jitter-workers": jitter_workers,
    "jitter-lost": jitter_lost,
    "deploy": deploy,
    "recovery": recovery_cost,
    "recovery-memory": recovery_memory,
    "recovery-stored": recovery_stored,
    "dashboard": open_dashboards,
    "trace": traced,
    "otel": telemetry,
    "tls": tls,
    "tls-workers": relayed,
    "compression": compression,
}
COMPARED = ("jitter-off",)
"""Sections that run only if they are named: they explain a figure of another one."""
RESULTS = servers.HERE / "results" / "latest.json"


def main() -> int:
    """Returns the exit code: 0, or 1 with `--enforce` if a bar is missed or has no figure."""
    options = _options()
    _prepare(options.before)
    about = facts()
    with tempfile.TemporaryDirectory(prefix="moorage-bench-") as logs:
        peers = Peers(options.before)
        starts = {name: start for name, start in peers.azure().items() if name in options.target}
        plan = QUICK if options.quick else FULL
        if options.clients is not None:
            plan = replace(plan, jitter_clients=options.clients)
        run = Run(starts, plan, Path(logs), peers)
        figures: list[Figure] = []
        for section in options.only:
            began = time.monotonic()
            figures += MEASURES[section](run)
            print(f"({section}) measured in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    if options.before is not None:
        figures = judged_by_before(figures)
    print(table(figures, NATIVE if options.before is None else "before"))
    for problem in run.problems:
        first, *_, last = problem.splitlines() * 2
        print(f"no figure: {first} {last if last != first else ''}".rstrip(), file=sys.stderr)
    about["quick"] = options.quick
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document(figures, about, run.problems), indent=1) + "\n")
    print(f"\nEvery round, and the machine: {RESULTS}")
    return 1 if options.enforce and not all_met(figures) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only",
        type=_names(MEASURES),
        default=[name for name in MEASURES if name not in COMPARED],
        help=f"sections, such as a,b (default: all but {', '.join(COMPARED)})",
    )
    parser.add_argument("--target", type=_names(NAMES), default=list(NAMES), help=",".join(NAMES))
    parser.add_argument(
        "--before",
        type=_checkout,
        metavar="CHECKOUT",
        help=f"an older checkout in native's place: at most {SLOWER}x of its figures pass",
    )
    parser.add_argument("--clients", type=int, metavar="COUNT", help="clients that lose their connections")
    parser.add_argument("--quick", action="store_true", help="small counts: a smoke test, not a measurement")
    parser.add_argument("--enforce", action="store_true", help="exit with 1 when a bar is missed")
    return parser.parse_args()


def _checkout(text: str) -> Path:
    path = Path(text).resolve()
    if not (path / "src" / "moorage").is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a checkout of Moorage")
    return path


def _names(known: Collection[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(known)}")
        return names

    return parse


def _prepare(before: Path | None) -> None:
    """Prepare file descriptors for 10,000 clients, packages, and a clean end at SIGTERM."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    servers.install()
    if before is not None:
        servers.install(before)
    # The generator creates no cycles, and a garbage collection of 10,000 clients would affect a p99.
    gc.disable()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


if __name__ == "__main__":
    sys.exit(main())
