"""Clients of the nodes in `covering`, and what app servers there are answered."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from moorage.hub.hub import Connection
from moorage.sdk.link.session import End, Part
from moorage.wire.moorage import v1
from tests.cluster.nodes import NodeWorld
from tests.hub.fakes import RecordingOpening, RecordingSink, unframe

EVENT = re.compile(rb'42(\d*)\["(\w+)",(\d+)\]')
"""An event: ack id, app server, number."""


class Place(Protocol):
    """The node of a client."""

    name: str
    alive: bool
    world: NodeWorld


Done = Callable[[list[Part], list[str]], object]


class Gathered:
    """`sdk.link.session.Answers` of a request in several sessions. `done` gets the parts and the missing."""

    def __init__(self, owed: int, done: Done) -> None:
        self._owed = owed
        self._done = done
        self._parts: list[Part] = []
        self._missing: list[str] = []

    def part(self, frame: Part, source: int = 0, /) -> None:
        self._parts.append(frame)

    def end(self, frame: End) -> None:
        assert isinstance(frame, v1.Done)
        self._owed -= 1
        self._missing += frame.missing
        if not self._owed:
            self._done(self._parts, self._missing)

    def failed(self, error: Exception) -> None:
        """A session is lost, and with it the answer."""


class User:
    """One client."""

    def __init__(self, node: Place) -> None:
        self.node = node
        self.opening = RecordingOpening()
        self.connection: Connection = node.world.open(self.opening)
        self.sink: RecordingSink | None = None
        self._read = 0
        """Number of packets that were looked at."""
        self._writes = 0
        """Number of writes that were taken apart."""
        self._packets: list[bytes] = []
        self.events: list[tuple[str, int]] = []
        """What it got: app servers and numbers."""

    def go_on(self) -> None:
        """Connect to the namespace as soon as the client is accepted."""
        if self.sink is None and self.opening.accepts and self.node.alive:
            sink = self.connection.outbox.sink
            if isinstance(sink, RecordingSink):
                self.sink = sink
                self.node.world.node.receive(self.connection, b"40")
        self._answer()

    def _answer(self) -> None:
        """Answer events with acks. The answer repeats the event's number."""
        packets = self.packets
        while self._read < len(packets):
            found = EVENT.fullmatch(packets[self._read])
            self._read += 1
            if found:
                self.events.append((found[2].decode(), int(found[3])))
                if found[1] and self.is_open:
                    self.node.world.node.receive(self.connection, b"43%b[%b]" % (found[1], found[3]))

    @property
    def packets(self) -> list[bytes]:
        """All packets that it got. A story asks after each step, so each write is taken apart once."""
        sink = self.sink
        if sink is not None:
            known, self._writes = self._writes, len(sink.writes) + len(sink.closed)
            if self._writes > known:
                writes = [*sink.writes, *(rest for _, rest in sink.closed)]
                self._packets += unframe(b"".join(writes[known:]))
        return self._packets

    @property
    def is_open(self) -> bool:
        """It has a socket, and its node has not closed it."""
        ready = self.sink is not None and not self.sink.closed and self.node.alive
        return ready and any(packet.startswith(b"40") for packet in self.packets)
