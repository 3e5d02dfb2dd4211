"""The links of one app server in the azure dialect: their WebSockets, and the frames that come over them."""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from picows import WSFrame, WSMsgType, WSTransport

from moorage import logs
from moorage.edge.azure.channel import Tunnel
from moorage.edge.azure.server import AzureServer
from moorage.edge.http.takeover import tcp_of
from moorage.edge.sockets import LinkSocket, Sweep, link_reason, reason_of
from moorage.hub.turns import TURN_SECONDS, TURN_WRITES, Job
from moorage.wire.errors import PeerError
from moorage.wire.reasons import LINK_CLOSED, LINK_LOST, LINK_SLOW, Reason

MAX_MESSAGE: Final = 100 * 1024 * 1024
"""Bytes of one WebSocket message: the SDK's own limit. A call above `links.max_frame` is answered with 413
instead, because closing the link would leave the SDK waiting for an answer."""
FRAMES: Final = 8
"""Frames in one step. After as many, the time is looked at."""
MAX_WAITING: Final = 4 * 1024 * 1024
"""Bytes of waiting frames above which this app server's links are not read."""

# Compared for every frame: a global is one look-up, an attribute of the enumeration two.
_BINARY: Final = WSMsgType.BINARY
_CLOSE: Final = WSMsgType.CLOSE

log: Final = logs.get("link")


class Source(Protocol):
    """The link that a frame came over."""

    tunnel: Tunnel

    def pause_reading(self) -> None:
        """Stop reading for now."""

    def resume_reading(self) -> None:
        """Read again, if reading is paused."""

    def not_read(self) -> None:
        """Called a few times a second while reading is paused."""

    def broke(self, error: PeerError) -> None:
        """End the link: one of its frames cannot be read."""

    def goodbye(self) -> None:
        """Answer the close frame of the app server: all earlier frames have been carried out."""


class Reader:
    """The incoming frames of one app server. A few of each read are handled at once, the rest in steps, in
    the order in which they came, whichever link they came over."""

    def __init__(self, server: AzureServer) -> None:
        self.server = server
        self._metrics = server.metrics
        self._clock = server.node.clock
        self._jobs = server.intake.jobs
        self._waiting: deque[tuple[Source, bytes | None]] = deque()
        self._size = 0
        self._paused: dict[Source, None] = {}
        self._now = self._until = 0.0

    def begin(self) -> None:
        """A read of a link begins."""
        self._now = now = self._clock()
        self._until = now + TURN_SECONDS

    def take(self, socket: Source, data: bytes) -> None:
        """Take one frame. Raises `PeerError` (link-bad-frame) if it is decoded at once and is broken."""
        metrics = self._metrics
        metrics.link_frames_received = count = metrics.link_frames_received + 1
        metrics.link_bytes_received += len(data)
        if self._jobs:
            self._wait(socket, data)
            return
        if not count % FRAMES and self._used_up():
            self._wait(socket, data)
            self.server.intake.add(self._all())
            return
        job = self.server.received(socket.tunnel, data, self._now)
        if job is not None:
            self.server.intake.add(self._after(job))

    def _used_up(self) -> bool:
        """True if this read has used up the time of one turn."""
        self._now = self._clock()
        return self._now >= self._until or self.server.node.flusher.pending >= TURN_WRITES

    def end_of_read(self) -> None:
        """The read is over, and frames wait."""
        if self._clock() < self._until:
            self.server.node.turns.begin()

    def close(self, socket: Source) -> None:
        """The app server closes a link. Its close frame waits for the frames before it."""
        if self.server.intake.busy:
            self._waiting.append((socket, None))
        else:
            socket.goodbye()

    def gone(self, socket: Source) -> None:
        """The link is gone. Its frames are carried out all the same."""
        self._paused.pop(socket, None)

    def tick(self) -> None:
        """Called a few times a second."""
        for socket in self._paused:
            socket.not_read()

    def _wait(self, socket: Source, data: bytes) -> None:
        self._waiting.append((socket, data))
        self._size += len(data)
        if self._size > MAX_WAITING and socket not in self._paused:
            self._paused[socket] = None
            socket.pause_reading()

    def _after(self, job: Job[None]) -> Job[None]:
        yield from job
        yield from self._all()

    def _all(self) -> Job[None]:
        """Carry out the waiting frames, and those that come meanwhile."""
        count = 0
        while self._waiting:
            socket, data = self._waiting.popleft()
            if data is None:
                socket.goodbye()
            else:
                yield from self._one(socket, data)
            count += 1
            if count % FRAMES == 0:
                yield False

    def _one(self, socket: Source, data: bytes) -> Job[None]:
        self._size -= len(data)
        if self._paused and self._size <= MAX_WAITING // 2:
            paused, self._paused = self._paused, {}
            for each in paused:
                each.resume_reading()
        try:
            job = self.server.received(socket.tunnel, data, self.server.node.clock())
        except PeerError as error:
            socket.broke(error)
            return
        except Exception:
            # A defect of the service must not stop the frames behind this one.
            log.error("frame failed", exc_info=True)
            return
        if job is not None:
            yield from job


