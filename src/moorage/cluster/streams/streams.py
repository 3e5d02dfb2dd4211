"""Messages between nodes arrive once and in order, or a gap is reported.

A broker may lose messages: while a node has no NATS server, or when a server drops what a slow node does not
read. So each message carries numbers. A receiver that sees a gap, or is told of one by a heartbeat, asks for
what is missing, and the sender sends it again. Messages behind the gap wait. What the sender no longer keeps,
or what does not come in time, is given up. It is counted and reported, and the layer above repairs its
state.

Time is an argument of `tick`.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from moorage import logs
from moorage.cluster.ports import Broker
from moorage.cluster.streams.incoming import EPOCH_BITS, Hole, Incoming
from moorage.cluster.streams.kept import KEEP_SECONDS, Kept, LastSent
from moorage.wire.cluster import streams
from moorage.wire.errors import PeerError

KEEP_BYTES: Final = 16 * 1024 * 1024
"""Maximum bytes of sent messages that are kept."""
GIVE_UP_SECONDS: Final = 3.0
"""Seconds that messages wait behind a gap."""
ASTRAY_SECONDS: Final = 3.0
"""After this many seconds in which every heartbeat of a node tells lower numbers than were taken, these were
forged."""
RETRY_SECONDS: Final = 1.0
"""Seconds until missing messages are asked for again: more than the way to another region and back."""
MAX_HELD: Final = 16 * 1024 * 1024
"""Maximum bytes of the messages of one node that wait behind a gap."""
MAX_AGAIN: Final = 4 * 1024 * 1024
"""Maximum bytes that are sent again to one node between two ticks, unless one message is larger."""
MAX_PAST: Final = 2_000
"""Number of lost nodes that are remembered, in case that they come back."""
SLEPT_SECONDS: Final = 1.0
"""A longer time between two ticks means that this process stood still."""
LOG_SECONDS: Final = 10.0
"""Shortest time between two lines in the log about bad messages, and between two about gaps."""

_pack: Final = streams.NUMBERS.pack
_unpack: Final = streams.NUMBERS.unpack_from
_BODY: Final = streams.NUMBERS.size

GARBAGE: Final = "garbage"
OWN_ID: Final = "own-id"
STRANGER: Final = "stranger"
DUPLICATE: Final = "duplicate"
FORGED: Final = "forged"
CHUNK: Final = "chunk"
REFUSED: Final = "refused"
OVERFLOW: Final = "overflow"

log: Final = logs.get("cluster")


class Receive(NamedTuple):
    """What the layer above does with what arrives. Each is called with the node that it comes from."""

    message: Callable[[str, bytes], object]
    """A message of a node that was added."""
    beat: Callable[[str, bytes], object]
    """A heartbeat, of any node."""
    gap: Callable[[str], object]
    """Messages of this node are lost."""


class Streams:
    """Sends and takes the messages of the node with this incarnation, over a broker."""

    def __init__(self, broker: Broker, incarnation: str) -> None:
        self._broker = broker
        self._own = own = incarnation.encode()
        self._prefix_all = streams.prefix(streams.ALL, own)
        self._prefix_direct = streams.prefix(streams.DIRECT, own)
        self._receive: Receive
        self._message: Callable[[str, bytes], object]
        self._now = 0.0
        self._all = Kept(0.0)
        self._direct: dict[str, Kept] = {}
        """The streams to each node, by its incarnation."""
        self._kept_bytes = 0
        self._since_all: dict[str, Kept] = {}
        """Streams to nodes that got a message since the last message to all."""
        self._epoch = 0
        self._incoming: dict[bytes, Incoming] = {}
        self._past: dict[bytes, tuple[int, int]] = {}
        """The next numbers of the streams of lost nodes, the oldest first."""
        self._again: Counter[str] = Counter()
        """Bytes sent again to each node since the last tick."""
        self._logged = self._logged_gap = -LOG_SECONDS
        self.sent = 0
        self.received = 0
        self.resent = 0
        self.gaps = 0
        self.bad: Counter[str] = Counter()
        """Messages that were dropped, by reason."""

    # -- life and time ---------------------------------------------------------------------------------

    def start(self, receive: Receive) -> None:
        """From now on, hand over what arrives."""
        self._receive = receive
        self._message = receive.message
        self._broker.start(self._take)

    def stop(self) -> None:
        """Stop sending and receiving."""
        self._broker.stop()

    def tick(self, now: float) -> None:
        """Time passes. Call it some times per second."""
        slept, self._now = now - self._now, now
        self._again.clear()
        for kept in (self._all, *self._direct.values()):
            self._kept_bytes -= kept.forget_old(now)
        for node in tuple(self._incoming.values()):
            gaps, node.gaps = node.gaps, 0
            if gaps > 1:
                self._gap(node)
            if slept > SLEPT_SECONDS and node.stuck is not None:
                # What is missing may be in the input that is not read yet.
                node.stuck += slept
            if node.stuck is not None and now - node.stuck >= GIVE_UP_SECONDS:
                self._give_up(node)
            self._look(node)

    # -- the other nodes ---------------------------------------------------------------------------------

    def add(self, node: str) -> None:
        """This node is there, and gets messages from now on."""
        self._epoch += 1
        self._direct[node] = Kept(self._now, self._epoch << EPOCH_BITS, self._all.last)
        self._incoming[node.encode()] = Incoming(node)

    def remove(self, node: str) -> LastSent:
        """This node is gone. Returns the latest messages to it."""
        direct = self._direct.pop(node)
        self._kept_bytes -= direct.size
        self._since_all.pop(node, None)
        key = node.encode()
        self._past.pop(key, None)
        self._past[key] = self._incoming.pop(key).position
        if len(self._past) > MAX_PAST:
            del self._past[next(iter(self._past))]
        return LastSent(direct, self._all, start=direct.last >> EPOCH_BITS << EPOCH_BITS | 1)

    def position(self, node: str) -> tuple[int, int]:
        """The numbers of the next messages of a node that is there: to all, and to this one."""
        return self._incoming[node.encode()].position

    def complete(self, node: str) -> bool:
        """True if everything has come that this node has told of."""
        incoming = self._incoming.get(node.encode())
        return incoming is not None and not incoming.holes()

    # -- what leaves ---------------------------------------------------------------------------------------

    def send(self, node: str, message: bytes) -> None:
        """Send a message to one node."""
        kept = self._direct.get(node)
        if kept is None:
            return
        self.sent += 1
        kept.last = number = kept.last + 1
        frame = self._prefix_direct + _pack(number, self._all.last, 0) + message
        self._since_all[node] = kept
        kept.frames.append(frame)
        self._kept_bytes += len(frame)
        if self._kept_bytes > KEEP_BYTES:
            self._forget_half()
        self._broker.send(node, frame)

    def send_all(self, message: bytes) -> None:
        """Send a message to all other nodes."""
        kept = self._all
        self.sent += 1
        kept.last = number = kept.last + 1
        if self._since_all:
            marks = [(node.encode(), direct.last, 0) for node, direct in self._since_all.items()]
            self._since_all.clear()
            frame = streams.encode(self._prefix_all, number, 0, message, marks)
        else:
            frame = self._prefix_all + _pack(number, 0, 0) + message
        kept.frames.append(frame)
        self._kept_bytes += len(frame)
        if self._kept_bytes > KEEP_BYTES:
            self._forget_half()
        self._broker.send_all(frame)

    def beat(self, message: bytes) -> None:
        """Send a heartbeat to all other nodes. It overtakes messages that wait, and is not repeated."""
        self.sent += 1
        marks = [
            (node.encode(), kept.last, kept.base)
            for node, kept in self._direct.items()
            if kept.changed + KEEP_SECONDS > self._now
        ]
        frame = streams.encode(streams.prefix(streams.BEAT, self._own), self._all.last, 0, message, marks)
        self._broker.send_all(frame)

    def _forget_half(self) -> None:
        largest = max(self._all, *self._direct.values(), key=lambda each: each.size)
        self._kept_bytes -= largest.forget_half()

    # -- what arrives --------------------------------------------------------------------------------------

    def _take(self, frame: bytes) -> None:
        # Nearly every message is the next one of a known node, and gets no further than this.
        try:
            at = 2 + frame[1]
            first, second, marks = _unpack(frame, at)
        except (IndexError, struct.error):
            self.bad_message(GARBAGE)
            return
        node = self._incoming.get(frame[2:at])
        if node is not None and not marks and node.is_next(frame[0], first, second):
            self.received += 1
            self._message(node.name, frame[at + _BODY :])
        else:
            self._look_at(frame)

    def _look_at(self, frame: bytes) -> None:
        try:
            kind, sender, first, second, marks, payload = streams.decode(frame)
        except PeerError:
            self.bad_message(GARBAGE)
            return
        node = self._incoming.get(sender)
        if kind == streams.BEAT:
            self._beat(sender, first, marks, payload)
        elif node is None:
            self.bad_message(OWN_ID if sender == self._own else STRANGER)
        elif kind == streams.ALL:
            self._hold(node, first, self._mark(marks)[0], payload, direct=False)
        elif kind == streams.DIRECT:
            self._hold(node, first, second, payload, direct=True)
        elif kind in (streams.ASK_ALL, streams.ASK_DIRECT):
            self._answer(node.name, kind, first, second)
        else:
            self._skip(node, [(kind, first, second)])

    def _hand_over(self, node: Incoming, message: bytes) -> None:
        self.received += 1
        self._message(node.name, message)

    def _hold(self, node: Incoming, number: int, behind: int, payload: bytes, *, direct: bool) -> None:
        if not node.is_new(number, direct=direct):
            self.bad_message(DUPLICATE)
            return
        if not node.hear(*((behind, number) if direct else (number, behind))):
            self._gap(node)
        node.hold(number, behind, payload, direct=direct)
        self._release(node)
        if node.held_bytes > MAX_HELD:
            self._give_up(node)

    def _release(self, node: Incoming) -> None:
        """Hand over all messages that wait for nothing any more."""
        key = node.name.encode()
        while self._incoming.get(key) is node:
            message = node.pop()
            if node.is_late:
                node.is_late = False
                self._gap(node)
            if message is None:
                self._look(node)
                return
            self._hand_over(node, message)

    def _beat(self, sender: bytes, last_all: int, marks: tuple[streams.Mark, ...], payload: bytes) -> None:
        try:
            name = sender.decode("ascii")
        except UnicodeDecodeError:
            self.bad_message(GARBAGE)
            return
        if sender == self._own:
            self.bad_message(OWN_ID)
            return
        known = self._incoming.get(sender)
        self.received += 1
        self._receive.beat(name, payload)
        node = self._incoming.get(sender)
        if node is None:
            return
        last, base = self._mark(marks)
        if node is not known:
            node.begin(last_all, (last, base) if last >= 0 else None, self._past.pop(sender, (1, 0)))
        elif node.is_astray(last_all, last):
            self._find(node, last_all, last)
        else:
            node.astray = None
            if not node.hear(last_all, last):
                self._gap(node)
        self._release(node)

    def _find(self, node: Incoming, last_all: int, last_direct: int) -> None:
        """A heartbeat tells lower numbers than were taken. One alone may be a copy of an old one."""
        if node.astray is None:
            node.astray = self._now
        elif self._now - node.astray >= ASTRAY_SECONDS:
            node.astray = None
            node.restart(last_all, last_direct)
            self.bad_message(FORGED)
            self._gap(node)

    def _mark(self, marks: Iterable[streams.Mark]) -> tuple[int, int]:
        for name, one, other in marks:
            if name == self._own:
                return one, other
        return -1, -1

    # -- what is missing -----------------------------------------------------------------------------------

    def _look(self, node: Incoming) -> None:
        """Ask for what is missing, unless that was done just now."""
        asked, position = node.asked
        if position == node.position and self._now - asked < RETRY_SECONDS:
            return
        holes = node.holes()
        if not holes:
            node.stuck = None
            return
        if node.stuck is None or position != node.position:
            node.stuck = self._now
        node.asked = self._now, node.position
        for kind, first, last in holes:
            self._broker.send(node.name, streams.encode(streams.prefix(kind, self._own), first, last))

    def _answer(self, name: str, kind: int, first: int, last: int) -> None:
        """Send again what a node asks for, and tell what is not kept any more."""
        direct = kind == streams.ASK_DIRECT
        kept = self._direct[name] if direct else self._all
        last = min(last, kept.last)
        if first < kept.first:
            gone = streams.GONE_DIRECT if direct else streams.GONE_ALL
            until = min(last, kept.first - 1)
            self._broker.send(name, streams.encode(streams.prefix(gone, self._own), first, until))
            first = kept.first
        for frame in kept.between(first, last) if first <= last else ():
            if self._again[name] and self._again[name] + len(frame) > MAX_AGAIN:
                return
            self._again[name] += len(frame)
            self.resent += 1
            self._broker.send(name, frame)

    def _give_up(self, node: Incoming) -> None:
        self._skip(node, node.holes())

    def _skip(self, node: Incoming, holes: Iterable[Hole]) -> None:
        direct = (streams.ASK_DIRECT, streams.GONE_DIRECT)
        if any([node.skip(last, direct=kind in direct) for kind, _, last in holes]):
            self._gap(node)
        self._release(node)

    def _gap(self, node: Incoming) -> None:
        node.gaps += 1
        if node.gaps > 1:
            # The layer above answers a gap with messages. It hears of all further ones together, at the next
            # tick, or two nodes could go on answering each other at full speed.
            return
        self.count_gap(node.name)
        self._receive.gap(node.name)

    def count_gap(self, node: str) -> None:
        """Messages of a node are lost. Some gaps are logged."""
        self.gaps += 1
        if self._now - self._logged_gap >= LOG_SECONDS:
            self._logged_gap = self._now
            log.warning("messages of another node are lost", incarnation=node, gaps=self.gaps)

    def bad_message(self, reason: str) -> None:
        """Count a message that is dropped. Some of them are logged."""
        self.bad[reason] += 1
        if self._now - self._logged >= LOG_SECONDS:
            self._logged = self._now
            log.warning("bad messages of other nodes", **self.bad)
