"""Commands that reach parked sockets."""

from __future__ import annotations

import pytest

from moorage.hub.hub import Connection
from moorage.hub.recovery.sockets.away import Away
from moorage.hub.settings import Limits
from moorage.hub.turns import Job
from moorage.wire.commands import (
    EVERYONE,
    CloseConnections,
    Command,
    Exists,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    ListGroup,
    Outcome,
    Selection,
    Send,
)
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import Filter
from moorage.wire.groups import room_group
from moorage.wire.reasons import API_BAD_PAYLOAD, APP_CLOSED, BAD_UTF8, TOO_MANY_GROUPS
from moorage.wire.socketio import MAX_EMIT
from tests.hub.fakes import HUB, RecordingOpening, RecordingPeer, World
from tests.hub.recovery.stage import ROOT, Returning, Stage, room


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_no_emit_is_ignored_where_sockets_may_be_parked(stage: Stage) -> None:
    client = stage.client("/")
    stage.world.join(client.connection, "first")
    client.lose()
    assert not stage.world.node.ignores(stage.world.hub(), room_group("/", "first"))


def test_groups_of_parked_sockets_change(stage: Stage) -> None:
    world = stage.world
    client = stage.client("/", "/ns")
    world.join(client.connection, "first")
    client.lose()
    world.emit(room("first"), b'42["in first",1]')
    group = room_group("/", "second")
    assert world.execute(JoinGroups(HUB, room("first"), (group, room_group("/ns", "x")))).reached == 0
    world.emit(room("second"), b'42["in second",2]')
    world.execute(LeaveGroups(HUB, room("second"), (room_group("/", "first"),)))
    world.emit(room("first"), b'42["not in first",3]')
    world.execute(LeaveGroups(HUB, ROOT, None))
    world.emit(room("second"), b'42["not in second",4]')
    world.emit(room(client.sid["/"]), b'42["its own room",5]')
    world.execute(JoinGroups(HUB, ROOT, (group,)))
    world.emit(room("second"), b'42["in second",6]')
    client.come_back()
    assert [event[2] for event in client.events] == [1, 2, 5, 6]
    assert stage.returns.sockets[0][1].rooms == ("second",)
    assert group in client.connection.groups
    assert room_group("/ns", "x") not in client.connection.groups


def test_the_app_server_that_restores_a_socket_learns_of_changes(stage: Stage) -> None:
    world, peer = stage.world, RecordingPeer()
    stage.server.peer = peer
    client = stage.client("/")
    client.lose(save=None)
    old, new = room_group("/", "old"), room_group("/", "new")
    world.execute(JoinGroups(HUB, ROOT, (old,)))
    client.come_back(answer=False)
    world.execute(JoinGroups(HUB, ROOT, (new,)))
    assert not peer.moves, "it does not know yet that the client is back"
    client.save(b"{}")
    assert set(stage.returns.sockets[0][1].rooms) == {"old", "new"}
    world.execute(JoinGroups(HUB, ROOT, (room_group("/", "later"), room_group("/ns", "other"))))
    world.execute(LeaveGroups(HUB, ROOT, (old,)))
    world.execute(JoinGroups(HUB, ROOT, (old,), quiet=True))
    world.execute(LeaveGroups(HUB, ROOT, (new,), quiet=True))
    world.execute(LeaveGroups(HUB, ROOT, (room_group("/ns", "other"),)))
    here = (client.connection.id, "/")
    assert peer.moves == [(*here, ("later",), True), (*here, ("old",), False)]


def test_parked_sockets_are_neither_found_nor_listed(stage: Stage) -> None:
    client = stage.client()
    client.lose()
    assert not stage.world.execute(Exists(HUB, ROOT)).found
    assert stage.world.execute(ListGroup(HUB, room_group("/", client.sid["/"]), 10)) == Outcome(reached=0)


@pytest.mark.parametrize("close", [False, True])
def test_a_disconnect_by_selection_ends_parked_sockets(stage: Stage, close: bool) -> None:
    client, other = stage.client("/", "/ns"), stage.client("/", "/ns")
    stage.world.join(client.connection, "room")
    client.lose()
    other.lose()
    stage.world.execute(LeaveNamespace(HUB, room("room"), "/", close=close))
    stage.world.execute(LeaveNamespace(HUB, room("room"), "/other"))
    client.come_back("/", "/ns", answer=False)
    other.come_back("/", "/ns", answer=False)
    assert len(stage.returns.sockets) == (2 if close else 3)


def test_a_close_by_selection_ends_parked_sockets(stage: Stage) -> None:
    client = stage.client("/", "/ns")
    client.lose()
    stage.world.execute(CloseConnections(HUB, EVERYONE))
    client.come_back("/", "/ns", answer=False)
    assert not stage.returns.sockets
    assert stage.world.node.claims.counts.refused == {"unknown": 2}