class AzureSocket(LinkSocket):
    """One link's WebSocket; a `Source` of frames. Its tunnel keeps what waits while it takes no data."""

    def __init__(self, reader: Reader, tunnel_id: str, limit: int, sweep: Sweep) -> None:
        node = reader.server.node
        super().__init__(reader.server.metrics)
        self._server = reader.server
        self._reader = reader
        self._sweep = sweep
        self._flusher = node.flusher
        self._clock = node.clock
        self._broken = False
        self._is_reading = False
        """True from the first frame of a read to the last."""
        self.tunnel = Tunnel(
            tunnel_id, write=self._write, close=self._close, limit=limit, metrics=reader.server.metrics
        )

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The link is up."""
        self._transport = transport
        self._server.app.address = self.address
        self._server.tunnel_opened(self.tunnel, self._clock())
        log.info("link opened", **self._fields())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """One WebSocket frame. What the frames of one read lead to is written right after the last of them:
        scheduling it for the end of the tick would cost another turn of the loop and a poll of the kernel."""
        if not self._is_reading:
            if self._broken:
                # One bad frame is enough: those behind it would only fill the log.
                return
            self._is_reading = True
            self._server.cork()
            self._flusher.cork()
            self._reader.begin()
        try:
            if frame.msg_type == _BINARY and frame.fin and self._assembler is None:
                self._reader.take(self, frame.get_payload_as_bytes())
            elif frame.msg_type == _CLOSE:
                self._reader.close(self)
            else:
                self._control(frame, MAX_MESSAGE, congested=self.tunnel.congested)
        except PeerError as error:
            self.broke(error)
        finally:
            if frame.last_in_buffer or self._broken:
                self._uncork()

    def _message(self, data: bytes) -> None:
        self._reader.take(self, data)

    def broke(self, error: PeerError) -> None:
        """End the link: one of its frames cannot be read."""
        if self._broken:
            return
        self._broken = True
        log.warning("bad frame", detail=error.message, **self._fields())
        self.tunnel.close(link_reason(error.reason))

    def _uncork(self) -> None:
        self._is_reading = False
        if self._server.intake.jobs:
            self._reader.end_of_read()
        # Clients first, because a user waits for them. The app server gets answers to its calls. While those
        # are written, a client may have sent its next packet, which the loop then reads without having
        # slept (0.95x CPU for a round trip of one client, ten paired rounds).
        self._flusher.run()
        self._server.flush()

    def goodbye(self) -> None:
        """The app server closes the link. Every call before is answered. Open streams must end before our
        close frame, while the SDK still listens."""
        if self._server.tunnels == 1:
            self._server.calls.end_streams()
        self._server.flush()
        self._send_close(self._sweep)
        self._lost(LINK_CLOSED)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The TCP connection is gone."""
        self._sweep.forget(self)
        self._reader.gone(self)
        self._lost(link_reason(reason_of(transport, LINK_LOST)))

    def _lost(self, reason: Reason) -> None:
        self._end(reason)
        self._server.tunnel_lost(self.tunnel, self._clock())

    def pause_writing(self) -> None:
        """The app server reads too slowly, so its clients are not read either."""
        self.tunnel.congested = True

    def resume_writing(self) -> None:
        """The app server has caught up."""
        self.tunnel.congested = False
        self.tunnel.flush()
        self._server.resume_clients()

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        tcp_of(self._transport).write(data)

    def _close(self, reason: Reason) -> None:
        self._end(reason)
        if reason is LINK_SLOW:
            # A close frame would wait behind data that is not read, and so would the clients.
            self.abort()
        else:
            self._send_close(self._sweep, reason)

    def _fields(self) -> dict[str, object]:
        return {"hub": self._server.hub.name, "server": self._server.app.id, "link": self.tunnel.id}
