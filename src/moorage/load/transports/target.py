"""The server as the transports see it: its addresses, TLS, and what each handshake carries."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from moorage.load import packets
from moorage.load.plan import Plan

_BIND_ADDRESS_NO_PORT: Final = 24
"""IP_BIND_ADDRESS_NO_PORT of Linux: the kernel chooses the port at the connect, when it knows the server's
address, so that the ports of one address suffice for several servers."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Target:
    """Opens TCP connections to the server. Its name is resolved once, because tens of thousands of look-ups
    of one name would be a load of their own."""

    def __init__(self, plan: Plan, addresses: Sequence[tuple[int, Any]]) -> None:
        url = urlsplit(plan.url)
        self.host: Final = url.netloc
        self.name: Final = url.hostname or ""
        self.headers: Final = dict(plan.headers)
        self.ssl: Final = _context(plan.insecure) if url.scheme == "https" else None
        self._plan = plan
        self._addresses = addresses
        self._opened = 0

    def query(self, number: int, **more: str) -> str:
        """The path with the handshake's query for the client of this number."""
        own = {key: packets.numbered(value, number) for key, value in self._plan.query.items()}
        return f"{self._plan.path}?{urlencode({**own, 'EIO': '4', **more})}"

    async def connect(self) -> socket.socket:
        """A connected socket that does not block. Raises `OSError`."""
        family, address = self._addresses[self._opened % len(self._addresses)]
        made = socket.socket(family)
        try:
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            local = self._plan.local_addresses
            if local:
                if sys.platform.startswith("linux"):
                    made.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                made.bind((local[self._opened % len(local)], 0))
            self._opened += 1
            await asyncio.get_running_loop().sock_connect(made, address)
        except BaseException:
            made.close()
            raise
        return made


async def resolve(plan: Plan) -> Target:
    """Look the server's name up. Raises `OSError`."""
    url = urlsplit(plan.url)
    port = url.port or (443 if url.scheme == "https" else 80)
    found = await asyncio.get_running_loop().getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)
    first = found[0][0]
    # All of one family: a name such as localhost may have two, of which the server listens to one.
    addresses = [(family, address) for family, _, _, _, address in found if family == first]
    for family, address in [(family, address) for family, _, _, _, address in found]:
        if await _answers(family, address):
            addresses = [(family, address)]
            break
    return Target(plan, addresses)


def reset_on_close(made: socket.socket) -> None:
    """Make the socket's end a reset: packets under way are lost, as when a network is gone."""
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


async def _answers(family: int, address: Any) -> bool:
    with socket.socket(family) as probe:
        probe.setblocking(False)
        try:
            async with asyncio.timeout(2.0):
                await asyncio.get_running_loop().sock_connect(probe, address)
        except OSError:
            return False
    return True


def _context(insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