@pytest.mark.parametrize("payload", [b"41", b"42\xff", b"42[1]\x1e" * MAX_EMIT + b"42[1]"])
def test_an_emit_that_is_refused_is_not_recorded(stage: Stage, payload: bytes) -> None:
    client = stage.client()
    client.lose()
    with pytest.raises(PeerError) as caught:
        stage.world.emit(ROOT, payload)
    assert caught.value.reason in (API_BAD_PAYLOAD, BAD_UTF8)
    stage.world.send(client.connection, b"41")
    client.come_back()
    assert client.events == []


def test_an_emit_without_offset_is_the_same_payload(stage: Stage) -> None:
    world = stage.world
    client = stage.client()
    world.emit(ROOT, b"43/ns,1[]")
    world.execute(Send(HUB, ROOT, b'42["volatile","text"]', volatile=True))
    world.emit(Selection(group="nobody"), b'42["a"]')
    client.read()
    assert client.packets[-2:] == [b"43/ns,1[]", b'42["volatile","text","%b"]' % client.offset["/"].encode()]
    assert client.offset["/"].endswith(".0")


@pytest.mark.parametrize(
    "to",
    [
        EVERYONE,
        Selection(user="u"),
        Selection(group="a group of connections"),
        Selection(filter=Filter(any_of=("a group of connections", room_group("/", "a")))),
        Selection(filter=Filter(none_of=("nothing",))),
    ],
)
def test_an_event_is_for_sockets_of_its_namespace(stage: Stage, to: Selection) -> None:
    """Stock clients keep events that come before the answer to their CONNECT, and hand them over later."""
    world = stage.world
    client = stage.client(user_id="u")
    world.execute(JoinGroups(HUB, EVERYONE, ("a group of connections",)))
    client.lose()
    early = world.open(RecordingOpening(), user_id="u")
    world.execute(JoinGroups(HUB, EVERYONE, ("a group of connections",)))
    world.emit(to, b'42["missed",1]')
    world.emit(to, b'42/other,["elsewhere",2]')
    client.connection, client._read = early, 0
    client.events.clear()
    world.node.receive(early, b'40{"pid":"%b"}' % client.pid["/"].encode())
    world.emit(to, b'42["missed",3]')
    client.answer()
    world.emit(to, b'42["live",4]')
    client.read()
    assert [event[2] for event in client.events] == [1, 3, 4]


class Crowd:
    """Many clients that are away, in a room."""

    def __init__(self, count: int = 410, *, namespaces: tuple[str, ...] = ("/",), **limits: int) -> None:
        self.stage = Stage(World(limits=Limits(**limits)))
        self.world = self.stage.world
        self.clients = [self.stage.client(*namespaces) for _ in range(count)]
        for client in self.clients:
            self.world.join(client.connection, "room")
            client.lose(read=False)

    def submit(self, command: Command) -> tuple[Job[None], list[Outcome | Exception]]:
        """The job, which is not begun, and what comes back."""
        replies: list[Outcome | Exception] = []
        job = self.world.node.submit(command, lambda about, outcome: replies.append(outcome))
        assert job is not None, "so much work is done in steps"
        return job, replies

    @property
    def away(self) -> Away[Connection]:
        recovery = self.world.hub().recovery
        assert recovery is not None
        return recovery.away

    def rooms(self, client: Returning) -> set[str]:
        """Rooms of a client that comes back."""
        client.come_back(answer=False)
        return set(self.stage.returns.sockets[-1][1].rooms)


GROUP = room_group("/", "room")
NEW = room_group("/", "new")


@pytest.mark.parametrize("when", [1, 3, 4, 5])
def test_many_parked_sockets_change_in_steps(when: int) -> None:
    crowd = Crowd()
    some, others = crowd.clients[:20], crowd.clients[20:]
    job, replies = crowd.submit(JoinGroups(HUB, room("room"), (NEW,)))
    steps = 0
    for _ in job:
        steps += 1
        if steps == when:
            for client in some:
                client.come_back()
    assert steps > 5
    assert [type(reply) for reply in replies] == [Outcome]
    for client in some:
        assert NEW in client.connection.groups
    assert crowd.rooms(others[0]) == crowd.rooms(others[-1]) == {"room", "new"}


def test_a_client_that_goes_away_before_its_step() -> None:
    crowd = Crowd()
    live = [crowd.stage.client() for _ in range(520)]
    for client in live:
        crowd.world.join(client.connection, "room")
    job, replies = crowd.submit(JoinGroups(HUB, room("room"), (NEW,)))
    for at, _ in enumerate(job):
        if at == 4:
            live[-1].lose(read=False)
    assert isinstance(replies[0], Outcome)
    assert crowd.rooms(live[-1]) == {"room", "new"}
    assert NEW in live[0].connection.groups


