"""The simulation of large clusters, with small numbers."""

from __future__ import annotations

import pytest

from bench.directories import churn, observe
from bench.simulated import Load, Rooms, place, rates
from bench.simulation import bars, simulate, table

SMALL = Load(clients=600, rooms=(Rooms("small", 2, 3), Rooms("large", 1, 300)))


def test_the_table_has_a_column_for_each_number_of_nodes() -> None:
    results = [simulate(SMALL, nodes, deltas=5, checked_clients=60, turns=10) for nodes in (3, 80)]
    text = table(results)
    assert "3 nodes" in text and "80 nodes" in text
    assert "drawn: groups" in text
    assert results[0].churned is not None
    assert results[1].churned is None, "real directories of that many nodes would not fit"


def test_an_observer_knows_all_groups() -> None:
    placement = place(SMALL, 5)
    assert placement.groups == 402
    assert observe(placement, 3).groups == 402


def test_rooms_reach_the_nodes_of_their_members() -> None:
    alone, everywhere = Rooms("alone", 1, 1), Rooms("everywhere", 1, 10_000)
    assert alone.nodes(8) == 1
    assert everywhere.nodes(8) == pytest.approx(8)
    assert alone.alone(8) == 1
    assert everywhere.alone(8) == pytest.approx(0)


def test_one_node_has_no_messages() -> None:
    found = rates(SMALL, 1)
    assert (found.heartbeats, found.deltas, found.acknowledgements) == (0, 0, 0)
    assert (found.emits, found.changes) == (0, 0)


def test_each_node_is_covered_by_two_app_servers() -> None:
    assert rates(SMALL, 4).links == 20 * 4
    assert rates(SMALL, 64).links == 20 * 8
    assert rates(SMALL, 1000).links == 2000


def test_the_arithmetic_agrees_with_real_directories() -> None:
    nodes = 6
    done = churn(SMALL, nodes, turns=400)
    computed = rates(SMALL, nodes)
    connects = 2 * computed.connects * nodes
    assert done.deltas / nodes == pytest.approx(computed.deltas / connects, rel=0.15)
    assert done.entries / nodes == pytest.approx(computed.changes / connects, rel=0.15)
    expected = sum(kind.nodes(nodes) for kind in SMALL.rooms) / len(SMALL.rooms) * (nodes - 1) / nodes
    assert done.reached == pytest.approx(expected, rel=0.15)


def test_the_bars_are_measured() -> None:
    observed, _met = bars(5, groups=500)
    assert observed.groups == 500
    assert observed.delta_us > 0
