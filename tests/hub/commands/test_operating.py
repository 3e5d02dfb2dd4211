"""Operators' commands reach the inspector of the node that they are for."""

from __future__ import annotations

from moorage.wire.commands import DrainNode, Inspect
from moorage.wire.inspect.forms import HUBS
from tests.hub.fakes import World
from tests.hub.inspect.stage import OWN, Stage


def test_a_node_that_operators_may_not_see() -> None:
    world = World()
    assert not world.execute(Inspect("", HUBS)).found
    assert not world.execute(DrainNode("", "")).found


def test_a_question_for_one_node() -> None:
    stage = Stage()
    assert len(stage.execute(Inspect("", HUBS, node=OWN)).reports) == 1
    assert stage.execute(Inspect("", HUBS, node="node0002")).reports == ()


def test_a_drain_is_for_one_node() -> None:
    stage = Stage()
    assert not stage.execute(DrainNode("", "node0002")).found
    assert stage.drained == 0
    assert stage.execute(DrainNode("", OWN)).found
    assert stage.drained == 1
