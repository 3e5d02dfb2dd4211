"""Order, at most once, one disconnect per connect, and joins that are visible, while app servers begin and
cease to cover nodes, sessions are lost, nodes come and die, and the network delays, loses and divides."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.wire.moorage import v1
from tests.cluster.covering import App, Cluster
from tests.cluster.moments import tell
from tests.cluster.story import CALM, COVERING, FAULTS
from tests.support.examples import times

SEEDS = st.integers(0, 2**32 - 1)
NODES = st.integers(1, 5)
APPS = st.integers(1, 2)
MOST = st.sampled_from([1, 2, 3, 8])


@settings(max_examples=times(1))
@given(SEEDS, NODES, APPS, MOST, st.lists(st.sampled_from(CALM), max_size=60))
def test_nothing_is_lost_without_a_fault(
    seed: int, nodes: int, apps: int, most: int, events: list[str]
) -> None:
    tell(seed, nodes, apps, most, events)


@settings(max_examples=times(2))
@given(SEEDS, NODES, st.just(2), MOST, st.lists(st.sampled_from(COVERING), max_size=60))
def test_nothing_is_out_of_order_while_coverage_changes(
    seed: int, nodes: int, apps: int, most: int, events: list[str]
) -> None:
    tell(seed, nodes, apps, most, events)


@settings(max_examples=times(1))
@given(SEEDS, NODES, APPS, MOST, st.lists(st.sampled_from(CALM + FAULTS), max_size=60))
def test_the_guarantees_hold_through_faults(
    seed: int, nodes: int, apps: int, most: int, events: list[str]
) -> None:
    tell(seed, nodes, apps, most, events)


@pytest.mark.parametrize(
    ("seed", "nodes", "most", "events"),
    [
        (100454, 2, 2, ["replace"]),
        (101110, 2, 2, ["user", "ask", "replace", "emit"]),
        (
            101396,
            3,
            2,
            ["abandon", "room", "user", "node", "begin", "replace", "begin", *["emit", "fetch"] * 2],
        ),
    ],
)
def test_stories_that_went_wrong_once(seed: int, nodes: int, most: int, events: list[str]) -> None:
    tell(seed, nodes, 2, most, events)


def test_what_the_node_of_a_lost_only_session_has_forwarded_does_not_come_late() -> None:
    """The app server had one session and was never told to cover another node. It begins anew at a node where
    its last emit has not arrived."""
    cluster = Cluster(Random(1), 8)
    one, other = cluster.start_node(reachable=False), cluster.start_node(reachable=False)
    cluster.rest(3)
    cluster.apps.append(app := App(cluster, "app0"))
    cluster.balancer = lambda: one
    cluster.rest(3)
    cluster.network.delay(one.name, other.name)
    app.send(v1.Emit(0, v1.To("/"), 0, b'42["app0",1]'))
    cluster.run()
    cluster.balancer = lambda: other
    app.give_up(app.links[0])
    cluster.later()
    user = cluster.user(other)
    assert user is not None
    cluster.run()
    ((slot, number),) = app.clients
    app.send(v1.Packet(number, b'42["app0",2]'), slot)
    cluster.run()
    cluster.network.release(one.name, other.name)
    cluster.run()
    assert user.events == [("app0", 2)]


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
