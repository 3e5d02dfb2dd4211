"""Clients that come back to their sockets: what they, their app servers and others see."""

from __future__ import annotations

import json

import pytest

from moorage.hub.ports import Recovered
from moorage.hub.recovery.causes import DROPPED, FOREIGN, OFFSET, UNKNOWN, UNSAVED, UNSUPPORTED
from moorage.hub.recovery.claims import SAVE_SECONDS
from moorage.hub.settings import HubSettings
from moorage.wire.commands import EVERYONE, Selection, Send
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.reasons import (
    API_CLOSED,
    APP_LET_GO,
    APP_LOST,
    BAD_PACKET,
    CLIENT_CLOSED,
    DRAINING,
    MISSED_TOO_MUCH,
    PING_TIMEOUT,
    RETURNED,
    SLOW_CLIENT,
    TRANSPORT_LOST,
    Reason,
)
from tests.hub.fakes import (
    HUB,
    RecordingOpening,
    RecordingPeer,
    World,
    sink_of,
)
from tests.hub.recovery.stage import ROOT, Returning, Stage, refused, room


@pytest.fixture
def stage() -> Stage:
    return Stage()


def is_fresh(stage: Stage, client: Returning) -> bool:
    """True if the app server got the client's CONNECT as always."""
    return stage.link.packets(client.connection) == [client.asked] and not stage.returns.sockets


def test_missed_events_arrive_once_and_in_order(stage: Stage) -> None:
    world = stage.world
    client, other = stage.client(), stage.client()
    world.join(client.connection, "room")
    world.emit(room("room"), b'42["live",1]')
    client.lose(save=b'{"name":"x"}')
    world.emit(room("room"), b'42["missed",2]')
    world.emit(ROOT, b'42["missed",3]')
    world.emit(EVERYONE, b'42["missed",4]')
    world.emit(room("elsewhere"), b'42["not for it"]')
    client.come_back(answer=False)
    socket = Recovered(client.asked, "/", client.sid["/"], ("room",), b'{"name":"x"}')
    assert stage.returns.sockets == [(client.connection.id, socket)]
    assert stage.link.packets(client.connection) == []
    pid = client.pid["/"]
    client.answer()
    world.emit(room("room"), b'42["live",5]')
    client.read()
    assert client.pid["/"] == pid
    assert client.events == [["/", "missed", 2], ["/", "missed", 3], ["/", "missed", 4], ["/", "live", 5]]
    other.read()
    assert [event[1:] for event in other.events] == [["missed", 3], ["missed", 4]]
    counts = world.node.claims.counts
    assert (counts.parked, counts.resumed, counts.replayed) == (1, 1, 3)
    # It can come back again, and misses only what it has not had.
    client.lose()
    world.emit(room("room"), b'42["missed",6]')
    client.come_back()
    assert client.events == [["/", "missed", 6]]


def test_a_client_that_has_received_nothing_gets_all_since_its_connect(stage: Stage) -> None:
    early = stage.client()
    stage.world.emit(ROOT, b'42["before"]')
    client = stage.client()
    stage.world.emit(ROOT, b'42["lost on the way"]')
    client.lose(read=False)
    client.offset.clear()
    client.come_back()
    assert client.events == [["/", "lost on the way"]]
    early.read()
    assert len(early.events) == 2


def test_all_kinds_of_events_are_missed(stage: Stage) -> None:
    world = stage.world
    client = stage.client("/", "/ns", user_id="u")
    world.join(client.connection, "room", "second")
    sid, former = client.sid, client.connection
    client.lose()
    world.emit(room(sid["/"]), b'42["to its id"]')
    world.emit(Selection(user="u"), b'42["to its user"]')
    world.emit(Selection(connection=client.connection.id), b'42["to its connection"]')
    world.send(former, b'42["to its connection, too"]')
    world.emit(room("room"), b'451-["binary",{"_placeholder":true,"num":0}]\x1ebAAE=')
    world.emit(Selection(group=namespace_group("/ns")), b'42/ns,["in the other namespace"]')
    world.emit(Selection(user="u"), b'42/ns,["user, other namespace"]')
    world.emit(EVERYONE, b'42["both"]\x1e42/ns,["both"]\x1e43/ns,1[]')
    world.execute(Send(HUB, room("room"), b'42["volatile"]', volatile=True))
    client.come_back("/", "/ns")
    assert client.events == [
        ["/", "to its id"],
        ["/", "to its user"],
        ["/", "to its connection"],
        ["/", "to its connection, too"],
        ["/", "binary", {"_placeholder": True, "num": 0}],
        ["/", "both"],
        ["/ns", "in the other namespace"],
        ["/ns", "user, other namespace"],
        ["/ns", "both"],
    ]
    assert b"bAAE=" in client.packets
    assert room_group("/", "second") in client.connection.groups


