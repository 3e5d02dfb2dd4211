"""Questions of operators take one step in a turn of the event loop."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moorage.hub.inspect.paced import MAX_WAITING
from moorage.hub.turns import Job
from moorage.wire.errors import PeerError
from moorage.wire.reasons import ADMIN_BUSY
from tests.hub.fakes import World


def turn(world: World) -> None:
    """What the event loop does in one turn."""
    calls, world.callbacks = world.callbacks, []
    for call in calls:
        call()
    world.tick()


def steps(done: list[str], name: str, count: int) -> Job[None]:
    for _ in range(count):
        done.append(name)
        yield False


def test_one_step_in_a_turn() -> None:
    world = World()
    done: list[str] = []
    world.node.inspections.add(steps(done, "a", 3))
    world.node.inspections.add(steps(done, "b", 1))
    seen = []
    for _ in range(6):
        turn(world)
        seen.append("".join(done))
    assert seen == ["a", "aa", "aaa", "aaab", "aaab", "aaab"] or seen[-1] == "aaab"
    assert all(len(after) - len(before) <= 1 for before, after in zip(["", *seen], seen, strict=False))
    assert len(world.node.inspections) == 0


def test_a_pause_after_each_step_while_several_wait() -> None:
    world = World()
    pauses: list[Callable[[], object]] = []
    world.node.inspections.pause = pauses.append
    done: list[str] = []
    world.node.inspections.add(steps(done, "a", 1))
    world.node.inspections.add(steps(done, "b", 1))
    for _ in range(5):
        turn(world)
    assert (done, len(pauses)) == (["a"], 1)
    pauses[0]()
    for _ in range(5):
        turn(world)
    assert (done, len(pauses)) == (["a", "b"], 1)


def test_too_many() -> None:
    world = World()
    for _ in range(MAX_WAITING):
        world.node.inspections.add(steps([], "a", 1))
    with pytest.raises(PeerError) as refused:
        world.node.inspections.add(steps([], "a", 1))
    assert refused.value.reason is ADMIN_BUSY
