"""Calls and answers between the service and one app server of the azure dialect.

The dialect has no resume: if a link breaks, everything in transit is lost. Three repairs prevent
hanging calls and lost events. Each is tested against the SDK:

* The service keeps its unanswered events when a link breaks (`strand`). A late answer may still arrive
  over the next link; otherwise the events are sent again, in order.
* The service keeps its answers of the last seconds (`Calls.replay`), because the SDK waits forever for a
  missing answer and ignores an unexpected one.
* The SDK numbers its calls consecutively. A missing number was lost with a link and is answered with a
  failure (`Calls.overdue`); otherwise the SDK's lock on that socket would never be released.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

import msgspec

ChannelT = TypeVar("ChannelT")
LinkT = TypeVar("LinkT")

REPLAY_SECONDS: Final = 10.0
REPLAY_ANSWERS: Final = 512
GAP_SECONDS: Final = 4.0
"""The SDK repeats a call after 1, 2 and 3 s. After that the call is lost."""
GAP_CALLS: Final = 1_000
FIRST_GAP: Final = 64
"""After its start, a service treats this many numbers below the first call as missing."""


class Event(msgspec.Struct, Generic[ChannelT, LinkT], gc=False, frozen=True):
    """A request of the service without an answer."""

    name: str
    """`connect`, `message` or `disconnected`."""
    channel: ChannelT
    body: bytes
    link: LinkT
    sent_at: float


class Events(Generic[ChannelT, LinkT]):
    """The service's requests to one app server, in order."""

    def __init__(self, first_id: int) -> None:
        self._next = first_id
        self._open: dict[int, Event[ChannelT, LinkT]] = {}
        self.size = 0
        """Bytes of the bodies of all unanswered requests."""

    def __len__(self) -> int:
        return len(self._open)

    def add(self, event: Event[ChannelT, LinkT]) -> int:
        """Add a request and return its AckId. Ids are per app server, not per link."""
        ack_id = self._next
        self._next = ack_id + 1
        self._open[ack_id] = event
        self.size += len(event.body)
        return ack_id

    def settle(self, ack_id: int) -> Event[ChannelT, LinkT] | None:
        """Remove and return the request that was answered; None for an unknown id."""
        event = self._open.pop(ack_id, None)
        if event is not None:
            self.size -= len(event.body)
        return event

    def strand(self, link: LinkT) -> list[tuple[int, Event[ChannelT, LinkT]]]:
        """The unanswered requests of a link that broke, oldest first. They stay open for late answers."""
        return [(ack_id, event) for ack_id, event in self._open.items() if event.link is link]

    def connects_before(self, deadline: float) -> Iterator[tuple[int, Event[ChannelT, LinkT]]]:
        """Connect events sent before `deadline`. Requests are in order, so the search stops early."""
        for ack_id, event in tuple(self._open.items()):
            if event.sent_at >= deadline:
                return
            if event.name == "connect":
                yield ack_id, event


class Calls:
    """The app server's calls to the service, by AckId."""

    def __init__(self) -> None:
        self._answers: OrderedDict[int, tuple[float, bytes]] = OrderedDict()
        self.next: int | None = None
        """The number behind the highest so far; None before the first call. A call with this number is a new
        one: add 1 then, which is all that `arrived` would do."""
        self._missing: dict[int, float] = {}

    def arrived(self, ack_id: int, now: float) -> bytes | None:
        """Note a call. Returns its answer if it was answered before: the SDK repeats a call if the
        link breaks, and the call must not be executed twice."""
        answered = self._answers.get(ack_id)
        if answered is not None:
            return answered[1]
        if self.next is None:
            self._expect(range(max(1, ack_id - FIRST_GAP), ack_id), now)
            self.next = ack_id + 1
        elif ack_id >= self.next:
            self._expect(range(max(self.next, ack_id - GAP_CALLS), ack_id), now)
            self.next = ack_id + 1
        else:
            self._missing.pop(ack_id, None)
        return None

    def _expect(self, ids: range, now: float) -> None:
        for ack_id in ids:
            self._missing[ack_id] = now + GAP_SECONDS
        while len(self._missing) > GAP_CALLS:
            del self._missing[next(iter(self._missing))]

    def answered(self, ack_id: int, frame: bytes, now: float) -> None:
        """Keep a final answer for `replay`."""
        self._answers[ack_id] = (now, frame)
        if len(self._answers) > REPLAY_ANSWERS:
            self._answers.popitem(last=False)

    def replay(self, now: float) -> list[bytes]:
        """The answers to repeat over a new link."""
        return [frame for at, frame in self._answers.values() if at > now - REPLAY_SECONDS]

    def overdue(self, now: float) -> list[int]:
        """The lost calls, to be answered with a failure. Each is returned once."""
        due = [ack_id for ack_id, deadline in self._missing.items() if deadline <= now]
        for ack_id in due:
            del self._missing[ack_id]
        return due


class Unsent:
    """A bounded queue of bytes for the next link; `take` empties it."""

    __slots__ = ("_packets", "size")

    def __init__(self) -> None:
        self._packets: deque[bytes] = deque()
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._packets)

    def add(self, packet: bytes) -> None:
        """Append a packet."""
        self._packets.append(packet)
        self.size += len(packet)

    def take(self) -> list[bytes]:
        """Remove and return all packets, in order."""
        packets = list(self._packets)
        self._packets.clear()
        self.size = 0
        return packets
