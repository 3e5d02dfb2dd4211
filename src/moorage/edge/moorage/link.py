"""One link of the moorage dialect: its WebSocket, its hello and its batches."""

from __future__ import annotations

from typing import Final, Protocol

from picows import WSCloseCode, WSFrame, WSMsgType, WSTransport

from moorage import logs
from moorage.edge.http.takeover import LinkProtocol, tcp_of
from moorage.edge.moorage.intake import LARGE, Reader
from moorage.edge.moorage.server import MoorageServer
from moorage.edge.settings import LinkSettings
from moorage.edge.sockets import LinkSocket, Sweep, link_reason, reason_of
from moorage.hub.node import Node
from moorage.metrics.metrics import Metrics
from moorage.wire.errors import PeerError
from moorage.wire.moorage import raw_batch, v1
from moorage.wire.reasons import LINK_BAD_FRAME, LINK_CLOSED, LINK_LOST, LINK_SILENT, LINK_SLOW, Reason

# Compared for every frame: a global is one look-up, an attribute of the enumeration two.
_BINARY: Final = WSMsgType.BINARY
_CLOSE: Final = WSMsgType.CLOSE

_NO_FRAMES: Final = b"\x90"

log: Final = logs.get("link")


class Greeter(Protocol):
    """Gives a session to each link."""

    node: Node
    metrics: Metrics
    settings: LinkSettings
    sweep: Sweep
    """Watches links without a hello, and closed ones."""

    def greet(self, socket: MoorageSocket, hello: v1.AppHello) -> tuple[MoorageServer, Reader]:
        """Attach the link to its session, a new or an old one. Raises `PeerError`."""