def test_nobody_else_gets_a_session(stage: Stage) -> None:
    """Forged and exchanged pids."""
    a, b = stage.client("/", "/ns", user_id="a"), stage.client("/", "/ns", user_id="b")
    a.lose()
    b.lose()
    a.pid, b.pid = b.pid, a.pid
    a.come_back(answer=False)
    assert is_fresh(stage, a)
    b.come_back(answer=False)
    assert is_fresh(stage, b)
    a.pid, b.pid = b.pid, a.pid
    a.pid["/"], a.pid["/ns"] = a.pid["/ns"], a.pid["/"]
    a.come_back(answer=False)
    assert is_fresh(stage, a)
    assert refused(stage) == {FOREIGN: 3}
    a.pid["/"], b.pid["/"] = "guessed", "x" * 10_000
    for client in (a, b):
        client.come_back(answer=False)
        assert is_fresh(stage, client)
    assert refused(stage) == {FOREIGN: 3, UNKNOWN: 2}
    # None of this has hurt the sockets: their own clients get them.
    b.come_back("/ns", answer=False)
    assert [socket.sid for _, socket in stage.returns.sockets] == [b.sid["/ns"]]


def test_a_pid_of_another_hub_is_unknown(stage: Stage) -> None:
    client = stage.client()
    client.lose()
    server, link = stage.world.server("s9", hub="other", peer=RecordingPeer())
    node, hub = stage.world.node, stage.world.hub("other")
    node.claims.turn_on(hub, server, stage.returns, 60, settings=HubSettings(), news=None)
    connection = stage.world.open(RecordingOpening(), hub="other")
    packet = json.dumps({"pid": client.pid["/"]}).encode()
    node.receive(connection, b"40" + packet)
    assert link.packets(connection) == [b"40" + packet]
    assert refused(stage) == {UNKNOWN: 1}


@pytest.mark.parametrize(
    "offset",
    ["x", "", "e.1", "{epoch}.fffff", "{epoch}.-1", "{epoch}.", 7, ["a"], {}, "{epoch}.1 ", "e" * 999],
)
def test_offsets_that_no_client_has(stage: Stage, offset: object) -> None:
    client = stage.client()
    stage.world.emit(ROOT, b'42["a"]')
    client.lose()
    stage.world.emit(ROOT, b'42["b"]')
    epoch = client.offset["/"].partition(".")[0]
    given = offset.replace("{epoch}", epoch) if isinstance(offset, str) else offset
    connection = stage.world.open(RecordingOpening())
    packet = b"40" + json.dumps({"pid": client.pid["/"], "offset": given}).encode()
    stage.world.node.receive(connection, packet)
    assert stage.link.packets(connection) == [packet]
    assert refused(stage) == {OFFSET: 1}
    # The true client may still come back.
    client.come_back()
    assert client.events == [["/", "b"]]


def test_a_replayed_pid_moves_the_session_to_the_latest_connection(stage: Stage) -> None:
    client = stage.client()
    client.lose()
    client.come_back()
    first = client.connection
    client.come_back(answer=False)
    # The connection that had the session has ended, and its app server saves the socket.
    assert stage.link.ended[-1] == (first.id, RETURNED)
    assert [name for _, name, *_ in stage.world.logged] == ["transport-lost", "returned"]
    client.save(b"{}")
    client.answer()
    stage.world.emit(ROOT, b'42["once"]')
    client.read()
    assert client.events == [["/", "once"]]


def test_two_connections_with_one_pid_at_once(stage: Stage) -> None:
    world = stage.world
    client = stage.client()
    client.lose(save=None)
    client.come_back(answer=False)
    first = client.connection
    client.come_back(answer=False)
    assert stage.link.ended[-1] == (first.id, RETURNED)
    client.save(b"1")
    assert [connection for connection, _ in stage.returns.sockets] == [client.connection.id]
    third = client.connection
    client.come_back(answer=False)
    assert [connection for connection, _ in stage.returns.sockets] == [third.id, client.connection.id]
    client.answer()
    world.emit(ROOT, b'42["once"]')
    client.read()
    assert client.events == [["/", "once"]]
    assert world.sockets == 1
    assert world.node.claims.counts.resumed == 1


