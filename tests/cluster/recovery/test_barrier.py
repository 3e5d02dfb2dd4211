"""Waiting until all nodes have carried out certain commands."""

from __future__ import annotations

from collections.abc import Callable

from moorage.cluster.coverage.homes import instance_of
from moorage.cluster.recovery.barrier import SECONDS
from moorage.hub.node import Node
from moorage.wire.commands import JoinGroups, Selection
from moorage.wire.groups import room_group
from tests.cluster.recovery.stage import App, Session, Several
from tests.hub.fakes import HUB
from tests.hub.recovery.stage import ROOT

NAME = instance_of(HUB, "x")


def waits(several: Several, at: int = 0, number: int = 1) -> list[bool]:
    """What a node that waits is told."""
    told: list[bool] = []
    several.nodes.routers[at].recovery.barrier.wait({NAME: number}, told.append)
    several.nodes.settle()
    return told


def test_all_nodes_must_have_carried_it_out() -> None:
    several = Several(3)
    app = App(several.nodes, "x")
    app.emit(ROOT, b'42["e"]')
    told = waits(several)
    for at in range(3):
        several.tick(0.5)
        assert told == []
        app.arrive(at)
    several.tick(0.5)
    assert told == [True]
    assert waits(several) == [True]


def test_a_node_that_does_not_answer_and_a_gap_end_it() -> None:
    several = Several(2)
    network = several.nodes.network
    network.delay("node-000", "node-001")
    told = waits(several)
    several.tick(SECONDS + 0.5)
    assert told == [False]
    again = waits(several)
    several.nodes.routers[0].recovery.gap("node-001")
    assert again == [False]
    third = waits(several)
    several.nodes.routers[0].remove("node-001")
    assert third == [True]


def test_a_command_that_does_not_come_ends_it() -> None:
    several = Several(2)
    App(several.nodes, "x")
    told = waits(several)
    several.tick(SECONDS + 0.5)
    assert told == [False]


def test_frames_that_wait_and_large_work_come_first() -> None:
    several = Several(2)
    calls: list[Callable[[], object]] = []

    class Busy(Session):
        def settled(self, call: Callable[[], object]) -> None:
            calls.append(call)

    for router in several.nodes.routers[:1]:
        router.instances.get(NAME).begin(Busy(), fence=False)
        router.instances.get(NAME).number = 1
    node: Node = several.nodes.worlds[0].node
    for _ in range(20):
        several.client(0)
    rooms = tuple(room_group("/", f"r{number}") for number in range(1_000))
    job = node.submit(JoinGroups(HUB, Selection(), rooms), lambda about, outcome: None)
    assert job is not None
    told = waits(several)
    assert (told, len(calls)) == ([], 1)
    calls[0]()
    several.tick(0.5)
    assert told == []
    for _ in job:
        pass
    several.tick(0.5)
    assert told == [True]
    job = node.submit(JoinGroups(HUB, Selection(), rooms), lambda about, outcome: None)
    never = waits(several)
    calls[1]()
    several.tick(SECONDS + 0.5)
    assert never == [False]
    assert job is not None