class MoorageSocket(LinkSocket):
    """`edge.moorage.ports.Transport`. It belongs to no session until its hello has arrived."""

    def __init__(self, greeter: Greeter, hub: str, server_id: str) -> None:
        super().__init__(greeter.metrics)
        self.hub = hub
        self.server_id = server_id
        self.congested = False
        self._greeter = greeter
        self._max_frame = greeter.settings.max_frame
        self._flusher = greeter.node.flusher
        self._server: MoorageServer | None = None
        self._reader: Reader | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The WebSocket is open; a hello is due."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """One WebSocket frame. What the frames of one read lead to is written right after the last of them,
        in one batch: scheduling it for the end of the tick would cost another turn of the loop."""
        if self._ended:
            return
        kind = frame.msg_type
        if self._server is not None:
            self._server.cork()
        self._flusher.cork()
        try:
            if kind == _BINARY and frame.fin and self._assembler is None:
                self._message(frame.get_payload_as_bytes())
            elif kind == _CLOSE:
                self._peer_closes(frame)
            else:
                self._control(frame, self._max_frame, congested=self.congested)
        except PeerError as error:
            self._complain(error)
            self._broke()
        finally:
            if frame.last_in_buffer or self._ended:
                self._uncork()

    def _complain(self, error: PeerError) -> None:
        event = "link refused" if self._server is None else "bad frame"
        log.warning(event, reason=error.reason.name, detail=error.message, **self._fields())
        self.close(link_reason(error.reason))

    def _broke(self) -> None:
        """End the session without a grace time: a resume would bring the same bytes again."""
        if self._server is not None:
            self._server.give_up("app server broke the protocol")

    def _uncork(self) -> None:
        reader = self._reader
        if reader is not None:
            if reader.intake.jobs:
                reader.end_of_read()
            reader.count = 0
        if self._server is not None:
            self._server.uncork()
        self._flusher.run()

    def _message(self, data: bytes) -> None:
        server, reader = self._server, self._reader
        self._metrics.link_bytes_received += len(data)
        if reader is not None and (len(data) > LARGE or reader.intake.jobs):
            # Decode each frame when its turn comes: decoded frames take many times the memory.
            raw = raw_batch.head_from_app(data)
            frames = raw.number > 0 or bytes(raw.frames) != _NO_FRAMES
            if self._is_news(raw.number, raw.ack, len(data), frames=frames):
                reader.wait(raw.number, len(data), raw.frames)
            return
        batch = v1.decode_from_app(data)
        self._metrics.link_frames_received += len(batch.frames)
        if server is None or reader is None:
            self._hello(batch)
        elif self._is_news(batch.number, batch.ack, len(data), frames=bool(batch.frames)):
            reader.take(batch.number, len(data), batch.frames)

    def _is_news(self, number: int, ack: int, size: int, *, frames: bool) -> bool:
        """Record the acknowledgement and the arrival of a batch. True if the batch is new."""
        server = self._server
        assert server is not None
        server.out.taken(ack)
        if server.acks:
            server.acks.taken()
        if number == 0:
            if frames:
                raise PeerError(LINK_BAD_FRAME, "frames in a batch without a number")
            return False
        return server.inc.arrived(number, size)

    def _hello(self, batch: v1.Batch[v1.FromApp]) -> None:
        if batch.number or len(batch.frames) != 1 or not isinstance(batch.frames[0], v1.AppHello):
            raise PeerError(LINK_BAD_FRAME, "the first batch must be one hello, without a number")
        hello = batch.frames[0]
        self._server, self._reader = self._greeter.greet(self, hello)
        self._server.cork()
        log.info("link opened", resumed=self._server.session == hello.session, **self._fields())

    def _peer_closes(self, frame: WSFrame) -> None:
        """Close code 1000 ends the session. After any other code the app server may resume it."""
        for_good = frame.get_close_code() == WSCloseCode.OK
        server = self._server
        if server is not None:
            server.flush()
        self._send_close(self._greeter.sweep)
        self._end(LINK_CLOSED)
        self._lost()
        if self._reader is not None and for_good:
            self._reader.farewell()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The TCP connection is gone."""
        reason = link_reason(reason_of(transport, LINK_LOST))
        broke = not self._ended and reason is not LINK_LOST
        self._end(reason)
        self._lost()
        if broke:
            self._broke()
        self._greeter.sweep.forget(self)

    def _lost(self) -> None:
        if self._server is not None:
            self._server.lost(self)

    # -- edge.moorage.server.Transport ----------------------------------------------------------

    def heard(self) -> bool:
        """True if anything was received since the last call, even a part of a message."""
        assert self._transport is not None
        if self._paused:
            # Nothing was read, so nothing shows that the app server is silent.
            self.not_read()
            return True
        protocol = tcp_of(self._transport).get_protocol()
        return isinstance(protocol, LinkProtocol) and protocol.heard()

    def write(self, *parts: bytes) -> None:
        """Write finished frames to the TCP transport."""
        assert self._transport is not None
        if not self._transport.is_disconnected:
            tcp = tcp_of(self._transport)
            if len(parts) == 1:
                tcp.write(parts[0])
            else:
                tcp.writelines(parts)

    def close(self, reason: Reason) -> None:
        """Close the link with this reason."""
        self._end(reason)
        if reason is LINK_SLOW or self.congested:
            # A close frame would wait behind what the app server does not read.
            self.abort()
        else:
            self._send_close(self._greeter.sweep, reason)

    def expired(self) -> None:
        """No hello came in time, or the app server did not end a closed connection."""
        self.close(LINK_SILENT)
        self.abort()

    def broke(self, error: PeerError) -> None:
        """A frame that was received earlier turns out to be broken."""
        self._complain(error)
        self._broke()

    def pause_writing(self) -> None:
        """The app server reads too slowly."""
        self.congested = True

    def resume_writing(self) -> None:
        """The app server has caught up."""
        self.congested = False
        if self._server is not None and self._server.transport is self:
            self._server.flush()

    def _fields(self) -> dict[str, object]:
        return {"hub": self.hub, "server": self.server_id, "dialect": "moorage"}
