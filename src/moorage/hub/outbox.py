"""What waits to be written to clients: bounded per client, one write per client and loop tick.

An emit only appends finished bytes to its recipients' outboxes. The flush at the end of the tick
joins what a client has and hands it over in one write. So 50 emits to a room cost each member one
system call, not 50, and order holds because a client has exactly one queue.

A large room is flushed in slices of `SLICE` clients (2-3 ms each), with the rest of the loop's
work between two slices; clients with small business go first. That keeps the latency of
everybody else flat while a broadcast to 50,000 is under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from moorage.hub.backlog import Backlog
from moorage.hub.ports import ClientSink, Schedule, SendFrame
from moorage.wire.engineio import FRAME_HEADROOM, OPCODE_TEXT, RS, frames
from moorage.wire.errors import UsageError

if TYPE_CHECKING:
    from moorage.hub.connection import Connection
    from moorage.hub.fanout import Encoded
    from moorage.hub.settings import Limits
    from moorage.metrics import Metrics

SLICE: Final = 400
"""Clients that are written to in one turn."""
SLICE_BYTES: Final = 4 * 1024 * 1024
"""Bytes that are written in one turn, where they are many for each client."""
MAX_BUFFERS: Final = 32
MAX_BUFFER_BYTES: Final = 32 * 1024
"""Longest frame that is sent through picows. If the kernel did not take all of a longer one, picows would
copy the rest for each recipient."""
CHUNK_BYTES: Final = 64 * 1024
"""A large queue is joined in pieces of this size. One piece would be one more copy of the whole
queue for each client that does not read, of bytes that all of them share."""

_IDLE, _URGENT, _BULK = 0, 1, 2


class Outbox:
    """One client's queue. `size` counts the bytes in it."""

    __slots__ = (
        "_first",
        "_flusher",
        "_rest",
        "_send",
        "_state",
        "_write",
        "framed",
        "limit",
        "owner",
        "ready",
        "sink",
        "size",
    )

    def __init__(self, owner: Connection, flusher: Flusher) -> None:
        self.owner: Connection | None = owner
        """None after the end."""
        self.sink: ClientSink | None = None
        self.framed = False
        self.ready = False
        """May be flushed: there is a sink and it takes data now."""
        self.size = 0
        self.limit = flusher.backlog.uncounted
        """Bytes from which on the queue is counted in the `Backlog`; -1 when nothing is queued any more."""
        # What waits: nearly always one thing or none, so the list for more is made when needed. A
        # broadcast touches every member's outbox twice, cold: each object less counts.
        self._first: bytes | None = None
        self._rest: list[bytes] | None = None
        self._flusher = flusher
        self._state = _IDLE
        self._write: Callable[[bytes], None] = _nowhere
        self._send: SendFrame | None = None

    def push(self, data: bytes, among: int = 1) -> None:
        """Queue packets in the form that this client takes: frames if it is `framed`, else a payload.
        `among` is the number of clients that share `data`."""
        if self._first is None:
            self._first = data
        else:
            self._more(data)
        self.size += len(data)
        if self.size > self.limit:
            self._flusher.backlog.grown(self, len(data) // among)
        if self.ready and self._state != _URGENT:
            self._state = _URGENT
            self._flusher.urgent(self)

    def _more(self, data: bytes) -> None:
        if self._rest is None:
            self._rest = [data]
        else:
            self._rest.append(data)

    def attach(self, sink: ClientSink, *, ready: bool) -> None:
        """Write to `sink` from now on. What waits is turned into its form, in order."""
        waiting = self.take_all()
        if sink.framed and not self.framed:
            waiting = [frames(payload) for payload in waiting]
        self._flusher.backlog.forget(self)
        self._put(waiting)
        self.framed = sink.framed
        self.sink = sink
        # Kept bound: for a WebSocket this is the transport's own `write`, with no call between.
        self._write = sink.write
        self._send = sink.send
        self.ready = ready
        if self.owner is not None and self.owner.held:
            # Its former sink was told. A client must not get around that by an upgrade.
            sink.pause_reading()
        if self.size > self.limit:
            self._flusher.backlog.grown(self, self.size)
        self.flush()

    def rebind(self) -> None:
        """The sink has a new way for single frames."""
        if self.sink is not None:
            self._send = self.sink.send

    def unblock(self) -> None:
        """The sink takes data again."""
        self.ready = True
        self._flusher.backlog.taken(self)
        self.flush()

    def flush(self) -> None:
        """Hand over what waits: to a WebSocket all, in one write; to a poll what one answer may hold."""
        self._state = _IDLE
        data, size = self._first, self.size
        if not self.ready or data is None:
            return
        if size > self.limit or not self.framed:
            if self.framed:
                self._write_chunks()
                self._flusher.metrics.bytes_sent_websocket += size - self.size
            else:
                self._write_payload()
            self._flusher.backlog.written(self, size)
            return
        self._flusher.metrics.bytes_sent_websocket += size
        if self._rest is None:
            self._first = None
            self.size = 0
            self._write(data)
        else:
            self._write(self.take())

    def _write_chunks(self) -> None:
        """Until the sink is full. The rest stays here: as bytes that are shared with other clients."""
        waiting, at = self.take_all(), 0
        while at < len(waiting) and self.ready:
            chunk, at = join_chunk(waiting, at)
            self._write(chunk)
        self._put(waiting[at:])

    def _write_payload(self) -> None:
        """As many packets as an answer may hold."""
        assert self.sink is not None
        waiting = self.take_all()
        payload, rest = split_payloads(waiting, self.sink.max_packets)
        self._put(rest)
        self._write(payload)

    def take(self) -> bytes:
        """All that waits, joined (b"" for nothing); the queue is empty afterwards."""
        data, rest = self._first or b"", self._rest
        if rest is not None:
            data = (b"" if self.framed else RS).join((data, *rest))
            self._rest = None
        self._first = None
        self.size = 0
        return data

    def take_all(self) -> list[bytes]:
        """The entries that wait, in order; the queue is empty afterwards."""
        if self._first is None:
            return []
        waiting = [self._first] if self._rest is None else [self._first, *self._rest]
        self._first = self._rest = None
        self.size = 0
        return waiting

    def _put(self, waiting: list[bytes]) -> None:
        """Into the empty queue."""
        if waiting:
            self._first = waiting[0]
            self._rest = waiting[1:] or None
            self.size = sum(map(len, waiting))

    @property
    def is_single(self) -> bool:
        """Does no more than one entry wait?"""
        return self._rest is None

    @property
    def is_spilt(self) -> bool:
        """Is the client to be closed, or closed already?"""
        return self.limit < 0

    def spill(self) -> None:
        """The client is to be closed: let go of the bytes, now and for every push to come. The sink
        stays, to hear of the end, and so does `size`, for the log."""
        self._first = self._rest = None
        self.ready = False
        self.limit = -1
        self._flusher.backlog.forget(self)

    def drop(self) -> None:
        """The end: nothing is kept from here on."""
        self.spill()
        self.size = 0
        self.owner = None
        self.sink = None
        self._write = _nowhere
        self._send = None


def join_chunk(waiting: list[bytes], at: int) -> tuple[bytes, int]:
    """Entries from `at` on, joined as far as `CHUNK_BYTES` reach; and where the next chunk begins. A
    large entry is a chunk by itself, and is not copied."""
    end, size = at + 1, len(waiting[at])
    while end < len(waiting) and size + len(waiting[end]) <= CHUNK_BYTES:
        size += len(waiting[end])
        end += 1
    return waiting[at] if end == at + 1 else b"".join(waiting[at:end]), end


def split_payloads(waiting: list[bytes], most: int) -> tuple[bytes, list[bytes]]:
    """A payload of the first `most` packets in `waiting`, which is not empty, and what is left."""
    packets, end = 0, 0
    while end < len(waiting) and packets < most:
        packets += waiting[end].count(RS) + 1
        end += 1
    rest = waiting[end:]
    if packets <= most:
        return RS.join(waiting[:end]), rest
    # The last one holds more packets than there is room for.
    *whole, last = waiting[:end]
    parts = last.split(RS, most - (packets - last.count(RS) - 1))
    return RS.join((*whole, *parts[:-1])), [parts[-1], *rest]


def _nowhere(data: bytes) -> None:
    raise UsageError("an outbox without a sink was flushed")


class Flusher:
    """Knows which outboxes have something to write, and when."""

    def __init__(
        self,
        schedule: Schedule,
        slow: Callable[[Connection, str], None],
        metrics: Metrics,
        limits: Limits,
        now: float,
    ) -> None:
        self.metrics = metrics
        self.backlog = Backlog(limits, slow, self.wake, now)
        self._schedule = schedule
        self._urgent: list[Outbox] = []
        self._bulk: deque[Outbox] = deque()
        self._buffers: dict[bytes, bytearray] = {}
        """For the large fan-outs under way that are one text frame: frame -> buffer for `SendFrame`."""
        self._scheduled = False

    @property
    def pending(self) -> int:
        """How many clients have small business to be written at the end of this tick."""
        return len(self._urgent)

    def urgent(self, box: Outbox) -> None:
        """Flush `box` at the end of this tick."""
        self._urgent.append(box)
        if not self._scheduled:
            self.wake()

    def spread(self, encoded: Encoded, to: Collection[Connection], among: int = 0) -> int:
        """Queue a large fan-out, or the part `to` of one to `among` clients, to be flushed in slices from
        the end of this tick on; how many of these recipients are on WebSockets.

        The loop is written out: no call per recipient. With the sockets taken away, queueing and
        flushing cost 0.3 us a recipient.
        """
        framed_data, plain_data = encoded.frames, encoded.payload
        framed_size, plain_size = len(framed_data), len(plain_data)
        among = among or len(to)
        framed_share, plain_share = framed_size // among, plain_size // among
        if encoded.is_one_text and plain_size <= MAX_BUFFER_BYTES and framed_data not in self._buffers:
            if len(self._buffers) >= MAX_BUFFERS:
                # Fan-outs come faster than they go out: the older ones take the other way.
                self._buffers.clear()
            self._buffers[framed_data] = bytearray(FRAME_HEADROOM) + plain_data
        framed = 0
        add = self._bulk.append
        for connection in to:
            box = connection.outbox
            if box.framed:
                framed += 1
                data, size, share = framed_data, framed_size, framed_share
            else:
                data, size, share = plain_data, plain_size, plain_share
            if box._first is None:
                box._first = data
            else:
                box._more(data)
            box.size += size
            if box.size > box.limit:
                self.backlog.grown(box, share)
            if box.ready and box._state == _IDLE:
                box._state = _BULK
                add(box)
        self.wake()
        return framed

    def wake(self) -> None:
        """See to it that `run` is called at the end of this tick."""
        if not self._scheduled:
            self._scheduled = True
            self._schedule()

    def cork(self) -> None:
        """The caller promises to call `run` itself in this tick."""
        self._scheduled = True

    def run(self) -> None:
        """One flush: all small business, one slice of the large."""
        self._scheduled = False
        if self._urgent:
            urgent, self._urgent = self._urgent, []
            for box in urgent:
                box.flush()
        if self._bulk:
            self._slice()
        if self.backlog.alarmed:
            self.backlog.settle()

    def _slice(self) -> None:
        """`Outbox.flush` for a slice of the large, written out like `spread`. A client with just one
        frame waiting, which nearly all are, gets it past the event loop's own buffers (that saves 2-6 %
        of a delivery to 1,000, two paired runs)."""
        take, buffers = self._bulk.popleft, self._buffers
        sent = large = 0
        for _ in range(min(SLICE, len(self._bulk))):
            box = take()
            box._state = _IDLE
            data = box._first
            if data is None or not box.ready:
                continue
            size = box.size
            if size > box.limit or not box.framed:
                box.flush()
                large += size
                if large > SLICE_BYTES:
                    break
                continue
            sent += size
            buffer = None
            if box._rest is None:
                box._first = None
                box.size = 0
                buffer = buffers.get(data)
            else:
                data = box.take()
            if buffer is not None and box._send is not None:
                box._send(OPCODE_TEXT, buffer, FRAME_HEADROOM)
            else:
                box._write(data)
        self.metrics.bytes_sent_websocket += sent
        if self._bulk:
            self.wake()
        else:
            buffers.clear()
