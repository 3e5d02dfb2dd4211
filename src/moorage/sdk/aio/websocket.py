"""One WebSocket of a link, from its opening to its end: whole messages in, batches out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from moorage.sdk.errors import LinkError, LinkUnavailable
from moorage.sdk.link import refusals
from moorage.wire.reasons import CATALOGUE, Reason

MAX_MESSAGE: Final = 64 * 1024 * 1024
"""Maximum bytes of a message. It only bounds memory: a service sends far less in one message (256 KiB, or one
packet)."""
CLOSE_SECONDS: Final = 1.0

# Compared for every frame: a global is one look-up, an attribute of the enumeration two.
_BINARY: Final = WSMsgType.BINARY
_CLOSE: Final = WSMsgType.CLOSE
_CONTINUATION: Final = WSMsgType.CONTINUATION


class LinkSocket(WSListener):
    """The first message resolves `first`; later ones go to `on_message` once `release` has been called."""

    def __init__(
        self,
        on_message: Callable[[LinkSocket, bytes], None],
        on_end: Callable[[LinkSocket], None],
        on_writable: Callable[[], None],
    ) -> None:
        self.first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.full = False
        """True while the service reads more slowly than the SDK writes. Then `on_writable` is called."""
        self.reason = ""
        """Why it ended: a name of the catalogue of reasons, if the service gave one."""
        self._on_message = on_message
        self._on_end = on_end
        self._on_writable = on_writable
        self._transport: WSTransport | None = None
        self._early: list[bytes] | None = []
        self._parts: list[bytes] = []
        self._broken = False
        self._gone = asyncio.Event()

    def release(self) -> None:
        """Pass messages to `on_message` from now on, beginning with those that have come already."""
        early, self._early = self._early, None
        for data in early or ():
            self._on_message(self, data)

    # -- to the service -------------------------------------------------------------------------------

    def write(self, message: bytes) -> None:
        """One binary message."""
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.send(_BINARY, message)

    def break_off(self, reason: Reason | None = None) -> None:
        """End it now, without reading what has arrived. The service gets `reason` if it still reads."""
        self._broken = True
        if self._transport is None:
            return
        if reason is not None and not self._transport.is_close_frame_sent:
            self._transport.send_close(WSCloseCode(reason.ws), reason.name.encode())
        self._transport.disconnect(graceful=reason is not None)

    async def farewell(self, reason: Reason) -> None:
        """A close handshake, unless the service does not answer."""
        if self._transport is None or self._transport.is_disconnected:
            return
        self._transport.send_close(WSCloseCode.OK, reason.name.encode())
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._gone.wait()
        except TimeoutError:
            self._transport.disconnect(graceful=False)

    # -- picows ---------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self._transport = transport
        if self._broken:  # the caller has given up
            transport.disconnect(graceful=False)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """The usual frame is a whole message; a proxy may cut one into fragments."""
        kind = frame.msg_type
        if self._broken:
            return
        if kind == _BINARY and frame.fin:
            self._whole(frame.get_payload_as_bytes())
        elif kind in (_BINARY, _CONTINUATION):
            self._fragment(frame)
        elif kind == _CLOSE:
            self.reason = frame.get_close_reason() or f"closed with code {frame.get_close_code()}"
            if not transport.is_close_frame_sent:
                transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The TCP connection is gone."""
        self._gone.set()
        if self.first.done():
            self._on_end(self)
        else:
            self.first.set_exception(self._never_greeted())

    def pause_writing(self) -> None:
        """The socket's buffer is above its high-water mark."""
        self.full = True

    def resume_writing(self) -> None:
        """The socket's buffer is below its low-water mark."""
        self.full = False
        self._on_writable()

    def _fragment(self, frame: WSFrame) -> None:
        self._parts.append(frame.get_payload_as_bytes())
        if frame.fin:
            parts, self._parts = self._parts, []
            self._whole(b"".join(parts))
        elif sum(map(len, self._parts)) > MAX_MESSAGE:
            self.break_off(CATALOGUE["link-frame-too-large"])

    def _whole(self, data: bytes) -> None:
        if self._early is None:
            self._on_message(self, data)
        elif not self.first.done():
            self.first.set_result(data)
        else:
            self._early.append(data)

    def _never_greeted(self) -> LinkError:
        reason = CATALOGUE.get(self.reason)
        if reason is None:
            told = self.reason or "it broke"
            return LinkUnavailable(f"the service ended the link before greeting ({told})")
        return refusals.closed(reason)
