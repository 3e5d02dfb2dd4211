"""Which app servers should have a session at which nodes."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from moorage.cluster.coverage.assignment import Assignment

SERVERS = st.frozensets(st.integers(0, 1_000).map("s{}".format), max_size=30)
NODES = st.frozensets(st.integers(0, 1_000).map("n{}".format), min_size=1, max_size=40)
MOST = st.integers(1, 12)


def test_a_few_nodes_are_covered_by_all() -> None:
    nodes = [f"n{number}" for number in range(8)]
    assert Assignment(["s"], nodes, 8).of("s") == set(nodes)
    assert Assignment([], nodes, 8).of("other") == set(nodes)
    assert len(Assignment([], nodes, 7).of("other")) == 7


@given(SERVERS, NODES, MOST)
def test_each_node_has_two_app_servers_and_each_app_server_its_share(
    servers: frozenset[str], nodes: frozenset[str], most: int
) -> None:
    assignment = Assignment(servers, nodes, most)
    found = {server: assignment.of(server) for server in servers}
    covering = Counter(node for covered in found.values() for node in covered)
    assert all(covering[node] >= min(2, len(servers)) for node in nodes)
    assert all(covered <= nodes and len(covered) >= min(most, len(nodes)) for covered in found.values())


@given(SERVERS, NODES, MOST)
def test_one_node_more_moves_few(servers: frozenset[str], nodes: frozenset[str], most: int) -> None:
    before, after = Assignment(servers, nodes, most), Assignment(servers, nodes | {"new"}, most)
    left = 0
    for server in servers:
        begun, ended = after.of(server) - before.of(server), before.of(server) - after.of(server)
        assert begun <= {"new"}
        assert len(ended) <= 1
        left += len(ended)
    if not before.has_all and len(servers) >= 2:
        # Only app servers that begin to cover the new node leave another one.
        assert left <= sum("new" in after.of(server) for server in servers)


@given(SERVERS, NODES, MOST)
def test_one_app_server_more_moves_the_duties_of_few_nodes(
    servers: frozenset[str], nodes: frozenset[str], most: int
) -> None:
    before, after = Assignment(servers, nodes, most), Assignment(servers | {"new"}, nodes, most)
    for server in servers:
        assert after.of(server) <= before.of(server)
        assert before.of(server) - after.of(server) <= after.of("new")


def test_the_shares_are_about_equal_with_many_app_servers() -> None:
    servers, nodes = [f"s{number}" for number in range(64)], [f"n{number}" for number in range(64)]
    assignment = Assignment(servers, nodes, 8)
    shares = [len(assignment.of(server)) for server in servers]
    assert min(shares) == 8
    assert sum(shares) / len(shares) < 9
