"""A client's protocol, without a network."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.load.client import Client, State
from moorage.load.packets import Dialect

HELLO = b'0{"sid":"s","upgrades":[],"pingInterval":1000,"pingTimeout":500,"maxPayload":1000000}'


class Wire:
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.end = ""

    def send(self, packet: bytes) -> None:
        self.sent.append(packet)

    def close(self) -> None:
        self.end = "closed"

    def abort(self) -> None:
        self.end = "aborted"


class Told:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def ready(self, client: Client) -> None:
        self.events.append("ready")

    def acked(self, client: Client, number: int, packet: bytes) -> None:
        self.events.append(number)

    def event(self, client: Client, packet: bytes) -> None:
        self.events.append(packet)

    def lost(self, client: Client, reason: str) -> None:
        self.events.append((client.state, reason))


class World:
    """A client and what is around it. `now` is the clock, in nanoseconds."""

    def __init__(self, namespace: str = "/", auth: object = None) -> None:
        self.now = 0
        self.told = Told()
        self.client = Client(7, Dialect(namespace), self.told, lambda: self.now, auth)
        self.wire = self.dial()

    def dial(self) -> Wire:
        self.wire = Wire()
        self.client.dialing(self.now)
        self.client.transport = self.wire
        return self.wire

    def join(self, answer: bytes = b'40{"sid":"t"}') -> None:
        self.client.receive(HELLO)
        self.client.receive(answer)


def test_joining_pings_and_events() -> None:
    world = World(auth={"user": "{n}"})
    client = world.client
    world.join()
    assert world.wire.sent == [b'40{"user":"7"}']
    assert (client.state, client.sid, world.told.events) == (State.READY, "t", ["ready"])
    client.receive(b"2")
    assert world.wire.sent[-1] == b"3"
    for packet in (
        b'42["a"]',
        b'430["x"]',
        b'451-["a",{"_placeholder":true,"num":0}]',
        b"bAAA=",
        b"461-9[]",
        b"6",
    ):
        client.receive(packet)
    assert world.told.events == ["ready", b'42["a"]', 0, b'451-["a",{"_placeholder":true,"num":0}]', 9]


def test_a_namespace() -> None:
    world = World("/admin")
    world.join(b'40/admin,{"sid":"t"}')
    world.client.receive(b'43/admin,4["x"]')
    world.client.receive(b'42/admin,["a"]')
    assert world.told.events == ["ready", 4, b'42/admin,["a"]']


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"41", "the server disconnected the client"),
        (b"1", "the server closed the connection"),
        (b"43x[]", "unexpected packet: invalid literal"),
        (b"45", "unexpected packet: "),
        (b"9", "unexpected packet: b'9'"),
        (b"", "unexpected packet: b''"),
    ],
)
def test_ends_by_the_server(packet: bytes, reason: str) -> None:
    world = World()
    world.join()
    world.client.receive(packet)
    state, told = world.told.events[-1]
    assert state is State.READY
    assert told.startswith(reason)
    assert (world.wire.end, world.client.state, world.client.transport) == ("aborted", State.CLOSED, None)
    world.client.ended("again")
    assert len(world.told.events) == 2


@pytest.mark.parametrize(
    ("packets", "state", "reason"),
    [
        ([b"0{}"], State.DIALING, "unexpected packet: the Engine.IO handshake lacks"),
        ([HELLO, b'44{"message":"no"}'], State.JOINING, "the namespace refused the client: no"),
        ([HELLO, b"40["], State.JOINING, "unexpected packet: "),
        ([b'40{"sid":"x"}'], State.DIALING, "unexpected packet: "),
    ],
)
def test_a_refused_connect(packets: list[bytes], state: State, reason: str) -> None:
    world = World()
    for packet in packets:
        world.client.receive(packet)
    ((told_state, told),) = world.told.events
    assert told_state is state
    assert told.startswith(reason)


def test_recovery() -> None:
    world = World()
    client = world.client
    world.join(b'40{"sid":"t","pid":"p"}')
    client.receive(b'42["news","text","o1"]')
    client.cut("cut")
    assert world.wire.end == "aborted"
    world.dial()
    world.join(b'40{"sid":"t","pid":"p"}')
    assert world.wire.sent == [b'40{"pid":"p","offset":"o1"}']
    assert client.recovered
    client.cut("cut")
    world.dial()
    world.join(b'40{"sid":"u","pid":"q"}')
    assert (client.recovered, client.offset) == (False, "")
    client.close()
    assert (world.wire.end, client.pid) == ("closed", "")
    client.close()
    client.cut("gone already")
    assert world.told.events.count("ready") == 3


def test_silence() -> None:
    world = World()
    assert not world.client.is_silent(10**12)
    world.join()
    world.now = 1_000_000_000
    assert not world.client.is_silent(1_500_000_000)
    assert world.client.is_silent(1_500_000_001)
    world.client.receive(b"2")
    assert not world.client.is_silent(2_500_000_000)
