"""A client's packets over one WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSParsedURL,
    WSTransport,
    ws_connect,
)

from moorage.load.client import Client
from moorage.load.transports.target import Target, reset_on_close
from moorage.wire.engineio import encode_binary

MAX_FRAME: Final = 64 * 1024 * 1024
READ_BUFFER: Final = 4096
CLOSE_SECONDS: Final = 2.0

# Compared for every frame: a global is one look-up, an attribute of the enumeration two.
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_CONTINUATION: Final = WSMsgType.CONTINUATION
_CLOSE: Final = WSMsgType.CLOSE

_log = logging.getLogger("moorage.load.websocket")
_log.setLevel(logging.ERROR)


async def dial(target: Target, client: Client) -> None:
    """Open the client's WebSocket. Raises `OSError` with a text for people."""
    scheme = "wss" if target.ssl else "ws"
    url = f"{scheme}://{target.host}{target.query(client.number, transport='websocket')}"
    opened: list[socket.socket] = []

    async def connect(_: WSParsedURL) -> socket.socket:
        opened.append(await target.connect())
        return opened[0]

    try:
        await ws_connect(
            partial(_Socket, client),
            url,
            ssl_context=target.ssl,
            websocket_handshake_timeout=None,
            logger_name=_log,
            max_frame_size=MAX_FRAME,
            extra_headers=target.headers,
            max_redirects=0,
            read_buffer_init_size=READ_BUFFER,
            socket_factory=connect,
        )
    except WSHandshakeError as error:
        response = error.response
        if response is None:
            raise ConnectionError(str(error)) from None
        body = (error.raw_body or b"")[:120].decode("utf-8", "replace").strip()
        raise ConnectionError(f"HTTP {int(response.status)} {body}".strip()) from None
    except WSError as error:
        raise ConnectionError(str(error) or "not a WebSocket") from None
    finally:
        if client.transport is None:
            # picows leaves a connection open whose handshake was cancelled, until its data ends.
            for made in opened:
                with contextlib.suppress(OSError):
                    made.shutdown(socket.SHUT_RDWR)


class _Socket(WSListener):
    """Whole messages to the client, and its packets to the socket."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._receive: Callable[[bytes], None] = client.receive
        self._transport: WSTransport | None = None
        self._kind = _TEXT
        self._parts: list[bytes] = []

    # -- from the client --------------------------------------------------------------------------------

    def send(self, packet: bytes) -> None:
        """One text frame. A packet for a socket that is closing is lost, as on a network."""
        assert self._transport is not None
        self._transport.send(_TEXT, packet)

    def close(self) -> None:
        """The closing handshake. The server ends the TCP connection (RFC 6455, 7.1.1)."""
        transport = self._transport
        assert transport is not None
        if not transport.is_close_frame_sent:
            transport.send_close(WSCloseCode.OK)
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, transport.disconnect, False)

    def abort(self) -> None:
        """Reset the TCP connection."""
        assert self._transport is not None
        tcp = self._transport.underlying_transport
        found = tcp.get_extra_info("socket")
        if found is not None and not self._transport.is_disconnected:
            reset_on_close(found)
        tcp.abort()

    # -- from picows ------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self._transport = transport
        self._client.transport = self

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Nearly always a whole text message."""
        if frame.msg_type == _TEXT and frame.fin:
            if self._client.transport is self:
                self._receive(frame.get_payload_as_bytes())
        else:
            self._other(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The TCP connection is gone."""
        if self._client.transport is self:
            self._client.ended("the connection broke")

    def _other(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == _CLOSE:
            self._closed(transport, frame)
        elif kind in (_TEXT, _BINARY, _CONTINUATION) and self._client.transport is self:
            if kind != _CONTINUATION:
                self._kind = kind
            self._parts.append(frame.get_payload_as_bytes())
            if frame.fin:
                data, self._parts = b"".join(self._parts), []
                self._receive(data if self._kind == _TEXT else encode_binary(data))

    def _closed(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._client.transport is self:
            code = int.from_bytes(frame.get_payload_as_bytes()[:2], "big")
            told = f"the server closed the WebSocket: {code} {frame.get_close_reason() or ''}"
            self._client.ended(told.strip())
        if not transport.is_close_frame_sent:
            transport.send_close(WSCloseCode.OK)
        transport.disconnect()
