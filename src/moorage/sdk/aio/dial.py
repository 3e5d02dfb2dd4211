"""Opens the WebSocket of a link, or finds out why that is not possible."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from binascii import b2a_base64
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

from picows import WSError, WSHandshakeError, WSListener, WSTransport, ws_connect

from moorage.sdk.aio.websocket import MAX_MESSAGE
from moorage.sdk.link import refusals
from moorage.sdk.link.tokens import jwt
from moorage.wire.connection_string import ConnectionString
from moorage.wire.moorage.v1 import SUBPROTOCOL

CONNECT_SECONDS: Final = 10.0
TOKEN_SECONDS: Final = 600
"""A token is used at once. It is valid for this long because the clocks of both machines may differ."""
READ_BUFFER: Final = 128 * 1024
"""A link carries the packets of all clients, so one read should take all that has arrived."""
WRITE_BUFFER: Final = 512 * 1024
"""Bytes that may wait in the socket's own buffer. Beyond this, batches wait in the session."""
_BODY_LIMIT: Final = 64 * 1024

_log = logging.getLogger("moorage.sdk.aio.websocket")
if _log.level == logging.NOTSET:
    # picows logs each opening and closing at INFO; `link` logs them with their cause.
    _log.setLevel(logging.WARNING)


def sign(key: str, *, audience: str, subject: str, now: float) -> str:
    """A link's access token."""
    return jwt(key, {"sub": subject, "aud": audience, "iat": int(now), "exp": int(now) + TOKEN_SECONDS})


async def dial(
    target: ConnectionString,
    hub: str,
    server_id: str,
    listener: Callable[[], WSListener],
    *,
    node: str = "",
    ssl_context: ssl.SSLContext | None = None,
) -> WSTransport:
    """Open a WebSocket under a new listener, to node `node` if one is named. Raises `LinkRefused` or
    `LinkUnavailable`."""
    url = target.link_url(hub, node)
    headers = {
        "Sec-WebSocket-Protocol": SUBPROTOCOL,
        "Authorization": f"Bearer {sign(target.key, audience=url, subject=server_id, now=time.time())}",
    }
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            transport, _ = await ws_connect(
                listener,
                url,
                ssl_context=ssl_context,
                websocket_handshake_timeout=CONNECT_SECONDS,
                logger_name=_log,
                max_frame_size=MAX_MESSAGE,
                extra_headers=headers,
                # Followed silently, it would cost every reconnect a round trip more, and the token
                # names another audience anyway.
                max_redirects=0,
                read_buffer_init_size=READ_BUFFER,
            )
    except WSHandshakeError as error:
        raise await _refused(error, _Request(target, hub, url, headers, ssl_context)) from None
    except WSError as error:
        raise await _stranger(error, _Request(target, hub, url, headers, ssl_context)) from None
    except ssl.SSLError as error:
        raise refusals.untrusted(target, error) from None
    except OSError as error:  # TimeoutError is one
        raise refusals.unreachable(target, error) from None
    if transport.response is None:
        raise refusals.unreachable(target, ConnectionError("it closed the connection without an answer"))
    chosen = transport.response.headers.get("Sec-WebSocket-Protocol")
    if chosen != SUBPROTOCOL:
        transport.disconnect(graceful=False)
        raise refusals.wrong_protocol(target, chosen)
    transport.underlying_transport.set_write_buffer_limits(high=WRITE_BUFFER)
    return transport


class _Request(NamedTuple):
    """The request for a WebSocket, as it was sent."""

    target: ConnectionString
    hub: str
    url: str
    headers: dict[str, str]
    ssl_context: ssl.SSLContext | None


async def _refused(error: WSHandshakeError, sent: _Request) -> Exception:
    response = error.response
    if response is None or response.status == 101:
        return await _stranger(error, sent)
    body = error.raw_body or b""
    headers = response.headers
    length = headers.get("Content-Length", "0")
    if "Transfer-Encoding" in headers or not length.isdecimal() or len(body) < int(length):
        # picows reports the head as soon as it has it, often before the body that says why.
        again = await asyncio.to_thread(_ask, sent)
        body = b"" if again is None else again[2]
    return _refusal(int(response.status), headers, body, sent)


async def _stranger(error: Exception, sent: _Request) -> Exception:
    """An answer that picows cannot read may still come from a web server, for example with HTTP/1.0."""
    answer = await asyncio.to_thread(_ask, sent)
    if answer is None or answer[0] == 101:
        return refusals.no_http(sent.target, str(error))
    return _refusal(*answer, sent)


def _refusal(status: int, headers: Mapping[str, str], body: bytes, sent: _Request) -> Exception:
    return refusals.refusal(status, headers, body, target=sent.target, hub=sent.hub, now=time.time())


def _ask(sent: _Request) -> tuple[int, Mapping[str, str], bytes] | None:
    """Send the same request again and return the answer; None if there is no answer."""
    url = urlsplit(sent.url)
    connection = (
        HTTPSConnection(url.netloc, timeout=CONNECT_SECONDS, context=sent.ssl_context)
        if sent.target.secure
        else HTTPConnection(url.netloc, timeout=CONNECT_SECONDS)
    )
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": b2a_base64(os.urandom(16), newline=False).decode(),
    }
    try:
        connection.request("GET", f"{url.path}?{url.query}", headers={**sent.headers, **upgrade})
        answer = connection.getresponse()
        # Names are found in any case, as with picows.
        headers = cast(Mapping[str, str], answer.headers)
        return answer.status, headers, answer.read(_BODY_LIMIT)
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
