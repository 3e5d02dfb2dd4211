"""Which frame an emit or a change of rooms becomes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import engineio
import pytest
import socketio
import socketio.packet

from moorage.sdk.clients.clients import Client, ClientTable
from moorage.sdk.clients.members import Member, Parting, Stage
from moorage.sdk.errors import LinkClosed, NotSerialisable, RequestFailed, UsageError
from moorage.sdk.exchange.change import RoomChange
from moorage.sdk.exchange.manager import AckCallbacks, SocketManager, Step
from moorage.sdk.payload import Codec
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import To


class Table(ClientTable[Client]):
    """A table without an engine around it."""

    def __init__(self) -> None:
        self._replace(engineio.Server(async_mode="threading"), "")


class Manager(SocketManager):
    """A manager without the library around it, and client 5 with the socket `own` in `/`."""

    def __init__(self, *, connected: bool = True) -> None:
        self.server = socketio.Server(async_mode="threading")
        table = Table()
        table.take(Client(5, "client", "session1", {"QUERY_STRING": ""}))
        self._manage(table, Codec(socketio.packet.Packet), nullcontext())
        self.auth["client", "/"] = "secret"
        self.sid = self.add_socket("client", "/") or ""
        self.own = self.members.by_id[self.sid]
        if connected:
            self.connected(self.sid, "/")

    def emit(self, room: Any = None, skip: Any = None, flags: int = 0, data: Any = 1) -> Any:
        return self.plan_emit("a", data, "/", room, skip, flags)


def frame_of(step: Step) -> v1.FromApp:
    """The request that a step sends."""
    assert step is not None
    return (step.make if isinstance(step, RoomChange) else step)(9)


@pytest.fixture
def manager() -> Manager:
    return Manager()


def test_an_emit_to_an_own_socket_is_a_packet_in_its_session(manager: Manager) -> None:
    assert manager.emit(manager.sid) == (v1.Packet(5, b'42["a",1]'), "session1")


@pytest.mark.parametrize("how", ["skip", "flags", "rooms", "gone", "leaving"])
def test_an_emit_that_the_service_must_carry_out(manager: Manager, how: str) -> None:
    room: Any = [manager.sid] if how == "rooms" else manager.sid
    manager.own.client.gone = how == "gone"
    if how == "leaving":
        manager.own.stage = Stage.LEAVING
    frame, session = manager.emit(room, "x" if how == "skip" else None, v1.VOLATILE if how == "flags" else 0)
    assert isinstance(frame, v1.Emit)
    assert (frame.to.rooms, session) == ((manager.sid,), "")


@pytest.mark.parametrize(
    ("data", "payload"), [(None, b'42["a"]'), ((1, 2), b'42["a",1,2]'), ([1, 2], b'42["a",[1,2]]')]
)
def test_the_data_of_an_emit(manager: Manager, data: Any, payload: bytes) -> None:
    assert manager.emit("room", data=data)[0] == v1.Emit(0, To("/", ("room",)), 0, payload)


def test_emits_that_cannot_be_sent(manager: Manager) -> None:
    with pytest.raises(NotSerialisable):
        manager.emit(data=object())
    with pytest.raises(UsageError):
        manager.emit(room=1.5)


def test_a_connecting_socket_gets_the_emits_that_the_service_cannot_send_it_yet() -> None:
    manager = Manager(connected=False)
    assert manager.also_to(To("/")) == [manager.own]
    assert manager.also_to(To("/chat")) == manager.also_to(To("/", (), (manager.sid,))) == []
    manager.connected(manager.sid, "/")
    assert manager.also_to(To("/")) == []


def test_an_event_with_a_callback(manager: Manager) -> None:
    planned = manager.packet_with_ack(manager.own, "/", ["a"], print)
    assert planned is not None
    packet, ack_id = planned
    assert packet == v1.Packet(5, b'42%d["a"]' % ack_id)
    assert manager.own.answered(ack_id) is print
    with pytest.raises(NotSerialisable):
        manager.packet_with_ack(manager.own, "/", [object()], print)
    assert manager.own.waiting == {}


def test_a_socket_whose_client_moves_is_named_by_its_room(manager: Manager) -> None:
    manager.own.client.parting = Parting.SAID
    assert manager.staying(manager.sid, "/") is None
    assert manager.packet_with_ack(manager.own, "/", ["a"], print) is None
    enter, leave = (plan(manager.sid, "/", "r") for plan in (manager.plan_enter, manager.plan_leave))
    assert callable(enter)
    assert callable(leave)
    to = To("/", (manager.sid,))
    assert (enter(1), leave(2)) == (v1.Join(1, to, ("r",)), v1.Leave(2, to, ("r",)))
    manager.own.client.parting = Parting.NO
    assert manager.staying(manager.sid, "/") is manager.own
    ask = manager.ask_with_ack("/", ["a"], "room", None, 0)(3)
    assert ask == v1.Ask(3, To("/", ("room",)), 0, 60_000, b'42["a"]')


def test_entering_and_leaving_a_room(manager: Manager) -> None:
    assert frame_of(manager.plan_enter(manager.sid, "/", 7)) == v1.Enter(9, 5, "/", ("7",))
    assert set(manager.get_rooms(manager.sid, "/")) == {manager.sid, 7}
    assert frame_of(manager.plan_leave(manager.sid, "/", 7)) == v1.Exit(9, 5, "/", ("7",))
    assert manager.get_rooms(manager.sid, "/") == [manager.sid]


def test_a_refused_change_restores_the_rooms_as_they_were(manager: Manager) -> None:
    for _ in range(2):
        step = manager.plan_enter(manager.sid, "/", "a")
        assert isinstance(step, RoomChange)
        step.ended(None)
    again = manager.plan_enter(manager.sid, "/", "a")
    assert isinstance(again, RoomChange)
    again.ended(RequestFailed(1, "no", "no"))
    assert set(manager.get_rooms(manager.sid, "/")) == {manager.sid, "a"}, "it was in there before"


def test_a_connecting_socket_enters_with_its_id() -> None:
    manager = Manager(connected=False)
    assert frame_of(manager.plan_enter(manager.sid, "/", "a")) == v1.Enter(9, 5, "/", (manager.sid, "a"))


def test_a_socket_that_is_leaving_sends_nothing(manager: Manager) -> None:
    assert manager.claim(manager.own)
    assert not manager.claim(manager.own), "one caller runs the disconnect handler"
    assert manager.plan_enter(manager.sid, "/", "a") is None
    assert "a" in manager.get_rooms(manager.sid, "/")


def test_sockets_of_other_app_servers(manager: Manager) -> None:
    to = To("/", ("other",))
    assert frame_of(manager.plan_enter("other", "/", "a")) == v1.Join(9, to, ("a",))
    assert frame_of(manager.plan_leave("other", "/", "a")) == v1.Leave(9, to, ("a",))
    assert frame_of(manager.disconnect_elsewhere("other", "/")) == v1.Disconnect(9, to, False)
    for nobody in (None, 5, ""):
        assert manager.disconnect_elsewhere(nobody, "/") is None, "never everybody"
    assert manager.plan_enter(None, "/", "a") is None  # type: ignore[arg-type]


def test_a_room_is_closed_and_opened_again_should_that_fail(manager: Manager) -> None:
    manager.plan_enter(manager.sid, "/", "a")
    make, undo = manager.plan_close("a", "/")
    assert make(9) == v1.Leave(9, To("/", ("a",)), ("a",))
    assert manager.get_rooms(manager.sid, "/") == [manager.sid]
    undo()
    assert set(manager.get_rooms(manager.sid, "/")) == {manager.sid, "a"}
    for wrong in (
        lambda: manager.plan_close(manager.sid, "/"),
        lambda: manager.plan_enter("x", "/", manager.sid),
    ):
        with pytest.raises(ValueError, match="sid room"):
            wrong()


def test_the_life_of_a_socket() -> None:
    manager = Manager(connected=False)
    assert manager.own.auth == "secret"
    assert manager.add_socket("client", "/") is None, "a second CONNECT"
    assert manager.add_socket("nobody", "/") is None
    assert manager.is_pre_connected(manager.sid, "/")
    manager.connected(manager.sid, "/")
    assert manager.is_connected(manager.sid, "/")
    assert manager.sid_from_eio_sid("client", "/") == manager.sid
    assert manager.eio_sid_from_sid(manager.sid, "/") == "client"
    assert list(manager.get_participants("/", None)) == [(manager.sid, "client")]
    assert manager.get_namespaces() == ["/"]
    assert manager.pre_disconnect(manager.sid, "/") == "client"
    assert manager.pre_disconnect("other", "/") is None
    manager.remove(manager.own)
    assert (manager.get_rooms(manager.sid, "/"), manager.get_namespaces()) == ([], [])
    assert not manager.is_connected(manager.sid, "/")


def test_a_move_of_a_socket_that_is_gone(manager: Manager) -> None:
    client: Any = manager.own.client
    client.members["/gone"] = Member("gone", "/gone", client, None)
    manager.moved(client, "/gone", True, ("a",))
    manager.moved(client, "/other", True, ("a",))
    manager.moved(client, "/", True, ("b",))
    assert set(manager.rooms) == {"/"}
    assert set(manager.rooms["/"]) == {None, manager.sid, "b"}


def test_acks_of_sockets_elsewhere(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []
    acks = AckCallbacks(Codec(socketio.packet.Packet), heard.append, lambda: heard.append("over"))
    for part in (v1.Asked(1, 2), v1.Answer(1, "s", b"431[1]"), v1.Answer(1, "odd", b"43{}")):
        acks.part(part)
    acks.end(v1.Done(1, 2))
    acks.failed(LinkClosed("closed"))
    assert heard == [[1], "over", "over"]
    assert "the ack of odd cannot be read" in caplog.text
