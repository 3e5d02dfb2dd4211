"""Calls and answers between the service and one app server of the azure dialect.

The dialect has no resume: a link that breaks loses what was on it. Three repairs keep anything
from hanging or vanishing, each tested against the SDK itself:

* our events whose answer is missing when a link breaks are kept (`strand`): a late answer may
  still come over the next link; without one they are sent again, in order;
* our answers of the last seconds are kept (`Calls.replay`): the SDK waits for an answer for ever,
  and ignores one that it does not wait for;
* the SDK numbers its calls one by one: a number that never comes was lost with a link, and is
  answered with a failure (`Calls.overdue`), or the SDK's lock on that socket would never open.
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
"""The SDK tries a call again after 1, 2 and 3 s; only then is it really gone."""
GAP_CALLS: Final = 1_000
FIRST_GAP: Final = 64
"""A service that has just started answers this many numbers below the first it sees."""


class Event(msgspec.Struct, Generic[ChannelT, LinkT], gc=False, frozen=True):
    """One of our requests that has no answer yet."""

    name: str
    """`connect`, `message` or `disconnected`."""
    channel: ChannelT
    body: bytes
    link: LinkT
    sent_at: float


class Events(Generic[ChannelT, LinkT]):
    """Our requests to one app server, in the order they were made."""

    def __init__(self, first_id: int) -> None:
        self._next = first_id
        self._open: dict[int, Event[ChannelT, LinkT]] = {}
        self.size = 0
        """Bytes of all bodies that are kept until their answer."""

    def __len__(self) -> int:
        return len(self._open)

    def add(self, event: Event[ChannelT, LinkT]) -> int:
        """Note a request; its AckId. Numbers are per app server, not per link."""
        ack_id = self._next
        self._next += 1
        self._open[ack_id] = event
        self.size += len(event.body)
        return ack_id

    def settle(self, ack_id: int) -> Event[ChannelT, LinkT] | None:
        """Its answer came. None for a number that nobody waits for."""
        event = self._open.pop(ack_id, None)
        if event is not None:
            self.size -= len(event.body)
        return event

    def strand(self, link: LinkT) -> list[tuple[int, Event[ChannelT, LinkT]]]:
        """What was under way on a link that broke, oldest first. It stays open for late answers."""
        return [(ack_id, event) for ack_id, event in self._open.items() if event.link is link]

    def connects_before(self, deadline: float) -> Iterator[tuple[int, Event[ChannelT, LinkT]]]:
        """Connect events sent before `deadline`. Requests are in order, so it stops early."""
        for ack_id, event in tuple(self._open.items()):
            if event.sent_at >= deadline:
                return
            if event.name == "connect":
                yield ack_id, event


class Calls:
    """The app server's calls to us, by their AckId."""

    def __init__(self) -> None:
        self._answers: OrderedDict[int, tuple[float, bytes]] = OrderedDict()
        self._highest: int | None = None
        self._missing: dict[int, float] = {}

    def arrived(self, ack_id: int, now: float) -> bytes | None:
        """A call came. Its answer, if it has been answered already: the SDK sends a call again
        whose link broke under it, and it must not be carried out twice."""
        answered = self._answers.get(ack_id)
        if answered is not None:
            return answered[1]
        if self._highest is None:
            self._expect(range(max(1, ack_id - FIRST_GAP), ack_id), now)
            self._highest = ack_id
        elif ack_id > self._highest:
            if ack_id > self._highest + 1:
                self._expect(range(max(self._highest + 1, ack_id - GAP_CALLS), ack_id), now)
            self._highest = ack_id
        else:
            self._missing.pop(ack_id, None)
        return None

    def _expect(self, ids: range, now: float) -> None:
        for ack_id in ids:
            self._missing[ack_id] = now + GAP_SECONDS
        while len(self._missing) > GAP_CALLS:
            del self._missing[next(iter(self._missing))]

    def answered(self, ack_id: int, frame: bytes, now: float) -> None:
        """Keep a final answer for a while."""
        self._answers[ack_id] = (now, frame)
        if len(self._answers) > REPLAY_ANSWERS:
            self._answers.popitem(last=False)

    def replay(self, now: float) -> list[bytes]:
        """The answers to send again over a link that has just opened."""
        return [frame for at, frame in self._answers.values() if at > now - REPLAY_SECONDS]

    def overdue(self, now: float) -> list[int]:
        """Numbers that never came: to be answered with a failure. Each is returned once."""
        due = [ack_id for ack_id, deadline in self._missing.items() if deadline <= now]
        for ack_id in due:
            del self._missing[ack_id]
        return due


class Unsent:
    """Bytes that wait for a link, bounded: `take` empties it."""

    __slots__ = ("_packets", "size")

    def __init__(self) -> None:
        self._packets: deque[bytes] = deque()
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._packets)

    def add(self, packet: bytes) -> None:
        """At the end."""
        self._packets.append(packet)
        self.size += len(packet)

    def take(self) -> list[bytes]:
        """All of it, in order."""
        packets = list(self._packets)
        self._packets.clear()
        self.size = 0
        return packets
