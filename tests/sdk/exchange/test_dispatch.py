"""What each frame about a client changes, and which jobs run because of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import socketio

from moorage.sdk.clients.clients import Client
from moorage.sdk.clients.members import Member
from moorage.sdk.clients.packets import Ack
from moorage.sdk.exchange.dispatch import ClientDispatcher
from moorage.wire.moorage import v1
from tests.sdk.exchange.test_manager import Manager, Table


class Recorder(ClientDispatcher[Client]):
    """An executor that notes what it is told to do."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.running: set[int] = set()
        """Numbers of clients with running handlers."""
        self.table = Table()
        self.table.handlers = {"connect": lambda *args: self.notes.append(("connect", args[0]))}  # type: ignore[attr-defined]
        self.manager = Manager()
        sio = socketio.Server(async_mode="threading")
        super().__init__(sio, self.table, self.manager, self.manager._codec)

    def _make(self, frame: v1.Open) -> Client:
        return Client(frame.client, frame.id, "session", {"QUERY_STRING": ""})

    def _is_running(self, client: Client) -> bool:
        return client.number in self.running

    def _arrive(self, client: Client, member: Member) -> None:
        self.notes.append(("arrive", member.sid))

    def _late_ack(self, member: Member, ack: Ack) -> None:
        self.notes.append(("late ack", member.sid, ack.id))

    def _in_order(self, client: Client, job: Callable[[], Any]) -> None:
        job()

    def _end_socket(self, client: Client, namespace: str, reason: str) -> None:
        self.notes.append(("end socket", client.number, namespace, reason))

    def _end_client(self, client: Client, reason: str) -> None:
        self.notes.append(("end client", client.number, reason, client.gone))

    def _packet(self, client: Client, packet: bytes) -> None:
        if packet == b"bad":
            raise ValueError("that is bad")
        self.notes.append(packet)

    def _follow(self, client: Client, former: Client) -> None:
        self.notes.append(("follow", client.number, former.number))

    def _transmit(self, client: Client, frame: v1.FromApp) -> None:
        if not isinstance(frame, v1.Opened):
            self.notes.append(frame)


@pytest.fixture
def recorder() -> Recorder:
    made = Recorder()
    made.opened(v1.Open(1, "one", None, b"{}"))
    assert made.notes == [("connect", "one")]
    made.notes.clear()
    return made


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        ("ping timeout", "ping timeout"),
        ("transport close", "transport close"),
        ("server shutting down", "transport close"),
        ("forced server close", "server disconnect"),
        ("anything else", "transport error"),
    ],
)
def test_a_client_that_has_ended(recorder: Recorder, cause: str, reason: str) -> None:
    recorder.closed(v1.Closed(1, 1000, "x", cause))
    recorder.closed(v1.Closed(1, 1000, "x", cause))
    assert recorder.notes == [("end client", 1, reason, True)]


def test_a_lost_session_ends_all_clients(recorder: Recorder) -> None:
    recorder.opened(v1.Open(2, "two", None, b"{}"))
    recorder.all_gone()
    assert recorder.notes[1:] == [("end client", number, "transport close", True) for number in (1, 2)]


def test_frames_about_sockets(recorder: Recorder) -> None:
    client = recorder.table.by_number[1]
    member = Member("s", "/", client, None)
    recorder.manager.members.add(member)
    recorder.left(v1.Left(1, "/"))
    assert recorder.notes == [("end socket", 1, "/", "server disconnect")]
    recorder.moved(v1.Moved(1, "/", True, ("a",)))
    recorder.moved(v1.Moved(1, "/chat", True, ("b",)))
    assert set(recorder.manager.get_rooms("s", "/")) == {"s", "a"}
    recorder.upgraded(v1.Upgraded(1, "websocket"))
    assert client.upgraded


def test_frames_about_a_client_that_is_gone(recorder: Recorder) -> None:
    recorder.left(v1.Left(9, "/"))
    recorder.moved(v1.Moved(9, "/", True, ("a",)))
    recorder.upgraded(v1.Upgraded(9, "websocket"))
    recorder.packet(9, b"42[]")
    assert recorder.notes == []


def test_packets_of_one_frame_come_one_by_one(recorder: Recorder) -> None:
    recorder.packet(1, b'42["a"]\x1e451-["b",{"_placeholder":true,"num":0}]')
    recorder.packet(1, b"bAA==")
    assert recorder.notes == [b'42["a"]', b'451-["b",{"_placeholder":true,"num":0}]\x1ebAA==']


@pytest.mark.parametrize("payload", [b"bad", b"bAA==", b"4\xff\x1ex"])
def test_a_client_that_breaks_the_protocol_is_closed_once(recorder: Recorder, payload: bytes) -> None:
    for _ in range(3):
        recorder.packet(1, payload)
    assert recorder.notes[-1] == v1.Close(1)
    assert recorder.notes.count(v1.Close(1)) == 1
