"""Order, at most once, one disconnect per connect, and joins that are visible, while app servers begin and
cease to cover nodes, sessions are lost, nodes come and die, and the network delays, loses and divides."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cluster.covering import App, Cluster
from tests.cluster.moments import tell
from tests.cluster.story import CALM, COVERING, FAULTS
from tests.support.examples import times

SEEDS = st.integers(0, 2**32 - 1)
NODES = st.integers(1, 5)
APPS = st.integers(1, 2)
MOST = st.sampled_from([1, 2, 3, 8])


@settings(max_examples=times(2))
@given(SEEDS, NODES, APPS, MOST, st.lists(st.sampled_from(CALM), min_size=5, max_size=60))
def test_nothing_is_lost_without_a_fault(
    seed: int, nodes: int, apps: int, most: int, events: list[str]
) -> None:
    tell(seed, nodes, apps, most, events)


@settings(max_examples=times(3))
@given(SEEDS, NODES, st.just(2), MOST, st.lists(st.sampled_from(COVERING), min_size=3, max_size=60))
def test_nothing_is_out_of_order_while_coverage_changes(
    seed: int, nodes: int, apps: int, most: int, events: list[str]
) -> None:
    tell(seed, nodes, apps, most, events)


@settings(max_examples=times(2))
@given(SEEDS, NODES, APPS, MOST, st.lists(st.sampled_from(CALM + FAULTS), min_size=5, max_size=60))
def test_the_guarantees_hold_through_faults(
    seed: int, nodes: int, apps: int, most: int, events: list[str]
) -> None:
    tell(seed, nodes, apps, most, events)


@pytest.mark.parametrize(
    ("seed", "nodes", "most", "events"),
    [
        (100454, 2, 2, ["replace"]),
        (101110, 2, 2, ["user", "ask", "replace", "emit"]),
        (301154, 4, 1, ["user", "emit", "emit", "user", "replace", "user", "abandon"]),
    ],
)
def test_stories_that_went_wrong_once(seed: int, nodes: int, most: int, events: list[str]) -> None:
    tell(seed, nodes, 2, most, events)


def test_an_app_server_keeps_its_session_at_a_node_where_it_has_clients() -> None:
    cluster = Cluster(Random(1), 2)
    cluster.start_node()
    cluster.start_node()
    cluster.rest(3)
    for number in range(4):
        cluster.apps.append(App(cluster, f"app{number}"))
    cluster.rest(3)
    users = [cluster.user(node) for node in cluster.nodes for _ in range(4)]
    cluster.rest(1)
    for _ in range(6):
        cluster.start_node()
    cluster.rest(6)
    assert all(user is not None and user.is_open for user in users)
