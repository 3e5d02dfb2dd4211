"""Messages for a refused link. Each names what was found, at which address, the cause, and the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from moorage.sdk.errors import LinkError, LinkRefused, LinkUnavailable
from moorage.wire.connection_string import ConnectionString
from moorage.wire.reasons import Reason

_AGAIN: Final = frozenset({408, 409, 425, 429})
"""Statuses from 400 to 499 that may pass by themselves. After all others the SDK does not try again."""

_FIXES: Final = {
    "token-signature": "the AccessKey in the connection string is not a key of this service; "
    "take the connection string that the service prints, or compare with its setting `keys.primary`",
    "token-audience": "the Endpoint in the connection string is not the address under which the service "
    "knows itself; behind a proxy set `server.public_endpoint` there to what stands in the connection string",
    "token-expired": "the clocks of this machine and of the service are apart; set them by NTP",
    "token-not-yet": "the clocks of this machine and of the service are apart; set them by NTP",
    "token-claims": "the server id must have 1 to 128 characters",
    "unknown-hub": "the service has no such hub; correct `hub`, or add it to the service's `hubs`",
    "link-unknown-dialect": "this service does not speak moorage.v1; bring it to the SDK's version",
    "link-version": "the service and this SDK do not belong together; bring both to the same version",
    "link-server-taken": "another process has the same server_id; each worker needs its own: "
    "leave it out to get a fresh one",
}


class _Body(msgspec.Struct):
    number: int
    reason: str
    message: str


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, *, target: ConnectionString, hub: str, now: float
) -> LinkError:
    """The meaning of an HTTP answer that is no upgrade. `headers` finds names in any case; `now` in epoch
    seconds."""
    told = _told(body)
    where = f"{target.endpoint} refuses the link of hub {hub!r}"
    kind = LinkUnavailable if status >= 500 or status in _AGAIN else LinkRefused
    if told is not None:
        text = f"{where}: {told.number} {told.reason}: {told.message}"
        text += _fix(told.reason) + _apart(told.reason, headers, now)
        if kind is LinkRefused:
            return LinkRefused(text, reason=told.reason, number=told.number)
        return LinkUnavailable(text)
    if 300 <= status < 400:
        return LinkRefused(
            f"{where}: it redirects to {headers.get('Location', 'nowhere')!r}. "
            "Put the address it redirects to into the connection string's Endpoint"
        )
    text = f"{target.endpoint} answered HTTP {status}{_kind_of(headers)} to the link of hub {hub!r}"
    if kind is LinkUnavailable:
        return LinkUnavailable(f"{text}. A proxy may stand there whose Moorage is not running")
    return LinkRefused(
        f"{text}. That is not Moorage: another web server is there, or a proxy that does not pass "
        "/server/tunnel on, with WebSocket upgrades. "
        f"Check the connection string's Endpoint{_azure(target)}"
    )


def wrong_protocol(target: ConnectionString, chosen: str | None) -> LinkRefused:
    """The WebSocket opened, but not with our dialect."""
    return LinkRefused(
        f"{target.endpoint} opened the link without the subprotocol moorage.v1 (it chose {chosen!r}). "
        f"That is not Moorage, or an older one, or a proxy dropped Sec-WebSocket-Protocol{_azure(target)}"
    )


def no_http(target: ConnectionString, what: str) -> LinkRefused:
    """The endpoint answers, but not in HTTP."""
    return LinkRefused(
        f"{target.endpoint} does not answer like a web server ({what}). Check the port and http/https "
        "in the connection string's Endpoint"
    )


def unreachable(target: ConnectionString, error: BaseException) -> LinkUnavailable:
    """No answer at all."""
    if isinstance(error, TimeoutError):
        what = "it does not answer in time"
    else:
        what = str(error) or type(error).__name__
    if target.advertised:
        return LinkUnavailable(
            f"cannot reach {target.endpoint} ({what}), the address that a node has as its cluster.advertise. "
            "Is this node running, and can this machine reach that address?"
        )
    return LinkUnavailable(
        f"cannot reach {target.endpoint} ({what}). Is Moorage running at that address "
        "(`moorage dev` starts one), and is the connection string's Endpoint right?"
    )


def untrusted(target: ConnectionString, error: BaseException) -> LinkRefused:
    """The TLS handshake failed."""
    return LinkRefused(
        f"no TLS connection to {target.endpoint} ({error}). If the service has a certificate of its own "
        "authority, give an `ssl_context` that knows it; if it speaks plain HTTP, write http:// in the "
        "connection string's Endpoint"
    )


def closed(reason: Reason) -> LinkError:
    """The service closed the WebSocket instead of greeting."""
    text = f"the service refuses the link: {reason.number} {reason.name}: {reason.text}{_fix(reason.name)}"
    if reason.retry:
        return LinkUnavailable(text)
    return LinkRefused(text, reason=reason.name, number=reason.number)


def _fix(reason: str) -> str:
    fix = _FIXES.get(reason)
    return f". {fix[0].upper()}{fix[1:]}" if fix else ""


def _told(body: bytes) -> _Body | None:
    try:
        return msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeError):
        return None


def _apart(reason: str, headers: Mapping[str, str], now: float) -> str:
    if reason not in ("token-expired", "token-not-yet"):
        return ""
    try:
        theirs = parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except ValueError:
        return ""
    return f" (by the answer's Date this machine is {now - theirs:+.0f} s off)"


def _kind_of(headers: Mapping[str, str]) -> str:
    parts = [headers.get("Content-Type", ""), headers.get("Server", "")]
    found = ", ".join(part for part in parts if part)
    return f" ({found})" if found else ""


def _azure(target: ConnectionString) -> str:
    if ".azure." not in target.host:
        return ""
    return ". This is an endpoint of Azure's own service; this SDK speaks to Moorage only"