def test_a_claim_waits_for_the_data(stage: Stage) -> None:
    client = stage.client()
    client.lose(save=None)
    client.come_back(answer=False)
    assert stage.returns.sockets == []
    other, _ = stage.world.server("s2", peer=RecordingPeer())
    stage.world.node.claims.save(stage.world.hub(), other, "/", client.sid["/"], b'"forged"')
    stage.world.node.claims.save(stage.world.hub(), stage.server, "/", "nobody", b"{}")
    assert stage.returns.sockets == []
    stage.tick(SAVE_SECONDS - 1)
    client.save(b'"data"')
    assert [socket.data for _, socket in stage.returns.sockets] == [b'"data"']
    client.save(b"later")
    stage.tick(SAVE_SECONDS)
    assert len(stage.returns.sockets) == 1
    assert stage.link.packets(client.connection) == []


def test_data_that_does_not_come(stage: Stage) -> None:
    client = stage.client()
    client.lose(save=None)
    client.come_back(answer=False)
    stage.tick(SAVE_SECONDS)
    assert is_fresh(stage, client)
    assert refused(stage) == {UNSAVED: 1}
    client.save(b"too late")
    stage.world.send(client.connection, b'40{"sid":"new"}')
    client.read()
    assert client.sid["/"] == "new"


def test_a_client_that_leaves_while_its_claim_waits(stage: Stage) -> None:
    world = stage.world
    client = stage.client()
    client.lose(save=None)
    client.come_back(answer=False)
    world.node.disconnect(client.connection, TRANSPORT_LOST, who="client")
    client.save(b"{}")
    assert stage.returns.sockets == []
    stage.tick(SAVE_SECONDS)
    assert stage.link.packets(client.connection) == []
    client.come_back(answer=False)
    assert len(stage.returns.sockets) == 1
    # It goes away again before the app server has answered: nothing is lost.
    world.node.disconnect(client.connection, TRANSPORT_LOST, who="client")
    world.emit(ROOT, b'42["missed"]')
    client.come_back()
    assert client.events == [["/", "missed"]]


@pytest.mark.parametrize("save", [None, b"{}"])
def test_a_client_that_disconnects_its_socket_while_it_is_claimed(stage: Stage, save: bytes | None) -> None:
    client = stage.client()
    client.lose(save=save)
    client.come_back(answer=False)
    stage.world.node.receive(client.connection, b"41")
    # An app server that knows nothing of the CONNECT must not get the DISCONNECT.
    assert stage.link.packets(client.connection) == ([b"41"] if save else [])
    client.connection.session.peer.namespaces.clear()
    client.come_back(answer=False)
    assert refused(stage) == {UNKNOWN: 1}


@pytest.mark.parametrize("answer", [b'44{"message":"no"}', b'40{"sid":"another"}'])
def test_an_app_server_that_does_not_recover_the_socket(stage: Stage, answer: bytes) -> None:
    world = stage.world
    client = stage.client()
    pid = client.pid["/"]
    client.lose()
    world.emit(ROOT, b'42["missed"]')
    client.come_back(answer=False)
    world.send(client.connection, answer)
    client.read()
    assert client.events == []
    assert (client.pid["/"] == pid) is answer.startswith(b"44")
    client.pid["/"] = pid
    client.come_back(answer=False)
    assert refused(stage) == {UNKNOWN: 1}


def test_what_was_dropped_meanwhile_ends_the_connection() -> None:
    settings = HubSettings(recovery_room_events=2, recovery_session_events=3)
    stage = Stage(World(hubs={HUB: settings}))
    client = stage.client()
    stage.world.emit(ROOT, b'42["received"]')
    client.lose()
    client.come_back(answer=False)
    for number in range(3):
        stage.world.emit(ROOT, b'42["missed",%d]' % number)
    sink = sink_of(client.connection)
    stage.world.send(client.connection, f'40{{"sid":"{client.sid["/"]}"}}'.encode())
    assert [reason for reason, _ in sink.closed] == [MISSED_TOO_MUCH]
    client.come_back(answer=False)
    assert refused(stage) == {DROPPED: 1}


