"""One session of the link dialect, without I/O: frames to send, frames received, open requests.

A session outlives the WebSocket under it. The owner (`link`) opens a WebSocket, sends `hello()`, hands the
answer to `greeted` and from then on every message to `received`; what may be sent comes out of `batches`.
Time is an argument, in seconds of any steady clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol

from moorage.sdk import errors
from moorage.sdk.errors import MoorageError
from moorage.wire.errors import PeerError
from moorage.wire.moorage import v1
from moorage.wire.moorage.stream import Incoming, Outgoing
from moorage.wire.moorage.v1 import COUNTED, decode_from_service, encode_batch, encode_frame
from moorage.wire.reasons import LINK_BAD_FRAME, LINK_VERSION

WINDOW: Final = 4 * 1024 * 1024
"""Bytes of clients' packets that the service may send without an acknowledgement. It keeps them in memory,
so this bounds its memory for an app server that hangs. A link within a data centre needs less."""
MAX_QUEUE_BYTES: Final = 16 * 1024 * 1024
CONGESTED_BYTES: Final = 1024 * 1024
"""With more bytes waiting, emits wait until some are sent: a loop that emits must not fill the queue."""
BATCH_OVERHEAD: Final = 32
"""Upper bound of the batch header, in bytes, for a batch that holds one frame."""

# An Emit or a Tell without a ref: an array, its type 10 or 40, 0. They survive the loss of a session.
_BROADCAST: Final = (b"\x96\x0a\x00", b"\x96\x28\x00")
_ALWAYS: Final = frozenset({v1.Close, v1.Drain})
"""Queued even if the queue is full: they are small and few, and they end what fills it."""

_ANSWERS: Final = frozenset({v1.Asked, v1.Answer, v1.Sockets, v1.Data, v1.Done, v1.Servers, v1.Failed})

Part = v1.Asked | v1.Answer | v1.Sockets | v1.Data
End = v1.Done | v1.Servers


class Answers(Protocol):
    """Takes the frames that answer one request. Must not raise."""

    def part(self, frame: Part) -> None:
        """Part of the answer; more follows."""

    def end(self, frame: End) -> None:
        """The last of it."""

    def failed(self, error: MoorageError) -> None:
        """The request was refused, lost, or not answered in time; nothing follows."""


class Future(Protocol):
    """A future of asyncio or of `concurrent.futures`."""

    def done(self) -> bool:
        """It has a result or an error, or was cancelled."""

    def set_result(self, result: End, /) -> None:
        """End it with the last frame of the answer."""

    def set_exception(self, error: MoorageError, /) -> None:
        """End it with an error."""


class Waiter:
    """`Answers` for a caller that waits for the last frame. `ended` is called while the answer is read, and
    so before later frames of the same batch."""

    def __init__(
        self,
        future: Future,
        part: Callable[[Part], None] | None = None,
        ended: Callable[[MoorageError | None], None] | None = None,
    ) -> None:
        self._future = future
        self._part = part
        self._ended = ended

    def part(self, frame: Part) -> None:
        """Part of the answer."""
        if self._part is not None:
            self._part(frame)

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


class Greeting(NamedTuple):
    """What a new WebSocket starts with. `again`: batches to repeat. `lost`: there was a session
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
        self._counted = 0
        """Number of the last frame of `COUNTED`."""
        self._out = Outgoing(window)
        self._in = Incoming(window)
        self._requests: dict[int, tuple[Answers, float]] = {}
        self._ref = 0

    # -- the beginning of a WebSocket ---------------------------------------------------------------

    def hello(self) -> bytes:
        """The first message."""
        terms = (self.id, self._in.received, self._window, self._emit_only)
        frame = v1.AppHello(v1.REVISION, self._sdk, *terms, self._instance)
        return encode_batch(0, 0, [encode_frame(frame)])

    def greeted(self, data: bytes) -> Greeting:
        """The service's first message. Raises `PeerError` where it is no hello, `LinkRefused` for a
        dialect that is not ours."""
        batch = decode_from_service(data)
        frame = batch.frames[0] if batch.frames else None
        if batch.number or not isinstance(frame, v1.ServiceHello):
            raise PeerError(LINK_BAD_FRAME, "the first message is no hello")
        if frame.revision < 1:
            raise errors.LinkRefused(
                f"the service {frame.service} speaks revision {frame.revision} of moorage.v1, this SDK 1 "
                f"to {v1.REVISION}: use versions of both that belong together",
                reason=LINK_VERSION.name,
                number=LINK_VERSION.number,
            )
        lost = not frame.resumed and self.id != ""
        if frame.resumed:
            again = self._out.resume(frame.received)
        else:
            again = []
            self.forget("the service no longer knows this app server's session")
        self.id = frame.session
        self.hello_of_service = frame
        self._out.window = frame.window
        return Greeting(again, frame.resumed, lost)

    def forget(self, why: str) -> None:
        """The session is gone. Open requests fail. Emits that were never sent stay queued for the next
        session, because they name rooms and not clients of this one."""
        kept = [frame for frame in self._out.unsent() if frame.startswith(_BROADCAST)]
        self.id = ""
        self._out = Outgoing(self._out.window)
        self._in = Incoming(self._window)
        for frame in kept:
            self._out.queue(frame)
        self.fail_all(errors.SessionLost(why))

    # -- to the service -----------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Bytes that have not been sent."""
        return self._out.waiting

    @property
    def in_flight(self) -> int:
        """Bytes that were sent and that the service has not acknowledged."""
        return self._out.in_flight

    @property
    def congested(self) -> bool:
        """True if emits should wait."""
        return self._out.waiting >= CONGESTED_BYTES

    def queue(self, frame: v1.FromApp) -> None:
        """Raises `QueueFull`, or `TooLarge` for a frame that the service would not read."""
        if type(frame) in COUNTED:
            self._counted += 1
            frame.number = self._counted  # type: ignore[union-attr]
        data = encode_frame(frame)
        size = len(data)
        hello = self.hello_of_service
        if hello is not None and size > hello.max_batch - BATCH_OVERHEAD:
            raise errors.TooLarge(
                f"{size} bytes in one packet, the service reads {hello.max_batch - BATCH_OVERHEAD} "
                "(setting links.max_frame there)"
            )
        if self._out.waiting + size > self.max_queue_bytes and type(frame) not in _ALWAYS:
            raise errors.QueueFull(
                f"{self._out.waiting} bytes are waiting for the service, max_queue_bytes is "
                f"{self.max_queue_bytes}: the service is away or does not keep up"
            )
        self._out.queue(data)

    def ask(
        self, make: Callable[[int], v1.FromApp], answers: Answers, now: float, timeout: float | None
    ) -> int:
        """Queue a request; `make` builds its frame around the number it is given. Raises what
        `queue` does. Without a timeout it stays open until answered or the session ends."""
        self._ref += 1
        ref = self._ref
        self.queue(make(ref))
        self._requests[ref] = (answers, float("inf") if timeout is None else now + timeout)
        return ref

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
        """For keep-alive and acknowledgement."""
        return encode_batch(0, self._in.told(), [])

    @property
    def ack_is_due(self) -> bool:
        """A quarter of the window has been taken and not acknowledged."""
        return self._in.is_due

    @property
    def ack_has_news(self) -> bool:
        """Something has been taken and not acknowledged."""
        return self._in.has_news

    def take_all(self) -> None:
        """Everything that came has been handed to the application, or queued within its bounds."""
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
