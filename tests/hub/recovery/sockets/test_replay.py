"""What clients that come back have missed, and what is kept for them."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.hub.recovery.causes import CAUSES, DROPPED
from moorage.hub.settings import HubSettings
from moorage.wire.commands import EVERYONE, Invoke, Selection, Send
from moorage.wire.groups import namespace_group, room_group
from tests.hub.fakes import (
    HUB,
    RecordingAnswers,
    RecordingPeer,
    World,
    sink_of,
)
from tests.hub.recovery.stage import ROOT, Returning, Stage, refused, room


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_events_with_acks_are_sent_again_without_them(stage: Stage) -> None:
    world = stage.world
    client = stage.client()
    world.emit(ROOT, b'42["event"]')
    client.read()
    world.send(client.connection, b'421["acked"]')
    world.send(client.connection, b'452-2["lost",{"_placeholder":true,"num":0},1]\x1ebAA==\x1ebAQ==')
    world.node.receive(client.connection, b"431[]")
    client.lose()
    for number in (2**30, 2**30 + 1):
        client.come_back()
        head = b'452-%d["lost",{"_placeholder":true,"num":0},1]' % number
        assert client.packets[1:] == [head, b"bAA==", b"bAQ=="]
        client.lose(read=False)
    client.come_back()
    world.node.receive(client.connection, b"43%d[]" % (2**30 + 2))
    assert world.node.late_answers == 1
    client.lose()
    client.come_back()
    assert client.packets[1:] == []


def test_emits_with_acks_are_sent_again(stage: Stage) -> None:
    client = stage.client()
    stage.world.execute(Invoke(HUB, ROOT, b'42["ask"]'), RecordingAnswers())
    stage.world.execute(Invoke(HUB, ROOT, b'42["ask"]', volatile=True), RecordingAnswers())
    stage.world.execute(Invoke(HUB, room("nobody"), b'42["ask"]'), RecordingAnswers())
    client.lose()
    client.come_back()
    assert client.packets[1:] == [b'42%d["ask"]' % 2**30]
    stage.tick(100)
    client.lose()
    client.come_back()
    assert client.packets[1:] == []


def test_a_connect_answer_and_events_in_one_payload(stage: Stage) -> None:
    world = stage.world
    client = stage.client()
    connection = client.connection
    world.node.receive(connection, b"40/ns,")
    binary = b'451-["b",{"_placeholder":true,"num":0}]\x1ebAA=='
    world.send(connection, b'40/ns,{"sid":"n"}\x1e42/ns,["first"]\x1e' + binary + b"\x1e43/other,1[]")
    client.read()
    assert client.events == [["/ns", "first"], ["/", "b", {"_placeholder": True, "num": 0}]]
    client.lose()
    client.come_back("/ns", answer=False)
    world.send(client.connection, b'42/ns,["early"]\x1e40/ns,{"sid":"n"}\x1e42/ns,["late"]')
    client.read()
    assert client.events == [["/ns", "early"], ["/ns", "late"]]


def test_rooms_change_while_it_is_claimed(stage: Stage) -> None:
    world = stage.world
    client = stage.client("/", "/ns")
    world.join(client.connection, "old")
    client.lose()
    client.come_back(answer=False)
    world.join(client.connection, "new")
    world.emit(room("new"), b'42["in new"]')
    stage.world.settle()
    assert sink_of(client.connection).packets == []
    client.answer()
    assert client.events == [["/", "in new"]]
    assert {room_group("/", "old"), room_group("/", "new")} <= client.connection.groups


def test_a_client_that_parks_and_returns_in_a_loop_needs_no_more_memory(stage: Stage) -> None:
    client = stage.client()
    sizes = []
    for number in range(300):
        client.lose()
        stage.world.emit(ROOT, b'42["missed",%d]' % number)
        client.come_back()
        stage.tick(1.0)
        recovery = stage.world.hub().recovery
        assert recovery is not None
        track = recovery.find(client.pid["/"])
        assert track is not None
        lives = len(track.former), len(track.touched), len(track.unacked)
        sizes.append((recovery.log.events, len(recovery.log), len(recovery.away), *lives))
    assert sizes[-1] == sizes[200]
    assert refused(stage) == {}
    assert stage.world.node.claims.counts.resumed == 300


def test_fresh_clients_that_never_return_are_forgotten(stage: Stage) -> None:
    for _ in range(300):
        stage.client().lose()
        stage.tick(1.0)
    recovery = stage.world.hub().recovery
    assert recovery is not None
    assert len(recovery.away) <= 121
    stage.tick(121)
    assert recovery.is_empty


def test_recovery_ends_with_its_last_app_server(stage: Stage) -> None:
    world = stage.world
    client = stage.client()
    world.join(client.connection, "room")
    other, _ = world.server("s2", peer=RecordingPeer())
    client.lose()
    world.node.drop_server(world.hub(), stage.server)
    stage.tick(1)
    assert world.hub().recovery is not None
    plain = world.client("/")
    stage.tick(121)
    assert world.hub().recovery is None
    world.emit(EVERYONE, b'42["plain"]')
    world.send(plain, b'42["direct"]')
    world.settle()
    assert sink_of(plain).packets[-2:] == [b'42["plain"]', b'42["direct"]']
    assert world.hub().directory.rooms.members(namespace_group("/")) == {plain}
    world.node.drop_server(world.hub(), other)
    assert world.node.hub(HUB) is None


def test_a_hub_lives_as_long_as_a_parked_socket(stage: Stage) -> None:
    client = stage.client()
    client.lose()
    stage.world.node.drop_server(stage.world.hub(), stage.server)
    stage.tick(60)
    assert stage.world.node.hub(HUB) is not None
    stage.tick(61)
    assert stage.world.node.hub(HUB) is None


@pytest.mark.parametrize(
    ("asked", "settings", "expected"),
    [
        (0.0, {}, 0.0),
        (0.0, {"recovery_default_disconnection": 30}, 30.0),
        (90.0, {"recovery_max_disconnection": 60}, 60.0),
        (90.0, {"recovery_max_disconnection": 0}, 0.0),
    ],
)
def test_an_operator_turns_recovery_on_and_off(asked: float, settings: Any, expected: float) -> None:
    stage = Stage(World(hubs={HUB: HubSettings(**settings)}), asked)
    assert stage.server.recovery == expected
    assert (stage.world.hub().recovery is not None) is (expected > 0)


def test_the_numbers_for_metrics(stage: Stage) -> None:
    client = stage.client()
    client.lose()
    stage.world.emit(ROOT, b'42["a"]')
    seen = stage.world.node.claims.seen(stage.world.node.hubs.values())
    assert seen[:7] == (1, 1, len(b'42["a","xxxxx.1"]'), 1, 0, 0, 0)
    assert set(seen[7]) == set(CAUSES)


@pytest.mark.parametrize("steps", [1, 3, 20])
def test_a_large_emit_reaches_each_client_once(stage: Stage, steps: int) -> None:
    """It is delivered in steps. Clients go away meanwhile, and others send."""
    world = stage.world
    clients = [stage.client() for _ in range(4)]
    for _ in range(5_001):
        world.client("/")
    job = world.node.submit(Send(HUB, ROOT, b'42["large",1]'), lambda _about, _outcome: None)
    assert job is not None
    for _ in range(steps):
        next(job, None)
    for client in clients[:2]:
        world.send(client.connection, b'42["small",2]')
    for client in clients:
        client.lose()
    world.emit(Selection(filter=None), b'42["later",3]')
    for _ in job:
        pass
    for client in clients:
        had = [event[2] for event in client.events]
        before = len(stage.returns.sockets)
        client.come_back(answer=False)
        if len(stage.returns.sockets) > before:
            client.answer()
            got = had + [event[2] for event in client.events]
            assert got == ([1, 2, 3] if 2 in got else [1, 3])
        else:
            assert had == [2], "it has had a later event, so the large one would come out of order"
    assert len(stage.returns.sockets) + refused(stage).get(DROPPED, 0) == 4


@pytest.mark.parametrize("later", [True, False])
def test_an_emit_with_acks_in_steps_leaves_no_hole(stage: Stage, later: bool) -> None:
    """A client goes away before its step. If it has had a later event, its offset does not tell of that."""
    world = stage.world
    clients: list[Returning] = []
    for number in range(2_500):
        if number % 50:
            world.client("/")
        else:
            clients.append(stage.client())
    answers = RecordingAnswers()
    job = world.node.submit(Invoke(HUB, ROOT, b'42["ask",1]'), lambda _about, _outcome: None, None, answers)
    assert job is not None
    for _ in job:
        world.settle()
        if any(b"ask" in b"".join(sink_of(client.connection).packets) for client in clients):
            break
    if later:
        for client in clients:
            world.send(client.connection, b'42["later",2]')
    for client in clients:
        client.lose()
    for _ in job:
        pass
    for client in clients:
        had = [event[2] for event in client.events]
        before = len(stage.returns.sockets)
        client.come_back(answer=False)
        if len(stage.returns.sockets) > before:
            client.answer()
            got = had + [event[2] for event in client.events]
            assert 1 in got
        else:
            assert had == [2]
