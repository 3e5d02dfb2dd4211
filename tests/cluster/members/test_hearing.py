from __future__ import annotations

import pytest

from moorage.cluster.members.hearing import CONFIRM, REMEMBER, Hearing
from moorage.cluster.members.membership import INTERVAL, SILENCE, Membership
from moorage.wire.cluster.messages import MAX_SILENT, Alive
from tests.cluster.members.test_membership import OWN, Recorder


def test_lost_nodes_are_named_until_they_are_heard() -> None:
    hearing = Hearing("own")
    hearing.lost("b", 1.0)
    hearing.lost("c", 2.0)
    assert hearing.silent(3.0) == ("b", "c")
    assert hearing.heard("b")
    assert not hearing.heard("b")
    assert hearing.silent(3.0) == ("c",)
    assert hearing.silent(2.0 + REMEMBER) == ()


def test_of_many_lost_nodes_the_last_ones_are_named() -> None:
    hearing = Hearing("own")
    for number in range(MAX_SILENT + 1):
        hearing.lost(f"n{number}", 1.0)
    assert hearing.silent(1.0) == tuple(f"n{number}" for number in range(1, MAX_SILENT + 1))


def test_a_node_is_deaf_if_it_names_this_one_for_some_time() -> None:
    hearing = Hearing("own")
    assert not hearing.is_deaf("b", ("own",), 1.0)
    assert not hearing.is_deaf("b", ("x",), 1.0 + CONFIRM)
    assert not hearing.is_deaf("b", ("own",), 2.0 + CONFIRM)
    assert hearing.is_deaf("b", ("own", "x"), 2.0 + 2 * CONFIRM)
    hearing.forget("b")
    assert not hearing.is_deaf("b", ("own",), 2.0 + 2 * CONFIRM)


class OneWay:
    """Two nodes. What the first one sends may be lost on its way to the second one."""

    def __init__(self) -> None:
        self.lists = {name: Recorder() for name in ("a", "b")}
        self.nodes = {name: Membership(name, Alive(name), nodes) for name, nodes in self.lists.items()}
        self.now = 100.0
        for node in self.nodes.values():
            node.start(self.now)

    def run(self, seconds: float, *, cut: bool = False) -> None:
        """Pass time and heartbeats."""
        for _ in range(round(seconds * 4 / INTERVAL)):
            self.now += INTERVAL / 4
            for name, other in (("a", "b"), ("b", "a")):
                self.nodes[name].tick(self.now)
                sent, self.lists[name].sent = self.lists[name].sent, []
                for beat in sent:
                    assert isinstance(beat, Alive)
                    if not (cut and name == "a"):
                        self.nodes[other].alive(name, beat, self.now)


def test_nodes_of_which_one_hears_the_other_lose_each_other(caplog: pytest.LogCaptureFixture) -> None:
    pair = OneWay()
    pair.run(5)
    assert (pair.lists["a"].names, pair.lists["b"].names) == ({"b": "b"}, {"a": "a"})
    pair.run(SILENCE + CONFIRM + 2 * INTERVAL, cut=True)
    assert (pair.lists["a"].names, pair.lists["b"].names) == ({}, {})
    assert "it sends no heartbeats" in caplog.text
    assert "it does not hear this node" in caplog.text
    pair.run(60, cut=True)
    assert pair.lists["a"].names == {}, "it stays away as long as it is named"
    pair.run(2 * INTERVAL)
    assert (pair.lists["a"].names, pair.lists["b"].names) == ({"b": "b"}, {"a": "a"})


def test_a_node_that_was_frozen_loses_nobody() -> None:
    nodes = Recorder()
    membership = Membership("own", OWN, nodes)
    membership.start(100.0)
    membership.alive("b", Alive("b"), 100.0)
    membership.tick(100.0)
    # It finds these in its input when it goes on. The other node hears it again a moment later.
    for _ in range(20):
        membership.alive("b", Alive("b", silent=("own",)), 120.0)
    membership.tick(120.0)
    membership.alive("b", Alive("b"), 121.0)
    assert nodes.names == {"b": "b"}