def test_few_parked_sockets_beside_many_clients() -> None:
    crowd = Crowd(2)
    for _ in range(520):
        crowd.world.join(crowd.stage.client().connection, "room")
    job, _ = crowd.submit(JoinGroups(HUB, room("room"), (NEW,)))
    for _ in job:
        pass
    assert crowd.rooms(crowd.clients[0]) == {"room", "new"}


def test_a_socket_that_ends_before_its_step() -> None:
    crowd = Crowd()
    job, replies = crowd.submit(JoinGroups(HUB, room("room"), (NEW,)))
    next(job)
    client = crowd.clients[0]
    crowd.world.execute(CloseConnections(HUB, Selection(connection=client.connection.id)))
    for _ in job:
        pass
    assert [type(reply) for reply in replies] == [Outcome]
    assert client.pid["/"] not in [track.pid for track in crowd.away.rooms.members(NEW)]
    assert len(crowd.away.rooms.members(NEW)) == 409


@pytest.mark.parametrize("how", ["leave", "leave all", "namespace", "close"])
def test_other_changes_in_steps(how: str) -> None:
    crowd = Crowd()
    back, gone, stays = crowd.clients[10], crowd.clients[-1], crowd.stage.client()
    command: Command = {
        "leave": LeaveGroups(HUB, room("room"), (GROUP,)),
        "leave all": LeaveGroups(HUB, room("room"), None),
        "namespace": LeaveNamespace(HUB, room("room"), "/"),
        "close": CloseConnections(HUB, room("room")),
    }[how]  # type: ignore[assignment]
    job, _ = crowd.submit(command)
    for at, _ in enumerate(job):
        if at == 1:
            back.come_back()
            crowd.clients[11].come_back()
            crowd.world.node.disconnect(crowd.clients[11].connection, APP_CLOSED, who="app")
    stays.lose()
    assert crowd.rooms(stays) == set()
    if how.startswith("leave"):
        assert GROUP not in back.connection.groups
        assert crowd.rooms(gone) == set()
    else:
        crowd.world.settle()
        assert crowd.stage.world.node.claims.counts.refused == {}
        gone.come_back(answer=False)
        assert crowd.stage.world.node.claims.counts.refused == {"unknown": 1}


def test_many_groups_for_one_parked_socket() -> None:
    crowd = Crowd(1)
    (client,) = crowd.clients
    groups = tuple(room_group("/", str(number)) for number in range(600))
    job, _ = crowd.submit(JoinGroups(HUB, Selection(connection=client.connection.id), groups))
    assert len(list(job)) >= 4
    job, _ = crowd.submit(LeaveGroups(HUB, Selection(connection=client.connection.id), groups[:-1]))
    assert len(list(job)) >= 4
    assert crowd.away.rooms.members(groups[-1])
    job, _ = crowd.submit(JoinGroups(HUB, room("599"), groups))
    next(job)
    next(job)
    assert len(crowd.rooms(client)) == 252, "it comes back in the middle"
    client.answer()
    for _ in job:
        pass
    assert set(groups) < client.connection.groups
    assert not crowd.away.rooms.members(groups[0])


def test_a_selection_of_very_many_rooms() -> None:
    crowd = Crowd(2)
    groups = tuple(f"{number}" for number in range(3_000))
    to = Selection(filter=Filter(any_of=(*groups, GROUP)))
    job, _ = crowd.submit(JoinGroups(HUB, to, (NEW,)))
    for _ in job:
        pass
    assert [crowd.rooms(client) for client in crowd.clients] == [{"room", "new"}] * 2


@pytest.mark.parametrize("count", [2, 300])
def test_parked_sockets_are_in_a_limited_number_of_groups(count: int) -> None:
    crowd = Crowd(count, namespaces=("/", "/ns"), max_groups=6)
    # Two namespaces, two private rooms, one room: one more fits.
    two = JoinGroups(HUB, room("room"), (NEW, room_group("/", "and")))
    if count == 2:
        with pytest.raises(PeerError) as caught:
            crowd.world.execute(two)
        assert caught.value.reason is TOO_MANY_GROUPS
        crowd.world.execute(JoinGroups(HUB, room("room"), (NEW,)))
    else:
        job, replies = crowd.submit(two)
        list(job)
        (error,) = replies
        assert isinstance(error, PeerError)
        assert error.reason is TOO_MANY_GROUPS
        list(crowd.submit(JoinGroups(HUB, room("room"), (NEW,)))[0])
    assert crowd.rooms(crowd.clients[0]) == {"room", "new"}
    connection = crowd.clients[0].connection
    with pytest.raises(PeerError):
        crowd.world.execute(JoinGroups(HUB, Selection(connection=connection.id), (*two.groups, "x", "y")))
