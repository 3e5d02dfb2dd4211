"""The queue of each client: bounded, and flushed with one write per client and loop tick.

The flush at the end of the tick joins the entries of each outbox and writes them at once: 50 emits to a room
cost each member one system call. A client has one queue, so its order holds.

A large room is flushed in slices of `SLICE` clients (2-3 ms each), with other work of the event loop between
two slices. Outboxes of small sends come first, so other clients wait no longer during a large broadcast."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Generic, Protocol

from moorage.hub.backlog import Backlog, OwnerT, Queue
from moorage.hub.entries import Entries
from moorage.hub.ports import ClientSink, Schedule, SendNow
from moorage.hub.settings import Limits
from moorage.wire.deflate.messages import Packer
from moorage.wire.engineio import frames, join_chunk, next_payload
from moorage.wire.errors import UsageError

SLICE, SLICE_BYTES = 400, 4 * 1024 * 1024
"""Number of clients in one slice, and the bytes after which it ends, if its outboxes are large."""
MAX_DIRECT = 32 * 1024
"""Most bytes that are given to the kernel directly. What it leaves of them is copied for each recipient."""
BULK_WAITS = 8
"""Flushes for which large fan-outs wait at most while further commands are carried out, 3 ms each. So each
client gets 50 broadcasts in one write, and not in three."""

_IDLE, URGENT, _BULK = 0, 1, 2


class Recipient(Protocol[OwnerT]):
    """A `Connection`."""

    @property
    def outbox(self) -> Outbox[OwnerT]:
        """Its queue."""


class Outbox(Entries, Generic[OwnerT]):
    """One client's queue, and the way to the client."""

    __slots__ = (
        "_descriptor", "_flusher", "_holds", "_state", "_taking", "_write",
        "limit", "owner", "packs", "ready", "sent", "sink",
    )  # fmt: skip

    def __init__(self, owner: OwnerT, flusher: Flusher[OwnerT]) -> None:
        super().__init__()
        self.owner: OwnerT | None = owner
        """None after the end."""
        self.sink: ClientSink | None = None
        self.packs = False
        """True for a WebSocket whose client takes compressed frames."""
        self.ready = False
        """True if it may be flushed: there is a sink, the sink takes data now, and nobody holds the queue."""
        self.sent = 0
        """Packets that were queued so far."""
        self.limit = flusher.backlog.uncounted
        """The `Backlog` looks at a queue of more bytes. 0 if the client is traced: it looks at every entry.
        -1 if the queue takes nothing any more."""
        self._flusher = flusher
        self._state = _IDLE
        self._holds = 0
        self._taking = False
        """True if the sink takes data now."""
        self._write: Callable[[bytes], None] = _nowhere
        self._descriptor = -1

    def push(self, data: bytes, among: int = 1, packets: int = 1) -> None:
        """Queue packets in the form that this client takes: frames if it is `framed`, else a payload.
        `among` is the number of clients that share `data`."""
        self.sent += packets
        if self._first is None:
            self._first = data
        else:
            self._more(data)
        size = len(data)
        flusher = self._flusher
        flusher.queued += size
        self.size = waiting = self.size + size
        if waiting > self.limit:
            self.over_limit(size, size // among)
        if self.ready and self._state != URGENT:
            self._state = URGENT
            # Flush this queue at the end of this tick. A call for each packet would cost more.
            flusher._urgent.append(self)
            if not flusher._scheduled:
                flusher.wake()

    def over_limit(self, size: int, share: int) -> None:
        """An entry of `size` bytes was queued, and the queue is longer than `limit`. `share` is this client's
        part of these bytes."""
        if self.limit < 0:
            self._first = self._rest = None
            self._flusher.lost += size
        else:
            self._flusher.backlog.grown(self, share)

    def tap(self, *, on: bool) -> None:
        """Show each further entry to `Backlog.tapped`, or do not any more."""
        if self.limit >= 0:
            self.limit = 0 if on else self._flusher.backlog.uncounted

    def attach(self, sink: ClientSink, *, ready: bool) -> None:
        """Write to `sink` from now on. Waiting entries are turned into its form, in order."""
        framed, owner, size = sink.framed, self.owner, self.size
        to_frames = framed and not self.framed
        if size:
            waiting = self.take_all()
            self.put([frames(payload) for payload in waiting] if to_frames else waiting)
            self._flusher.lost += size - self.size
        if to_frames and owner is not None:
            owner.on_websocket()
        if self.sink is not None:
            self._flusher.backlog.forget(self)
        self.framed, self.packs = framed, sink.packs
        self.sink = sink
        # For a WebSocket this is the transport's own `write`, without a call in between.
        self._write = sink.write
        self._descriptor = sink.descriptor
        self._taking = ready
        self.ready = ready and not self._holds
        if owner is not None and owner.held:
            # The former sink was paused. An upgrade must not start the reading again.
            sink.pause_reading()
        if size:
            if self.size > self._flusher.backlog.uncounted:
                self._flusher.backlog.grown(self, self.size)
            self._flusher.offer(self)

    def block(self) -> None:
        """The sink takes no data until `unblock`."""
        self.ready = self._taking = False

    def unblock(self) -> None:
        """The sink takes data again."""
        self._taking = True
        self.ready = not self._holds
        self._flusher.backlog.taken(self)
        self._flusher.offer(self)

    def hold(self) -> None:
        """Write nothing until `release` was called as often. A close does not wait for it."""
        self._holds += 1
        self.ready = False

    def release(self) -> None:
        """End one `hold`."""
        self._holds -= 1
        if not self._holds and self._taking and self.sink is not None:
            self.ready = True
            # If the write fails, only this client ends: the same call releases others.
            self._flusher.offer(self)

    def flush(self) -> None:
        """Write the waiting entries: all in one write to a WebSocket, as many as fit to a poll."""
        self._state = _IDLE
        data, size = self._first, self.size
        if not self.ready or data is None:
            return
        if size > self.limit or not self.framed:
            if self.framed:
                try:
                    self._write_chunks()
                finally:
                    self._flusher.written += size - self.size
            else:
                self._write_payload(size)
            self._flusher.backlog.written(self, size)
            return
        self._flusher.written += size
        if self._rest is None:
            self._first = None
            self.size = 0
        else:
            data = self.take()
        self.write(data, size)

    def write(self, data: bytes, size: int) -> None:
        """Write `size` bytes of frames that were taken from the queue. They go to the kernel directly: the
        transport's own `write` touches more objects of each client, which are in no CPU cache (a tenth of the
        CPU of a broadcast to 2,000)."""
        taken = 0
        if self._descriptor >= 0 and size <= MAX_DIRECT:
            try:
                taken = self._flusher.send(self._descriptor, data)
            except OSError:
                # The client reads too slowly, or is gone. The transport finds out which.
                taken = 0
        if taken < size:
            self._write(data[taken:])

    def _write_chunks(self) -> None:
        """Write until the sink is full. The rest stays queued, as bytes that all clients share."""
        waiting, at = self.take_all(), 0
        while at < len(waiting) and self.ready:
            chunk, at = join_chunk(waiting, at)
            self._write(chunk)
        self.put(waiting[at:])

    def _write_payload(self, size: int) -> None:
        """Write as many packets as an answer may hold."""
        assert self.sink is not None
        waiting = self.take_all()
        payload, rest = next_payload(waiting, self.sink.max_packets)
        self.put(rest)
        self._flusher.lost += size - self.size
        self._write(payload)

    def spill(self) -> None:
        """The client is about to be closed: release the bytes, and those of every later push. The sink
        stays, for its `close`, and so does `size`, for the log."""
        if self.limit >= 0:
            self._flusher.lost += self.size
        self._first = self._rest = None
        self.ready = False
        self.limit = -1
        self._flusher.backlog.forget(self)

    def drop(self) -> list[bytes]:
        """The connection has ended: keep nothing from here on. Returns the entries that were queued."""
        size = self.size
        waiting = self.take_all()
        self.size = size
        self.spill()
        self.size = 0
        self.owner = None
        self.sink = None
        self._write = _nowhere
        self._descriptor = -1
        return waiting


def _nothing(_descriptor: int, _data: bytes) -> int:
    """Takes nothing, so everything is written by the sinks."""
    return 0


def _nowhere(data: bytes) -> None:  # pragma: no cover - only a defect flushes it
    raise UsageError("an outbox without a sink was flushed")


class Flusher(Generic[OwnerT]):
    """Knows which outboxes have something to write, and flushes them. `slow` is called with each client that
    must be closed because it does not read, `broken` with each whose write raised an exception."""

    def __init__(
        self,
        schedule: Schedule,
        slow: Callable[[OwnerT, str], None],
        broken: Callable[[OwnerT, Exception], None],
        limits: Limits,
        now: float,
    ) -> None:
        self.backlog: Backlog[OwnerT] = Backlog(limits, slow, self.flush, self.wake, now)
        self.send: SendNow = _nothing
        """Set by the app."""
        self.packer: Packer | None = None
        """Compresses broadcasts; None if that is off."""
        self.saved = 0
        """Bytes that compression has saved so far."""
        self.sent_websocket = self.sent_polling = 0
        """Engine.IO packets put into outboxes so far, by the client's transport."""
        self.queued = 0
        """Bytes put into outboxes so far."""
        self.written = 0
        """Bytes written to WebSockets so far."""
        self.lost = 0
        """Bytes that left outboxes in other ways so far."""
        self._schedule = schedule
        self._broken = broken
        self._failed: list[tuple[Queue[OwnerT], Exception]] = []
        self._urgent: list[Outbox[OwnerT]] = []
        self._bulk: deque[Outbox[OwnerT]] = deque()
        self._scheduled = False
        self.busy: Callable[[], bool]
        """True if commands wait for the next turn, which ends with `run`. Set by `Turns`."""
        self._waits = 0
        """Flushes for which the present large fan-outs have waited. It starts again when all are written, so
        commands that do not end cannot hold them for longer."""

    @property
    def waiting(self) -> int:
        """Bytes that are queued now for all clients."""
        return self.queued - self.written - self.lost

    @property
    def pending(self) -> int:
        """Number of clients with small sends to be written at the end of this tick."""
        return len(self._urgent)

    def spread(
        self, payload: bytes, frames: bytes, to: Collection[Recipient[OwnerT]], among: int, packets: int
    ) -> int:
        """Queue a large fan-out, or the part `to` of one to `among` clients. It is flushed in slices from the
        end of this tick on. Returns how many of these recipients are on WebSockets.

        The loop makes no call per recipient: without the sockets, one costs 0.3 us to queue and flush."""
        framed_size, plain_size = len(frames), len(payload)
        framed_share, plain_share = framed_size // among, plain_size // among
        framed = 0
        add = self._bulk.append
        for connection in to:
            box = connection.outbox
            if box.framed:
                framed += 1
                data, size, share = frames, framed_size, framed_share
            else:
                data, size, share = payload, plain_size, plain_share
            if box._first is None:
                box._first = data
            else:
                box._more(data)
            box.size += size
            box.sent += packets
            if box.size > box.limit:
                box.over_limit(size, share)
            if box.ready and box._state == _IDLE:
                box._state = _BULK
                add(box)
        self.queued += framed * framed_size + (len(to) - framed) * plain_size
        self.wake()
        return framed

    def wake(self) -> None:
        """Schedule `run` for the end of this tick."""
        if not self._scheduled:
            self._scheduled = True
            self._schedule()

    def cork(self) -> None:
        """The caller promises to call `run` itself in this tick."""
        self._scheduled = True

    def run(self) -> None:
        """Flush all outboxes with small sends, and one slice of the large fan-outs."""
        self._scheduled = False
        if self._urgent:
            urgent, self._urgent = self._urgent, []
            for box in urgent:
                try:
                    box.flush()
                except Exception as error:
                    self._fail(box, error)
        if self._bulk:
            if self._waits < BULK_WAITS and self.busy():
                self._waits += 1
            else:
                self._slice()
        if self.backlog.alarmed:
            self.backlog.settle()
        if self._failed:
            failed, self._failed = self._failed, []
            for broken, cause in failed:
                if broken.owner is not None:
                    self._broken(broken.owner, cause)

    def offer(self, box: Outbox[OwnerT]) -> None:
        """The outbox can be written to again."""
        self.flush(box)

    def flush(self, box: Queue[OwnerT]) -> None:
        """Flush one outbox now, in the middle of a fan-out."""
        try:
            box.flush()
        except Exception as error:
            self._fail(box, error)
            self.wake()

    def _fail(self, box: Queue[OwnerT], error: Exception) -> None:
        box.spill()
        self._failed.append((box, error))

    def _slice(self) -> None:
        """Flush one slice of the large fan-outs."""
        take = self._bulk.popleft
        sent = large = 0
        for _ in range(min(SLICE, len(self._bulk))):
            box = take()
            box._state = _IDLE
            data = box._first
            if data is None or not box.ready:
                continue
            size = box.size
            if size > box.limit or not box.framed:
                self.flush(box)
                large += size
                if large > SLICE_BYTES:
                    break
                continue
            sent += size
            if box._rest is None:
                box._first = None
                box.size = 0
            else:
                data = box.take()
            try:
                box.write(data, size)
            except Exception as error:
                self._fail(box, error)
        self.written += sent
        if self._bulk:
            self.wake()
        else:
            self._waits = 0
