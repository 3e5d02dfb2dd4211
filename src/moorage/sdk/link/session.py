"""One session of the link dialect, without I/O: frames to send, frames received, open requests.

A session outlives the WebSocket under it. The owner (`link`) opens a WebSocket, sends `hello()`, hands the
answer to `greeted` and from then on every message to `received`; what may be sent comes out of `batches`.
Time is an argument, in seconds of any steady clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol

import msgspec

from moorage.sdk import errors
from moorage.sdk.errors import MoorageError
from moorage.sdk.link.recovery import OFF
from moorage.sdk.tracing import can_trace
from moorage.wire.errors import PeerError
from moorage.wire.moorage import v1
from moorage.wire.moorage.raw_batch import decode_frame_from_app
from moorage.wire.moorage.stream import Incoming, Outgoing
from moorage.wire.moorage.v1 import (
    COUNTED,
    decode_from_app,
    decode_from_service,
    encode_batch,
    encode_frame,
)
from moorage.wire.reasons import LINK_BAD_FRAME, LINK_VERSION

WINDOW: Final = 4 * 1024 * 1024
"""Bytes of clients' packets that the service may send without an acknowledgement. The service keeps them in
memory, so this bounds its memory for an app server that hangs. A link within a data centre needs less."""
MAX_QUEUE_BYTES: Final = 16 * 1024 * 1024
CONGESTED_BYTES: Final = 1024 * 1024
"""With more bytes waiting, emits wait until some are sent: a loop that emits must not fill the queue."""
BATCH_OVERHEAD: Final = 32
"""Upper bound of the batch header, in bytes, for a batch that holds one frame."""

# An Emit or a Tell without a ref: an array, its type 10 or 40, 0. They survive the loss of a session.
_BROADCAST: Final = (b"\x96\x0a\x00", b"\x96\x28\x00")
_ALWAYS: Final = frozenset({v1.Close, v1.Drain, v1.State})
"""Types of frames that are queued even if the queue is full: they are small and few, and they end the work
that fills it."""

_ANSWERS: Final = frozenset(
    {v1.Asked, v1.Answer, v1.Sockets, v1.Data, v1.Done, v1.Servers, v1.Failed, v1.Nodes}
)
"""Frames that the session takes itself: answers to requests, and the list of nodes."""

Part = v1.Asked | v1.Answer | v1.Sockets | v1.Data
End = v1.Done | v1.Servers


class Answers(Protocol):
    """Takes the frames that answer one request. Must not raise."""

    def part(self, frame: Part, source: int = 0, /) -> None:
        """Part of the answer; more follows. `source` tells the sessions of one app server apart."""

    def end(self, frame: End) -> None:
        """The last of it."""

    def failed(self, error: MoorageError) -> None:
        """The request was refused, lost, or not answered in time; nothing follows."""


class Future(Protocol):
    """A future of asyncio or of `concurrent.futures`."""

    def done(self) -> bool:
        """True if it has a result or an error, or was cancelled."""

    def set_result(self, result: End, /) -> None:
        """End it with the last frame of the answer."""

    def set_exception(self, error: MoorageError, /) -> None:
        """End it with an error."""


class Counts:
    """Counters that all sessions of one app server share."""

    __slots__ = ("number", "ref")

    def __init__(self) -> None:
        self.number = 0
        """Number of the last frame of `COUNTED`."""
        self.ref = 0
        """Number of the last request."""


TakesPart = Callable[[Part, int], None]
"""Takes a part of an answer and its source."""


class Waiter:
    """`Answers` for a caller that waits for the last frame. `ended` is called while the answer is read, and
    so before later frames of the same batch."""

    def __init__(
        self,
        future: Future,
        part: TakesPart | None = None,
        ended: Callable[[MoorageError | None], None] | None = None,
    ) -> None:
        self._future = future
        self._part = part
        self._ended = ended

    def part(self, frame: Part, source: int = 0, /) -> None:
        """Part of the answer."""
        if self._part is not None:
            self._part(frame, source)

    def end(self, frame: End) -> None:
        """The last frame of the answer."""
        if self._ended is not None:
            self._ended(None)
        self._resolve(frame)

    def _resolve(self, frame: End) -> None:
        if not self._future.done():
            self._future.set_result(frame)

    def failed(self, error: MoorageError) -> None:
        """The request was refused, lost, or not answered in time."""
        if self._ended is not None:
            self._ended(error)
        if not self._future.done():
            self._future.set_exception(error)


class WrongNode(errors.LinkUnavailable):
    """Another node than the one that was dialled has answered."""


class Greeting(NamedTuple):
    """What a new WebSocket starts with. `again`: batches to send again. `lost`: True if there was a session
    before this one, and it is gone."""

    again: list[bytes]
    resumed: bool
    lost: bool


class Session:
    """The state of a link that outlives its WebSocket."""

    def __init__(
        self,
        *,
        sdk: str,
        window: int = WINDOW,
        max_queue_bytes: int = MAX_QUEUE_BYTES,
        emit_only: bool = False,
        instance: str = "",
        counts: Counts | None = None,
    ) -> None:
        if max_queue_bytes < 1:
            raise errors.UsageError(f"max_queue_bytes must be 1 or more, not {max_queue_bytes}")
        self.id = ""
        self.hello_of_service: v1.ServiceHello | None = None
        self.max_queue_bytes = max_queue_bytes
        self._sdk = sdk
        self._window = window
        self._emit_only = emit_only
        self._instance = instance
        self.recovery = OFF
        """The recovery that the app server asks for."""
        self._counts = counts or Counts()
        self.largest: float = float("inf")
        """Bytes of the largest frame that the service reads."""
        self.alone = True
        """True if the app server has no other session. A session that is lost beside others leaves what it
        has not delivered in `lost`, and its successor begins with nothing."""
        self.lost: Outgoing | None = None
        self.former: tuple[str, Outgoing, int, bool] | None = None
        """The last session that was lost: its id, what it has not delivered, the number of the latest counted
        frame then, and whether what follows is queued for its successor."""
        self.heard_nodes: Callable[[v1.Nodes], object] = bool
        """Called with each list of nodes."""
        self._out = Outgoing(window)
        self._in = Incoming(window)
        self._requests: dict[int, tuple[Answers, float]] = {}

    # -- the beginning of a WebSocket ---------------------------------------------------------------

    def hello(self) -> bytes:
        """The first message."""
        terms = (self.id, self._in.received, self._window, self._emit_only)
        frame = v1.AppHello(v1.REVISION, self._sdk, *terms, self._instance, *self.recovery, can_trace())
        return encode_batch(0, 0, [encode_frame(frame)])

    def greeted(self, data: bytes, node: str = "") -> Greeting:
        """Read the service's first message. `node` is the node that was dialled, if any. Raises `PeerError`
        if it is no hello, `LinkRefused` for another dialect, `WrongNode` for another node."""
        batch = decode_from_service(data)
        frame = batch.frames[0] if batch.frames else None
        if batch.number or not isinstance(frame, v1.ServiceHello):
            raise PeerError(LINK_BAD_FRAME, "the first message is not a hello")
        if frame.revision < 1:
            raise errors.LinkRefused(
                f"the service {frame.service} speaks revision {frame.revision} of moorage.v1, this SDK 1 "
                f"to {v1.REVISION}: use versions of both that match",
                reason=LINK_VERSION.name,
                number=LINK_VERSION.number,
            )
        if node and frame.node != node:
            raise WrongNode(f"node {frame.node} answered instead of node {node}")
        lost = not frame.resumed and self.id != ""
        if frame.resumed:
            again = self._out.resume(frame.received)
        else:
            again = []
            self.forget("the service no longer knows this app server's session")
        self.id = frame.session
        self.hello_of_service = frame
        self.largest = frame.max_batch - BATCH_OVERHEAD
        self._out.window = frame.window
        return Greeting(again, frame.resumed, lost)

    def forget(self, why: str) -> None:
        """The session is gone. Open requests fail. Emits that were never sent stay queued for the next
        session, because they name rooms and not clients of this one."""
        kept = []
        self.former = (self.id, self._out, self._counts.number, self.alone) if self.id else None
        if self.alone:
            kept = [frame for frame in self._out.unsent() if frame.startswith(_BROADCAST)]
        else:
            self.lost = self._out
        self.id = ""
        self._out = Outgoing(self._out.window)
        self._in = Incoming(self._window)
        for frame in kept:
            self._out.queue(frame)
        self.fail_all(errors.SessionLost(why))

    # -- to the service -----------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Number of bytes that have not been sent."""
        return self._out.waiting

    @property
    def in_flight(self) -> int:
        """Number of bytes that were sent and that the service has not acknowledged."""
        return self._out.in_flight

    @property
    def congested(self) -> bool:
        """True if emits should wait."""
        return self._out.waiting >= CONGESTED_BYTES

    @property
    def is_kept(self) -> bool:
        """True if the app's sockets are worth keeping while the node is away, however long that takes: it is
        the only node, and asks for their data even after a restart."""
        hello = self.hello_of_service
        return hello is not None and hello.keeps and self.alone

    def untaken(self) -> list[v1.FromApp]:
        """What the session that was lost beside others had not delivered for certain, in order; once."""
        lost, self.lost = self.lost, None
        if lost is None:
            return []
        frames = [frame for batch in lost.kept for frame in decode_from_app(batch).frames]
        return frames + [decode_frame_from_app(msgspec.Raw(frame)) for frame in lost.unsent()]

    def queue(self, frame: v1.FromApp) -> None:
        """Raises `QueueFull`, or `TooLarge` for a frame that the service would not read."""
        if type(frame) in COUNTED:
            self._counts.number += 1
            frame.number = self._counts.number  # type: ignore[union-attr]
        data = encode_frame(frame)
        size = len(data)
        if size > self.largest:
            raise self.too_large(size)
        if self._out.waiting + size > self.max_queue_bytes and type(frame) not in _ALWAYS:
            raise self.full()
        self._out.queue(data)

    def put(self, data: bytes) -> None:
        """Queue an encoded frame whatever its size: the caller has asked `fits`."""
        self._out.queue(data)

    def fits(self, size: int) -> bool:
        """True if the queue has room for a frame of this size."""
        return self._out.waiting + size <= self.max_queue_bytes

    def full(self) -> errors.QueueFull:
        """The error with the length of the queue."""
        return errors.QueueFull(
            f"{self._out.waiting} bytes are waiting for the service, max_queue_bytes is "
            f"{self.max_queue_bytes}: the service is away or does not keep up"
        )

    def too_large(self, size: int) -> errors.TooLarge:
        """The error with the maximum size of a frame."""
        return errors.TooLarge(
            f"{size} bytes in one packet, the service reads {self.largest} (setting links.max_frame there)"
        )

    def ask(
        self, make: Callable[[int], v1.FromApp], answers: Answers, now: float, timeout: float | None
    ) -> int:
        """Queue a request; `make` builds its frame around the number it is given. Raises what
        `queue` does. Without a timeout it stays open until answered or the session ends."""
        self._counts.ref += 1
        ref = self._counts.ref
        self.queue(make(ref))
        self.expect(ref, answers, now, timeout)
        return ref

    def expect(self, ref: int, answers: Answers, now: float, timeout: float | None) -> None:
        """A request with this number has been queued."""
        self._requests[ref] = (answers, float("inf") if timeout is None else now + timeout)

    def cancel(self, ref: int) -> None:
        """The caller does not wait any more."""
        self._requests.pop(ref, None)

    def batches(self) -> Iterator[bytes]:
        """Batches that may be sent now, with the acknowledgement."""
        while True:
            batch = self._out.take(self._in.ack)
            if batch is None:
                return
            self._in.told()
            yield batch

    def empty_batch(self) -> bytes:
        """A batch without frames, for keep-alive and acknowledgement."""
        return encode_batch(0, self._in.told(), [])

    @property
    def ack_is_due(self) -> bool:
        """True if a quarter of the window has been taken and not acknowledged."""
        return self._in.is_due

    @property
    def ack_has_news(self) -> bool:
        """True if something has been taken and not acknowledged."""
        return self._in.has_news

    def take_all(self) -> None:
        """Everything received so far has been handed to the application, or queued within its bounds."""
        self._in.take_all()

    # -- from the service ---------------------------------------------------------------------------

    def received(self, data: bytes) -> list[v1.FromService]:
        """The frames of one message, without those that answer a request. Raises `PeerError`."""
        number, ack, frames = decode_from_service(data)
        self._out.taken(ack)
        if number == 0:
            if frames:
                raise PeerError(LINK_BAD_FRAME, "frames in a batch without a number")
            return []
        if not self._in.arrived(number, len(data), len(frames)):
            return []
        return [frame for frame in frames if type(frame) not in _ANSWERS or not self._answered(frame)]

    def _answered(self, frame: v1.FromService) -> bool:
        if isinstance(frame, v1.Nodes):
            self.heard_nodes(frame)
            return True
        assert isinstance(frame, (v1.Asked, v1.Answer, v1.Sockets, v1.Data, v1.Done, v1.Servers, v1.Failed))
        request = self._requests.get(frame.ref)
        if request is None:
            # A late answer, or one that nobody waits for. The application gets a failure without a reference.
            return not isinstance(frame, v1.Failed)
        if isinstance(frame, (v1.Asked, v1.Answer, v1.Sockets, v1.Data)):
            request[0].part(frame)
            return True
        del self._requests[frame.ref]
        if isinstance(frame, v1.Failed):
            request[0].failed(errors.RequestFailed(frame.number, frame.reason, frame.message))
        else:
            request[0].end(frame)
        return True

    def expire(self, now: float) -> None:
        """Fail the requests whose deadline has passed."""
        late = [ref for ref, (_, deadline) in self._requests.items() if deadline <= now]
        for ref in late:
            answers, _ = self._requests.pop(ref)
            answers.failed(errors.RequestTimeout("the service did not answer in time"))

    def fail_all(self, error: MoorageError) -> None:
        """Fail all open requests."""
        requests, self._requests = self._requests, {}
        for answers, _ in requests.values():
            answers.failed(error)
