"""`python -m bench.simulation`: clusters that do not fit on this machine, without sockets.

For each number of nodes: rates by arithmetic (`simulated`), memory and CPU of one node's real directory with
the groups of all nodes, and a cluster of real directories with fewer clients, which checks the arithmetic.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.directories import Churned, Observed, churn, observe
from bench.simulated import Load, Rates, Rooms, place, rates

BAR_BYTES = 200
BAR_DELTA_US = 3.0
CHECKED_NODES = 64
"""Largest cluster of real directories: 1,000 of them would not fit."""


@dataclass(frozen=True)
class Result:
    """One number of nodes."""

    nodes: int
    load: Load
    rates: Rates
    entries: int
    observed: Observed
    expected: Rates | None
    """The arithmetic for the clients of `churned`."""
    churned: Churned | None


def simulate(load: Load, nodes: int, *, deltas: int, checked_clients: int, turns: int) -> Result:
    """One number of nodes. `checked_clients` are those of the cluster of real directories."""
    placement = place(load, nodes)
    small = replace(load, clients=checked_clients)
    checked = nodes <= CHECKED_NODES
    return Result(
        nodes,
        load,
        rates(load, nodes),
        placement.entries,
        observe(placement, deltas),
        rates(small, nodes) if checked else None,
        churn(small, nodes, turns) if checked else None,
    )


def rows(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """The table: a name and a value for each number of nodes."""

    def row(name: str, form: str, values: Sequence[float]) -> tuple[str, list[str]]:
        return name, [form.format(value) for value in values]

    all_rates = [each.rates for each in results]
    observed = [each.observed for each in results]
    entries = "{:,.0f}"
    received = [each.heartbeats + each.deltas + each.acknowledgements + each.emits for each in all_rates]
    return [
        row("computed: clients of a node", entries, [each.load.clients / each.nodes for each in results]),
        row("computed: links of app servers", entries, [each.links for each in all_rates]),
        row("computed: connects of a node, a second", entries, [each.connects for each in all_rates]),
        row("computed: messages received by a node, a second", entries, received),
        row("  heartbeats", entries, [each.heartbeats for each in all_rates]),
        row("  deltas of the directory", entries, [each.deltas for each in all_rates]),
        row("  acknowledgements of its own", entries, [each.acknowledgements for each in all_rates]),
        row("  emits to rooms with members here", entries, [each.emits for each in all_rates]),
        row("  (without a directory)", entries, [each.emits_to_all for each in all_rates]),
        row("computed: messages delivered by NATS, a second", entries, [
            each.nodes * count for each, count in zip(results, received, strict=True)
        ]),
        row("computed: directory entries received, a second", entries, [each.changes for each in all_rates]),
        row("drawn: groups", entries, [each.groups for each in observed]),
        row("drawn: pairs of a group and a node", entries, [each.entries for each in results]),
        row("measured: directory of a node, MB", entries, [each.bytes / 1e6 for each in observed]),
        row("measured: bytes for each group", entries, [each.bytes_each for each in observed]),
        row("measured: us for an entry of a snapshot", "{:.2f}", [each.snapshot_us for each in observed]),
        row("measured: us for an entry, 100 in a delta", "{:.2f}", [each.delta_us for each in observed]),
        row("measured: us for an entry, 4 in a delta", "{:.2f}", [each.small_delta_us for each in observed]),
        row("computed: CPU of a node for deltas, %", "{:.1f}", [
            each.rates.changes * each.observed.small_delta_us / 1e4 for each in results
        ]),
        *_checks(results),
    ]  # fmt: skip


def _checks(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """Fewer clients on real directories, and the arithmetic for them."""
    deltas, entries = [], []
    for each in results:
        if each.churned is None or each.expected is None:
            deltas.append("-")
            entries.append("-")
            continue
        connects = 2 * each.expected.connects * each.nodes
        deltas.append(f"{each.churned.deltas / each.nodes:.2f} ({each.expected.deltas / connects:.2f})")
        entries.append(f"{each.churned.entries / each.nodes:.2f} ({each.expected.changes / connects:.2f})")
    return [
        ("real nodes (computed): deltas for one connect", deltas),
        ("real nodes (computed): entries for one connect", entries),
    ]


def table(results: Sequence[Result]) -> str:
    """The table as text."""
    lines = [f"{'':52}" + "".join(f"{each.nodes:>16,} nodes" for each in results)]
    lines += [f"{name:52}" + "".join(f"{value:>22}" for value in values) for name, values in rows(results)]
    return "\n".join(lines)


def bars(deltas: int, groups: int = 1_000_000) -> tuple[Observed, bool]:
    """The directory with a million groups, each on one of eight nodes: the figures of the two bars."""
    load = Load(clients=groups, rooms=(Rooms("bar", 1, 1),))
    observed = observe(place(load, 8), deltas)
    return observed, observed.bytes_each <= BAR_BYTES and observed.delta_us <= BAR_DELTA_US


def main() -> int:
    """Returns the exit code: 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulation", description=__doc__)
    parser.add_argument("--nodes", default="10,64,1000", help="numbers of nodes")
    parser.add_argument("--quick", action="store_true", help="few clients: a smoke test, not a measurement")
    options = parser.parse_args()
    load = Load(clients=20_000) if options.quick else Load()
    deltas, turns, checked = (50, 50, 500) if options.quick else (2_000, 1_000, 10_000)
    results = []
    for nodes in map(int, options.nodes.split(",")):
        results.append(simulate(load, nodes, deltas=deltas, checked_clients=checked, turns=turns))
        print(f"{nodes} nodes simulated", file=sys.stderr, flush=True)
    print(table(results))
    observed, met = bars(deltas, 20_000 if options.quick else 1_000_000)
    print(f"\n{observed.groups:,} groups, each on one of 8 nodes:")
    print(f"  {observed.bytes_each:.0f} bytes for each group (bar {BAR_BYTES})")
    print(f"  {observed.delta_us:.2f} us for each entry of a delta (bar {BAR_DELTA_US:.0f})")
    return 0 if met or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
