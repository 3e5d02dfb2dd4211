"""Heads of relayed requests and of their answers, as bytes. A relayed request has the client's own headers, a
path of the nodes, and the signed header."""

from __future__ import annotations

from typing import Final

from moorage.edge.relay.hop import HEADER

PREFIX: Final = "/cluster/relay"
"""Relayed requests have the client's path behind this one, so that no other request pays for the check."""
MORE_BYTES: Final = 512
MORE_HEADERS: Final = 2
"""Bytes and fields that a relayed request may have beyond the limits that its first node has checked."""
MAX_HEAD: Final = 64 * 1024
"""Maximum bytes of the head of an answer."""

_OWN: Final = frozenset(
    (HEADER, b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"expect")
)
"""Headers that are about one TCP connection (RFC 9110, 7.6.1), and the one that only nodes write."""
_ANSWER: Final = frozenset((b"connection", b"keep-alive"))

Headers = list[tuple[bytes, bytes]]


def request_head(method: str, target: str, headers: Headers, hop: bytes, *, upgrade: bool) -> bytes:
    """A complete head. The connection ends with the answer, unless it is an upgrade. A GET does not say so,
    because another request behind it hurries its answer."""
    hidden = _OWN if upgrade else _OWN | {b"upgrade"}
    lines = [f"{method} {PREFIX}{target} HTTP/1.1".encode("latin-1")]
    lines += [b"%b: %b" % pair for pair in headers if pair[0].lower() not in hidden]
    if upgrade or method != "GET":
        lines.append(b"connection: upgrade" if upgrade else b"connection: close")
    lines.append(b"%b: %b" % (HEADER, hop))
    return b"\r\n".join(lines) + b"\r\n\r\n"


def answer_head(data: bytes) -> tuple[int, Headers, int | None]:
    """Status, headers and length of the body (None: up to the end of the connection). Raises `ValueError`."""
    first, *lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    version, _, rest = first.partition(b" ")
    if version != b"HTTP/1.1":
        raise ValueError("not HTTP")
    headers: Headers = []
    length: int | None = None
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name:
            raise ValueError("not a header")
        name, value = name.lower(), value.strip(b" \t")
        if name == b"transfer-encoding":
            raise ValueError("a transfer coding, which nodes do not use")
        if name == b"content-length":
            length = int(value)
            if length < 0:
                raise ValueError("a length below 0")
        if name not in _ANSWER:
            headers.append((name, value))
    return int(rest[:3]), headers, length
