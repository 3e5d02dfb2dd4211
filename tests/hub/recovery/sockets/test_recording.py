"""What is recorded, and who gets it. `tests/hub/recovery/test_machine.py` compares it with a model."""

from __future__ import annotations

import gc

from moorage.wire.commands import Selection
from moorage.wire.filters.compiled import Filter
from moorage.wire.groups import namespace_group, room_group
from tests.hub.recovery.stage import ROOT, Stage, room


def recorded(stage: Stage, to: Selection) -> int:
    """How many events the log has more after an emit to this selection."""
    recovery = stage.world.hub().recovery
    assert recovery is not None
    before = recovery.log.events
    recovery.send(to, b'42["a"]')
    return recovery.log.events - before


def test_only_what_a_recoverable_socket_may_need() -> None:
    stage = Stage()
    client = stage.client()
    stage.world.join(client.connection, "a")
    there = Filter(any_of=(room_group("/", "a"), room_group("/", "b")))
    nowhere = Filter(any_of=(room_group("/", "b"),))
    for to, count in (
        (ROOT, 1),
        (Selection(), 1),
        (room("a"), 1),
        (room("b"), 0),
        (Selection(filter=there), 1),
        (Selection(filter=nowhere), 0),
        (Selection(user="nobody"), 0),
        (Selection(connection=client.connection.id), 1),
        (Selection(connection="nobody"), 0),
    ):
        assert recorded(stage, to) == count, to


def test_offsets_grow_and_events_with_acks_have_none() -> None:
    stage = Stage()
    client = stage.client()
    recovery = stage.world.hub().recovery
    assert recovery is not None
    first, second = (recovery.send(ROOT, b'42["a"]') for _ in range(2))
    assert first < second
    assert recovery.send(ROOT, b'421["a"]') == b'421["a"]'
    assert recovery.direct(client.connection, b'421["a"]') == b'421["a"]'
    assert recovery.direct(client.connection, b'42/other,["a"]') == b'42/other,["a"]'


def test_a_large_emit_that_is_given_up_is_forgotten() -> None:
    stage = Stage()
    stage.client()
    recovery = stage.world.hub().recovery
    assert recovery is not None
    recovery.send(ROOT, b'42["a"]')
    sending = recovery.sending(ROOT)
    assert sending.position == recovery.log.position
    asked = recovery.asking(Selection(group=namespace_group("/")), b'421["a"]')
    assert asked.step(()) == b'421["a"]'
    del sending, asked
    gc.collect()
    assert not recovery._sendings
