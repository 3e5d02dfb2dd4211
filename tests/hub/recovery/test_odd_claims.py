"""What happens between a claim and its answer, and clients that lose two connections in a row."""

from __future__ import annotations

import pytest

from moorage.engine.upgrade import State
from moorage.hub.settings import HubSettings
from moorage.wire.commands import (
    EVERYONE,
    CloseConnections,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    Selection,
    Send,
)
from moorage.wire.filters.compiled import Filter
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.reasons import TRANSPORT_LOST
from tests.hub.fakes import HUB, RecordingPeer, World
from tests.hub.recovery.stage import ROOT, Returning, Stage, room


@pytest.fixture
def stage() -> Stage:
    return Stage()


def answer(client: Returning) -> None:
    """The app server answers a claim, and the client does not get it."""
    client.stage.world.send(client.connection, f'40{{"sid":"{client.sid["/"]}"}}'.encode())


def test_app_server_makes_a_new_socket_instead(stage: Stage) -> None:
    client = stage.client()
    client.lose()
    client.come_back(answer=False)
    client.answer(sid="another")
    assert client.connection.groups == {namespace_group("/"), room_group("/", "another")}
    stage.world.emit(ROOT, b'42["hello"]')
    client.read()
    assert client.events == [["/", "hello"]]


def test_events_for_a_user_arrive_once(stage: Stage) -> None:
    client = stage.client("/", "/ns", user_id="u")
    client.lose()
    client.come_back("/", "/ns", answer=False)
    client.answer("/ns")
    stage.world.emit(Selection(user="u"), b'42["user"]')
    stage.world.emit(EVERYONE, b'42["all"]')
    stage.world.emit(Selection(connection=client.connection.id), b'42["connection"]')
    stage.world.emit(EVERYONE, b'42/ns,["elsewhere"]')
    client.answer()
    at_once, missed = [["/ns", "elsewhere"]], [["/", "user"], ["/", "all"], ["/", "connection"]]
    assert client.events == at_once + missed


def test_app_server_hears_of_room_changes_by_others(stage: Stage) -> None:
    client = stage.client()
    stage.world.join(client.connection, "old")
    client.lose()
    stage.world.execute(JoinGroups(HUB, ROOT, (room_group("/", "before"),)))
    client.come_back(answer=False)
    assert set(stage.returns.sockets[-1][1].rooms) == {"old", "before"}
    stage.world.execute(JoinGroups(HUB, ROOT, (room_group("/", "r"),)))
    stage.world.execute(LeaveGroups(HUB, ROOT, (room_group("/", "old"),)))
    stage.world.execute(JoinGroups(HUB, ROOT, ("other",)))
    client.answer()
    assert room_group("/", "r") in client.connection.groups
    peer = stage.server.peer
    assert isinstance(peer, RecordingPeer)
    heard = [move[1:] for move in peer.moves if move[0] == client.connection.id]
    assert heard == [("/", ("r",), True), ("/", ("old",), False)]


@pytest.mark.parametrize(
    "command",
    [
        LeaveNamespace(HUB, room("r"), "/", close=False),
        LeaveNamespace(HUB, room("r"), "/", close=True),
        CloseConnections(HUB, room("r")),
    ],
)
@pytest.mark.parametrize("saved", [True, False])
def test_a_socket_that_others_end_is_not_recovered(
    stage: Stage, command: LeaveNamespace | CloseConnections, *, saved: bool
) -> None:
    """Its app server has been told to recover it, or its data has not come yet. The client is answered in any
    case."""
    client = stage.client()
    stage.world.join(client.connection, "r")
    client.lose(save=b"{}" if saved else None)
    client.come_back(answer=False)
    stage.world.execute(command)
    if not saved:
        client.save(b"{}")
    answer(client)
    assert client.connection.session.state == State.CLOSED
    client.come_back(answer=False)
    assert stage.link.packets(client.connection) == [client.asked]