@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_very_many_events_for_a_parked_room_are_bounded_and_its_client_gets_a_new_socket(count: int) -> None:
    stage = Stage(World(hubs={HUB: HubSettings(recovery_room_events=1000)}))
    client = stage.client()
    stage.world.emit(ROOT, b'42["received"]')
    client.lose()
    recovery = stage.world.hub().recovery
    assert recovery is not None
    for _ in range(count):
        recovery.send(ROOT, b'42["event"]')
    assert recovery.log.events == 1000
    client.come_back(answer=False)
    assert is_fresh(stage, client)
    assert refused(stage) == {DROPPED: 1}


@pytest.mark.parametrize(
    "reason", [TRANSPORT_LOST, PING_TIMEOUT, CLIENT_CLOSED, SLOW_CLIENT, DRAINING, APP_LET_GO]
)
def test_ends_after_which_a_client_may_come_back(stage: Stage, reason: Reason) -> None:
    client = stage.client()
    client.lose(reason)
    client.come_back()
    assert refused(stage) == {}


@pytest.mark.parametrize("reason", [APP_LOST, API_CLOSED, BAD_PACKET])
def test_ends_after_which_it_may_not(stage: Stage, reason: Reason) -> None:
    client = stage.client()
    client.lose(reason)
    client.come_back(answer=False)
    assert refused(stage) == {UNKNOWN: 1}


@pytest.mark.parametrize("packet", ["41", "disconnect", '44{"message":"x"}'])
def test_a_socket_that_was_ended_does_not_come_back(stage: Stage, packet: str) -> None:
    client = stage.client()
    if packet == "41":
        stage.world.node.receive(client.connection, b"41")
    else:
        stage.world.send(client.connection, b"41" if packet == "disconnect" else packet.encode())
    client.lose()
    client.come_back(answer=False)
    assert refused(stage) == {UNKNOWN: 1}


def test_an_app_server_without_recovery(stage: Stage) -> None:
    client = stage.client()
    client.lose()
    _, link = stage.world.server("s2", peer=RecordingPeer())
    stage.server.draining = True
    client.come_back(answer=False)
    assert link.packets(client.connection) == [client.asked]
    assert refused(stage) == {UNSUPPORTED: 1}
    # Its sockets get no pid, and no offsets of their own.
    stage.world.send(client.connection, b'40{"sid":"plain"}')
    stage.world.send(client.connection, b'42["direct"]')
    stage.world.settle()
    assert sink_of(client.connection).packets == [b'40{"sid":"plain"}', b'42["direct"]']


def test_data_that_no_app_server_can_read_is_none(stage: Stage) -> None:
    client = stage.client()
    client.lose(save=b"{")
    client.save(b"\xff")
    client.save(b"{} {}")
    client.come_back(answer=False)
    assert stage.returns.sockets == []
    stage.tick(SAVE_SECONDS + 0.1)
    assert refused(stage) == {UNSAVED: 1}


def test_the_app_has_a_limited_number_of_bytes_for_each_socket_and_for_all() -> None:
    settings = HubSettings(recovery_session_bytes=1024, recovery_hub_bytes=1024 * 3)
    stage = Stage(World(hubs={HUB: settings}))
    data = b'"' + b"x" * 1000 + b'"'
    clients = [stage.client() for _ in range(5)]
    clients[0].lose(save=data + b" " * 100)
    for client in clients[1:]:
        client.lose(save=data)
        client.save(data)
    for client in clients:
        client.come_back()
    assert refused(stage) == {DROPPED: 2}, "the first one, and the last one"
    assert len(stage.returns.sockets) == 3
    recovery = stage.world.hub().recovery
    assert recovery is not None
    assert recovery.away.data_bytes == 0


def test_an_app_server_of_another_node_has_no_session_here() -> None:
    stage = Stage()
    node, hub = stage.world.node, stage.world.hub()
    changes: list[tuple[str, bool]] = []
    node.claims.session_changed = lambda _hub, instance, up: changes.append((instance, up))
    settings = node.hub_settings(hub.name)
    for linked in (False, True):
        node.claims.turn_on(hub, stage.server, stage.returns, 60, settings=settings, news=None, linked=linked)
    assert changes == [(stage.server.instance, True)]
