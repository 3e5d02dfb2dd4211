"""The PROXY protocol, version 2: a binary header in front of a TCP connection's data, in which a load
balancer names the client (haproxy's proxy-protocol.txt, section 2.2).

    12 bytes  signature
     1 byte   version (2) and command (0 LOCAL: the balancer's own connection, 1 PROXY)
     1 byte   address family (1 IPv4, 2 IPv6) and transport (1 stream)
     2 bytes  length of the rest
              source address, destination address, source port, destination port, further fields
"""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple

from moorage.wire.errors import PeerError
from moorage.wire.reasons import BAD_PROXY_HEADER

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
VERSION_1: Final = b"PROXY "
HEAD: Final = 16
"""Length of the fixed part."""
MAX_REST: Final = 4096
"""Most bytes behind the fixed part. Real headers have less than 500, with the fields about TLS."""

_LOCAL: Final = 0x20
OWN: Final = SIGNATURE + bytes((_LOCAL, 0, 0, 0))
"""The header of a connection that serves no client, such as a health check."""
_PROXY: Final = 0x21
_TCP4: Final = 0x11
_TCP6: Final = 0x21
_ADDRESS: Final = {_TCP4: 4, _TCP6: 16}


class Source(NamedTuple):
    """The client's address."""

    address: str
    port: int


class ProxyHeader:
    """Reads one header from a stream. Feed at most `wanted` bytes, until `wanted` is 0: what follows the
    header belongs to another protocol."""

    def __init__(self) -> None:
        self._data = b""
        self._size = HEAD
        self.source: Source | None = None
        """The client once the header is complete; None if the header names none."""

    @property
    def wanted(self) -> int:
        """Number of bytes to feed next; 0 at the end."""
        return self._size - len(self._data)

    def feed(self, data: bytes) -> None:
        """More of the header. Raises `PeerError` (bad-proxy-header)."""
        self._data += data
        if not SIGNATURE.startswith(self._data[: len(SIGNATURE)]):
            raise PeerError(BAD_PROXY_HEADER, _instead(self._data))
        if len(self._data) == HEAD:
            rest = int.from_bytes(self._data[14:], "big")
            if self._data[12] not in (_LOCAL, _PROXY):
                raise PeerError(BAD_PROXY_HEADER, f"unknown version or command 0x{self._data[12]:02x}")
            if rest > MAX_REST:
                raise PeerError(BAD_PROXY_HEADER, f"longer than {MAX_REST} bytes")
            self._size += rest
        if not self.wanted:
            self.source = self._source()

    def _source(self) -> Source | None:
        command, kind = self._data[12:14]
        size = _ADDRESS.get(kind)
        if command == _LOCAL or size is None:
            # A receiver uses the addresses of the connection then.
            return None
        rest = self._data[HEAD:]
        if len(rest) < 2 * size + 4:
            raise PeerError(BAD_PROXY_HEADER, "too short for its addresses")
        address = ipaddress.ip_address(rest[:size])
        return Source(str(address), int.from_bytes(rest[2 * size : 2 * size + 2], "big"))


def proxy_header(source: Source) -> bytes:
    """A header that names the client of a TCP connection. The destination is left unspecified."""
    address = ipaddress.ip_address(source.address).packed
    kind = _TCP4 if len(address) == 4 else _TCP6
    rest = address + bytes(len(address)) + source.port.to_bytes(2, "big") + bytes(2)
    return SIGNATURE + bytes((_PROXY, kind)) + len(rest).to_bytes(2, "big") + rest


def _instead(data: bytes) -> str:
    if data.startswith(VERSION_1[: len(data)]):
        return "version 1 (haproxy: `send-proxy-v2` instead of `send-proxy`)"
    return "the connection does not begin with one"
