"""Samples clients' events for traces of OpenTelemetry. The context of a sampled event goes to the app server
in a `Trace` frame before the event, and `Traced` comes back when the event is handled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

from moorage.edge.moorage.server import MoorageServer
from moorage.hub.hub import Client
from moorage.hub.trace.describe import describe
from moorage.wire.moorage import v1

REVISION: Final = 6
"""Revision of the link protocol from which app servers may continue traces."""
MAX_OPEN: Final = 1_000
"""Maximum sampled events of one app server that are not handled yet. Beyond it events are not sampled."""
OPEN_SECONDS: Final = 60.0
"""A span ends after this time, even if the app server has not said that the event is handled."""
_NEVER: Final = 2.0**62
"""Longest gap between two samples: that of a tiny ratio would be infinite."""
_BEGINNING: Final = 2_048
"""Bytes of an event that are kept until its span is sent: its namespace and its name are in them."""
_EVENTS: Final = (b"2", b"5")
"""The type of an event, and of one with attachments."""


class Begun(Protocol):
    """A span that is open."""

    parent: str
    """Its W3C `traceparent`."""
    state: str
    """Its W3C `tracestate`."""

    def end(self, outcome: str) -> None:
        """End it. `outcome`: `handled`, `failed`, `lost` (the app server), or `timeout`."""


Attributes = Mapping[str, str | int]


class Spans(Protocol):
    """Makes spans."""

    ratio: float
    """Part of the events that is sampled, above 0 and at most 1."""

    def sharing(self, attributes: Attributes) -> Spans:
        """The same for spans that all have these attributes."""

    def begin(self, describe: Callable[[], tuple[str, Attributes]]) -> Begun:
        """Begin the span of a sampled event. `describe` returns the event's name and its attributes. It may
        be called on another thread, and after the connection's end."""


class Traces:
    """The sampled events of one app server, and the `hub.ports.AppLink` that samples them: it takes the place
    of the session's own, so an app server without traces costs nothing."""

    def __init__(
        self, server: MoorageServer, spans: Spans, random: Callable[[], float], *, node_id: str
    ) -> None:
        self._server = server
        self._spans = spans.sharing(
            {
                "messaging.system": "socket.io",
                "messaging.operation.name": "receive",
                "messaging.operation.type": "receive",
                "moorage.hub": server.hub.name,
                "moorage.app_server.id": server.app.id,
                "moorage.node.id": node_id,
            }
        )
        self._random = random
        self._forward = server.forward
        self.open, self.closed = server.open, server.closed
        self.drained, self.taken = server.drained, server.taken
        self._ref = 0
        self._open: dict[int, tuple[Begun, float]] = {}
        self._log_missed = math.log1p(-spans.ratio) if spans.ratio < 1.0 else -math.inf
        """Logarithm of the probability that an event is not sampled: `log1p`, because 1 less a tiny ratio is
        1, whose logarithm is zero."""
        self._left = self._gap()

    def _gap(self) -> int:
        """How many events until the next sample, as if each event were decided on its own."""
        return 1 + int(min(math.log(1.0 - self._random()) / self._log_missed, _NEVER))

    def forward(self, connection: Client, packet: bytes) -> None:
        """`AppLink.forward`."""
        # Every packet counts here, and the sample is the next event: to look at each packet would cost more.
        self._left -= 1
        if self._left <= 0 and packet[1:2] in _EVENTS:
            self._left = self._gap()
            self._sample(connection, packet)
        self._forward(connection, packet)

    def _sample(self, connection: Client, packet: bytes) -> None:
        number = connection.channel
        if not isinstance(number, int) or len(self._open) >= MAX_OPEN:
            # The client is on its way to another app server, or too many events wait.
            return
        size = len(packet)
        beginning = packet if size <= _BEGINNING else packet[:_BEGINNING]
        begun = self._spans.begin(partial(_described, beginning, size, connection.id, connection.user_id))
        self._ref += 1
        self._open[self._ref] = begun, self._server.node.clock()
        self._server.queue(v1.Trace(self._ref, number, begun.parent, begun.state))

    def traced(self, frame: v1.Traced) -> None:
        """The app server has handled an event."""
        begun = self._open.pop(frame.ref, None)
        if begun is not None:
            begun[0].end("failed" if frame.failed else "handled")

    def tick(self, now: float) -> None:
        """End spans that are open for too long."""
        while self._open:
            ref, (begun, since) = next(iter(self._open.items()))
            if now - since < OPEN_SECONDS:
                return
            del self._open[ref]
            begun.end("timeout")

    def end(self) -> None:
        """The session is over."""
        for begun, _ in self._open.values():
            begun.end("lost")
        self._open.clear()


def _described(packet: bytes, size: int, connection: str, user: str | None) -> tuple[str, Attributes]:
    """An event's name and attributes, of its beginning and its whole size."""
    what = describe(packet)
    event = what.event or ""
    attributes: dict[str, str | int] = {
        "messaging.destination.name": what.namespace,
        "messaging.message.envelope.size": size,
        "moorage.event": event,
        "moorage.connection.id": connection,
        "moorage.ack": "no" if what.ack is None else "yes",
    }
    if user is not None:
        attributes["user.id"] = user
    return event, attributes
