"""One link of the moorage dialect: its WebSocket, from the hello on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from moorage import logs
from moorage.edge.http.upgrade import LinkProtocol, tcp_of
from moorage.edge.messages import Assembler
from moorage.edge.moorage.intake import LARGE, Reader
from moorage.edge.moorage.server import MoorageServer
from moorage.wire.errors import PeerError
from moorage.wire.moorage import raw_batch, v1
from moorage.wire.reasons import (
    BAD_FRAME,
    DRAINING,
    FRAGMENT_FLOOD,
    INTERNAL,
    LINK_BAD_FRAME,
    LINK_CLOSED,
    LINK_FRAME_TOO_LARGE,
    LINK_LOST,
    LINK_REPLACED,
    LINK_SLOW,
    PAYLOAD_TOO_LARGE,
    Reason,
)

if TYPE_CHECKING:
    from moorage.edge.moorage.sessions import Sessions

_CODES: Final = {int(code.value): code for code in WSCloseCode if code.value != 1006}
_OURS: Final = {
    WSCloseCode.MESSAGE_TOO_BIG: LINK_FRAME_TOO_LARGE,
    WSCloseCode.PROTOCOL_ERROR: LINK_BAD_FRAME,
    WSCloseCode.INVALID_TEXT: LINK_BAD_FRAME,
    WSCloseCode.INTERNAL_ERROR: INTERNAL,
}
_AS: Final = {
    PAYLOAD_TOO_LARGE: LINK_FRAME_TOO_LARGE,
    BAD_FRAME: LINK_BAD_FRAME,
    FRAGMENT_FLOOD: LINK_BAD_FRAME,
}
"""The reasons for broken messages, and those that a link ends with instead."""
_ORDINARY: Final = (LINK_CLOSED, LINK_LOST, LINK_REPLACED, DRAINING)

# Compared for every frame: a global is one look-up, an attribute of the enumeration two.
_BINARY: Final = WSMsgType.BINARY

_NO_FRAMES: Final = b"\x90"

log: Final = logs.get("link")


class MoorageSocket(WSListener):
    """`edge.moorage.server.Transport`. Until the hello it belongs to no session."""

    def __init__(self, sessions: Sessions, hub: str, server_id: str) -> None:
        self.hub = hub
        self.server_id = server_id
        self.congested = False
        self._sessions = sessions
        self._server: MoorageServer | None = None
        self._reader: Reader | None = None
        self._paused = False
        self._assembler: Assembler | None = None
        self._transport: WSTransport | None = None
        self._ended = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The WebSocket is open; a hello is due."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """One frame. What follows from all frames of one read leaves right after the last, in one
        batch: scheduling it for the end of the tick would cost another turn of the loop."""
        if self._ended:
            return
        kind = frame.msg_type
        if self._server is not None:
            self._server.cork()
        self._sessions.node.flusher.cork()
        try:
            if kind == _BINARY and frame.fin and self._assembler is None:
                self._message(frame.get_payload_as_bytes())
            elif kind == WSMsgType.CLOSE:
                self._peer_closes(frame)
            elif kind == WSMsgType.PING:
                if not self.congested:
                    transport.send_pong(frame.get_payload_as_bytes())
            elif kind != WSMsgType.PONG:
                self._fragment(frame)
        except PeerError as error:
            self._complain(error)
            self._broke()
        finally:
            if frame.last_in_buffer or self._ended:
                self._uncork()

    def _complain(self, error: PeerError) -> None:
        event = "link refused" if self._server is None else "bad frame"
        log.warning(event, reason=error.reason.name, detail=error.message, **self._fields())
        self.close(_AS.get(error.reason, error.reason))

    def _broke(self) -> None:
        """Not a case for the grace time: the same bytes would be sent again and again."""
        if self._server is not None:
            self._server.give_up("app server broke the protocol")

    def is_user_specific_pong(self, frame: WSFrame) -> bool:
        """picows keeps the pongs that it waits for to itself: one may be the last of a read."""
        if frame.msg_type != WSMsgType.PONG:
            return False
        if frame.last_in_buffer:
            self._uncork()
        return True

    def _uncork(self) -> None:
        reader = self._reader
        if reader is not None:
            if reader.intake.jobs:
                reader.end_of_read()
            reader.count = 0
        if self._server is not None:
            self._server.uncork()
        self._sessions.node.flusher.run()

    def _fragment(self, frame: WSFrame) -> None:
        if self._assembler is None:
            self._assembler = Assembler(self._sessions.node.links.max_frame)
        message = self._assembler.add(frame)
        if message is not None:
            self._assembler = None
            kind, data = message
            if kind != WSMsgType.BINARY:
                raise PeerError(LINK_BAD_FRAME, "text")
            self._message(data)

    def _message(self, data: bytes) -> None:
        node, server, reader = self._sessions.node, self._server, self._reader
        node.metrics.link_bytes_received += len(data)
        if reader is not None and (len(data) > LARGE or reader.intake.jobs):
            # Decoded when it is its turn, frame by frame: as objects the frames take many times the room.
            raw = raw_batch.head_from_app(data)
            frames = raw.number > 0 or bytes(raw.frames) != _NO_FRAMES
            if self._is_news(raw.number, raw.ack, len(data), frames=frames):
                reader.wait(raw.number, len(data), raw.frames)
            return
        batch = v1.decode_from_app(data)
        node.metrics.link_frames_received += len(batch.frames)
        if server is None or reader is None:
            self._hello(batch)
        elif self._is_news(batch.number, batch.ack, len(data), frames=bool(batch.frames)):
            reader.take(batch.number, len(data), batch.frames)

    def _is_news(self, number: int, ack: int, size: int, *, frames: bool) -> bool:
        """Note a batch's acknowledgement and arrival; True for one that was not here before."""
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
            raise PeerError(LINK_BAD_FRAME, "a hello comes first, and alone")
        hello = batch.frames[0]
        self._server, self._reader = self._sessions.greet(self, hello)
        self._server.cork()
        log.info("link opened", resumed=self._server.session == hello.session, **self._fields())

    def _peer_closes(self, frame: WSFrame) -> None:
        """A plain goodbye (1000) is for good; any other may come back and resume."""
        for_good = frame.get_close_code() == WSCloseCode.OK
        server = self._server
        if server is not None:
            server.flush()
        if self._transport is not None and not self._transport.is_close_frame_sent:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()
            self._sessions.closing(self)
        self._end(LINK_CLOSED)
        self._lost()
        if self._reader is not None and for_good:
            self._reader.farewell()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The TCP connection is gone. picows has closed it itself on a broken WebSocket frame: its
        close code tells."""
        handshake = transport.close_handshake
        sent = handshake.sent if handshake else None
        reason = LINK_LOST if sent is None else _OURS.get(sent.code, LINK_LOST)
        broke = not self._ended and reason is not LINK_LOST
        self._end(reason)
        self._lost()
        if broke:
            self._broke()
        self._sessions.gone(self)

    def _lost(self) -> None:
        if self._server is not None:
            self._server.lost(self)

    def _end(self, reason: Reason) -> None:
        if self._ended:
            return
        self._ended = True
        if reason not in _ORDINARY:
            self._sessions.node.metrics.refusals["link", reason.name] += 1
        log.info("link ended", reason=reason.name, number=reason.number, **self._fields())

    # -- edge.moorage.server.Transport ----------------------------------------------------------

    def heard(self) -> bool:
        """Has anything come since the last call, be it part of a message only?"""
        assert self._transport is not None
        if self._paused:
            # It may well have said something: we have not looked.
            self._transport.notify_user_specific_pong_received()
            return True
        protocol = tcp_of(self._transport).get_protocol()
        return isinstance(protocol, LinkProtocol) and protocol.heard()

    def write(self, *parts: bytes) -> None:
        """Finished frames, straight to the transport."""
        assert self._transport is not None
        if not self._transport.is_disconnected:
            tcp = tcp_of(self._transport)
            if len(parts) == 1:
                tcp.write(parts[0])
            else:
                tcp.writelines(parts)

    def close(self, reason: Reason) -> None:
        """Say why, and end."""
        self._end(reason)
        transport = self._transport
        if transport is None or transport.is_disconnected:
            return
        if reason is LINK_SLOW or self.congested:
            # A polite close would wait behind what it does not read.
            self.abort()
            return
        transport.send_close(_CODES.get(reason.ws, WSCloseCode.OK), reason.name.encode())
        transport.disconnect()
        self._sessions.closing(self)

    def pause_reading(self) -> None:
        """Leave what comes to the kernel: enough waits to be carried out."""
        if not self._paused and self._transport is not None and not self._transport.is_disconnected:
            self._paused = True
            tcp_of(self._transport).pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._paused and self._transport is not None:
            self._paused = False
            if not self._transport.is_disconnected:
                tcp_of(self._transport).resume_reading()

    def broke(self, error: PeerError) -> None:
        """What it sent earlier turns out to break the protocol."""
        self._complain(error)
        self._broke()

    def pause_writing(self) -> None:
        """The app server does not read fast enough."""
        self.congested = True

    def resume_writing(self) -> None:
        """It does again."""
        self.congested = False
        if self._server is not None and self._server.transport is self:
            self._server.flush()

    def abort(self) -> None:
        """Cut it off."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def _fields(self) -> dict[str, object]:
        return {"hub": self.hub, "server": self.server_id, "dialect": "moorage"}
