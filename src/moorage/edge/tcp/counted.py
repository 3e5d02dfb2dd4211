"""Limits the TCP connections of each address: a stranger can open very many before one has a session.

A connection changes its protocol and its transport several times, from the PROXY header to a WebSocket. All
of these close the same socket object at the end, so the socket counts itself."""

from __future__ import annotations

import socket
from typing import Final

from moorage.edge.http.forwarded import TrustedProxies
from moorage.edge.limits.networks import counted_address
from moorage.wire.errors import PeerError
from moorage.wire.reasons import TOO_MANY_TCP_CONNECTIONS

SETTING: Final = "server.max_tcp_per_address"


class CountedSocket(socket.socket):
    """The socket of a TCP connection that counts for an address."""

    __slots__ = ("address", "limit")

    def __init__(self, accepted: socket.socket, limit: AddressLimit) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self.limit = limit
        self.address = ""
        """Empty while it counts for none."""

    def close(self) -> None:
        """The end, on asyncio's loop."""
        self.limit.discard(self)
        super().close()

    def detach(self) -> int:
        """The end, on uvloop, which closes the descriptor itself."""
        self.limit.discard(self)
        return super().detach()


class AddressLimit:
    """Counts the TCP connections of a port. Each address may have `most`, proxies as many as they like."""

    def __init__(self, most: int, proxies: TrustedProxies) -> None:
        self._most = most
        self._proxies = proxies
        self._open: dict[str, int] = {}

    def count(self, sock: CountedSocket, peer: str) -> None:
        """The connection comes from `peer`. Raises `PeerError` (too-many-tcp-connections)."""
        if self._proxies.trusts(peer):
            return
        address = counted_address(peer)
        count = self._open.get(address, 0)
        if count >= self._most:
            raise PeerError(TOO_MANY_TCP_CONNECTIONS, f"{SETTING}: {self._most}")
        self._open[address] = count + 1
        sock.address = address

    def discard(self, sock: CountedSocket) -> None:
        """The connection has ended."""
        address, sock.address = sock.address, ""
        if not address:
            return
        left = self._open[address] - 1
        if left:
            self._open[address] = left
        else:
            del self._open[address]