def test_a_socket_that_others_end_while_its_client_goes_away_again(stage: Stage) -> None:
    client = stage.client()
    stage.world.join(client.connection, "r")
    client.lose()
    client.come_back(answer=False)
    stage.world.execute(CloseConnections(HUB, room("r")))
    client.lose()
    client.come_back(answer=False)
    assert stage.link.packets(client.connection) == [client.asked]


def test_two_losses_and_an_emit_of_another_app_servers_clients(stage: Stage) -> None:
    client, world = stage.client(), stage.world
    other, _ = world.server("s2", peer=RecordingPeer())
    stage.recoverable(other)
    local = [Selection(group=namespace_group("/"), server=server.id) for server in (stage.server, other)]
    world.emit(local[0], b'42["local"]')
    world.emit(local[1], b'42["not for it"]')
    client.lose(read=False)
    stage.server.others = 5
    client.come_back(answer=False)
    assert client.connection.server is other
    answer(client)
    world.emit(local[0], b'42["not for it"]')
    world.emit(local[1], b'42["local now"]')
    world.node.disconnect(client.connection, TRANSPORT_LOST, who="client")
    world.node.claims.save(world.hub(), other, "/", client.sid["/"], b"{}")
    client.come_back()
    assert client.events == [["/", "local"], ["/", "local now"]]


def test_two_losses_and_an_emit_that_excludes_the_connection(stage: Stage) -> None:
    client = stage.client()
    to = Selection(group=namespace_group("/"), excluded=(client.connection.id,))
    stage.world.emit(to, b'42["its own"]')
    for _ in range(3):
        client.lose(read=False)
        client.come_back(answer=False)
        answer(client)
    client.lose(read=False)
    stage.world.emit(ROOT, b'42["later"]')
    client.come_back()
    assert client.events == [["/", "later"]]


def test_too_many_changes_of_groups() -> None:
    """They are bounded. A client that might need a forgotten one gets a new session."""
    stage = Stage(World(hubs={HUB: HubSettings(recovery_session_events=3)}))
    client, world = stage.client(), stage.world
    world.emit(ROOT, b'42["event",1]')
    for _ in range(2):
        world.join(client.connection, "r")
        world.execute(LeaveGroups(HUB, Selection(connection=client.connection.id), (room_group("/", "r"),)))
    client.lose()
    client.come_back()
    assert client.events == []
    for _ in range(5):
        world.join(client.connection, "r")
        world.execute(LeaveGroups(HUB, Selection(connection=client.connection.id), (room_group("/", "r"),)))
    world.emit(ROOT, b'42["event",2]')
    client.lose(read=False)
    client.come_back()
    assert client.events == [["/", "event", 2]]
    for number in range(10):
        world.emit(room("elsewhere"), b'42["event"]')
        world.join(client.connection, f"{number}")
        world.emit(room(f"{number}"), b'42["event",%d]' % number)
    client.lose(read=False)
    client.come_back(answer=False)
    assert world.node.claims.counts.refused["dropped"] == 1


def test_the_oldest_parked_socket_is_forgotten_unless_it_is_claimed() -> None:
    stage = Stage(World(hubs={HUB: HubSettings(recovery_max_parked=2)}))
    first, *others = [stage.client() for _ in range(4)]
    first.lose()
    first.come_back(answer=False)
    for client in others:
        client.lose()
    first.answer()
    assert stage.world.node.claims.counts.resumed == 1
    for client in others:
        client.come_back(answer=False)
    assert stage.world.node.claims.counts.refused["unknown"] == 2


def test_an_emit_in_steps_is_not_delivered_to_those_who_got_it_again(stage: Stage) -> None:
    """The client comes back between the emit's record and its first step."""
    client, world = stage.client(), stage.world
    for _ in range(1_100):
        stage.client()
    client.lose()
    to = Selection(group=namespace_group("/"), filter=Filter(none_of=("nobody",)))
    job = world.node.submit(Send(HUB, to, b'42["large"]'), lambda *_: None)
    assert job is not None
    client.come_back()
    for _ in job:
        pass
    client.read()
    assert client.events == [["/", "large"]]
