"""The API beyond python-socketio: the request of each call, and its result from the answer. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from moorage.sdk.clients.members import room_names
from moorage.sdk.exchange.answers import AckCollector, Acks, AppServer, FetchedSockets, SocketCollector
from moorage.sdk.exchange.change import Make
from moorage.sdk.exchange.inbox import Inbox
from moorage.sdk.exchange.manager import ANSWER_SECONDS, SocketManager
from moorage.sdk.exchange.targets import arguments_of, milliseconds, target
from moorage.sdk.link.session import End, TakesPart
from moorage.sdk.payload import Codec
from moorage.wire.moorage import v1

T = TypeVar("T")


class Call(NamedTuple, Generic[T]):
    """A request to send, and how to read the answer."""

    make: Make
    seconds: float
    """Seconds to wait for the service's own answer."""
    part: TakesPart | None
    """Takes the frames before the last."""
    result: Callable[[End], T]
    """Returns the value of the call, from the last frame of the answer."""


class Calls:
    """The requests of one app server. All methods raise `UsageError` and `NotSerialisable` for arguments that
    cannot be sent."""

    def __init__(self, codec: Codec, manager: SocketManager, inbox: Inbox) -> None:
        self._codec = codec
        self._manager = manager
        self._inbox = inbox

    def emit_with_acks(
        self, event: str, data: Any, to: Any, skip: Any, namespace: str, timeout: float
    ) -> Call[Acks]:
        """Emit, and gather the acks."""
        payload = self._codec.event(namespace, [event, *arguments_of(data)])
        whom, wait = target(namespace, to, skip), milliseconds(timeout)
        return self._gather(lambda ref: v1.Ask(ref, whom, 0, wait, payload), timeout)

    def tell_with_acks(self, event: str, args: Any, namespace: str, timeout: float) -> Call[Acks]:
        """Send an event to all other app servers, and gather their answers."""
        payload, wait = self._codec.event(namespace, [event, *args]), milliseconds(timeout)
        return self._gather(lambda ref: v1.Tell(ref, namespace, wait, payload), timeout)

    def tell(self, event: str, args: Any, namespace: str) -> v1.Tell:
        """Send an event to all other app servers, which do not answer it."""
        return v1.Tell(0, namespace, 0, self._codec.event(namespace, [event, *args]))

    def _gather(self, make: Make, timeout: float) -> Call[Acks]:
        collector = AckCollector(self._codec)

        def result(end: End) -> Acks:
            assert isinstance(end, v1.Done)
            return collector.result(end.missing)

        return Call(make, timeout + ANSWER_SECONDS, collector.part, result)

    def fetch_sockets(self, room: Any, namespace: str, skip: Any, timeout: float) -> Call[FetchedSockets]:
        """Fetch the sockets of all app servers. The data of own sockets is added here, because the service
        does not query the app server that asks."""
        collector = SocketCollector(namespace)
        whom, wait = target(namespace, room, skip), milliseconds(timeout)

        def result(end: End) -> FetchedSockets:
            assert isinstance(end, v1.Done)
            for row, *_ in collector.rows:
                member = self._manager.members.get(row.id, namespace)
                if member is not None:
                    collector.know(member, self._inbox.facts_of(row.id, namespace))
            return collector.result(end.missing)

        return Call(lambda ref: v1.Fetch(ref, whom, wait), timeout + ANSWER_SECONDS, collector.part, result)

    def servers(self) -> Call[list[AppServer]]:
        """List the hub's app servers."""

        def result(end: End) -> list[AppServer]:
            assert isinstance(end, v1.Servers)
            return [AppServer(row.id, row.dialect, row.up, row.clients) for row in end.rows]

        return Call(v1.List, ANSWER_SECONDS, None, result)

    def join(self, rooms: Any, to: Any, namespace: str, skip: Any) -> Make:
        """Put sockets into rooms."""
        whom, names = target(namespace, to, skip), room_names(rooms)
        return lambda ref: v1.Join(ref, whom, names)

    def leave(self, rooms: Any, to: Any, namespace: str, skip: Any) -> Make:
        """Take sockets out of rooms."""
        whom, names = target(namespace, to, skip), room_names(rooms)
        return lambda ref: v1.Leave(ref, whom, names)

    def disconnect(self, to: Any, namespace: str, skip: Any, close: bool) -> Make:
        """Take sockets out of the namespace."""
        whom = target(namespace, to, skip)
        return lambda ref: v1.Disconnect(ref, whom, close)


def flags_of(*, volatile: bool, local: bool) -> int:
    """The flags of an emit."""
    return (v1.VOLATILE if volatile else 0) | (v1.LOCAL if local else 0)
