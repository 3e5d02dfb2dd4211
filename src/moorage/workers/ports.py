"""The ports of a supervisor: one that all workers share, and one for each worker. Sockets that do not listen
reserve them until the supervisor ends, so a worker that is started again finds its port free."""

from __future__ import annotations

import contextlib
import socket
from typing import Final
from urllib.parse import urlsplit

from moorage.app.start import cannot_listen
from moorage.wire.errors import UsageError

_PASSIVE: Final = socket.AI_PASSIVE
_ALL: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


class Ports:
    """Raises `UsageError` if a port cannot be had. `first` is the first worker's port, or 0 for free ones."""

    def __init__(self, host: str, port: int, first: int, count: int) -> None:
        self._kept = contextlib.ExitStack()
        with contextlib.ExitStack() as failed:
            failed.callback(self.close)
            self.shared = self._reserve(host, port)
            self.own = tuple(self._reserve(host, first and first + index) for index in range(count))
            failed.pop_all()

    def close(self) -> None:
        """Release the ports."""
        self._kept.close()

    def _reserve(self, host: str, port: int) -> int:
        """Reserve a port at all addresses of `host`, and return its number."""
        try:
            for family, kind, protocol, _, address in socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=_PASSIVE
            ):
                at = (address[0], port, *address[2:])
                if port:
                    # With SO_REUSEPORT this would succeed beside another service of the same user, which
                    # would then get a part of the clients. Only `listen` compares all sockets of the port.
                    with _bound(family, kind, protocol, at, socket.SO_REUSEADDR) as probe:
                        probe.listen()
                both = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
                kept = self._kept.enter_context(_bound(family, kind, protocol, at, *both))
                # It was needed to bind beside old connections in TIME-WAIT. From now on it would let other
                # programs listen here.
                kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                port = kept.getsockname()[1]
        except OSError as error:
            raise UsageError(cannot_listen(host, port, error)) from None
        return port


def advertised(host: str, port: int, configured: str, *, tls: bool = False) -> str:
    """The URL of a worker's own port. If the setting `cluster.advertise` is `configured`, its port is
    replaced. For a listener on all addresses it is the address from which this machine reaches others."""
    scheme, name = "https" if tls else "http", host
    if configured:
        url = urlsplit(configured)
        scheme, name = url.scheme, url.hostname or host
    elif host in _ALL:
        name = _outgoing(_ALL[host])
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}"


def _outgoing(loopback: str) -> str:
    with socket.socket(socket.AF_INET6 if ":" in loopback else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # No packet leaves: this only selects a route. The addresses are reserved for documentation.
            probe.connect(("2001:db8::1" if ":" in loopback else "192.0.2.1", 9))
        except OSError:
            return loopback
        return str(probe.getsockname()[0])


def _bound(
    family: int, kind: int, protocol: int, address: tuple[object, ...], *options: int
) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        for option in options:
            made.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made
