"""The client's address behind proxies, from the headers of trusted proxies. Each proxy appends the address of
its peer. So a list is read from the right, up to the first address that is not a trusted proxy. Everything to
the left of that was written by the client and proves nothing."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

MAX_HOPS: Final = 32
"""Most hops that are read of a list. Real lists are short."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_PORT: Final = r"(?::\w{1,8})?"
_IPV6: Final = r"([0-9A-Fa-f:.]{2,45})"
_NODE: Final = re.compile(rf"\[{_IPV6}\]{_PORT}|([0-9.]{{7,15}}){_PORT}|{_IPV6}", re.ASCII)


class TrustedProxies:
    """Networks of proxies whose headers are believed."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Raises `ValueError` for text that is not a network."""
        self._networks = tuple(map(ipaddress.ip_network, networks))

    def trusts(self, peer: str) -> bool:
        """True if `peer` is the address of a trusted proxy."""
        address = plain_address(peer)
        return address is not None and self._trusts(address)

    def client(self, peer: str, headers: Mapping[str, Sequence[str]]) -> str:
        """The address of the client whose request came from `peer`. `headers`: values by lower-case name."""
        if not self._networks:
            return peer
        address = plain_address(peer)
        if address is None or not self._trusts(address):
            return peer
        found = {
            str(self._walk(address, hops))
            for hops in (_x_forwarded_for(headers), _forwarded(headers))
            if hops is not None
        }
        # A proxy writes one of the two headers, and may pass on the other one as the client wrote it. It is
        # unknown which, so two headers that disagree are both ignored.
        return found.pop() if len(found) == 1 else peer

    def _walk(self, address: _Address, hops: Iterator[_Address | None]) -> _Address:
        """The first hop that is not trusted, from the nearest on. If a hop cannot be read or the list ends,
        the last trusted one."""
        for _, hop in zip(range(MAX_HOPS), hops, strict=False):
            if hop is None:
                break
            address = hop
            if not self._trusts(address):
                break
        return address

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def plain_address(peer: str) -> _Address | None:
    """A peer's address, without the zone of a link-local one; None for what is no address."""
    return _plain(peer.partition("%")[0])


def _plain(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A listener on `::` gets IPv4 peers as IPv6 addresses.
    return getattr(address, "ipv4_mapped", None) or address


def _node(text: str) -> _Address | None:
    """An address, perhaps with a port; IPv6 with a port has brackets. None if it is hidden or broken."""
    match = _NODE.fullmatch(text)
    return _plain(match[1] or match[2] or match[3]) if match else None


def _entries(values: Sequence[str]) -> Iterator[str]:
    """The members of a list, the last one first. No address contains a comma. So only a client can have
    written a quoted comma, and it cannot hide what a proxy has appended."""
    for value in reversed(values):
        rest: str = value
        while rest:
            rest, _, entry = rest.rpartition(",")
            yield entry.strip(" \t")


def _x_forwarded_for(headers: Mapping[str, Sequence[str]]) -> Iterator[_Address | None] | None:
    values = headers.get("x-forwarded-for")
    return None if values is None else map(_node, _entries(values))


def _forwarded(headers: Mapping[str, Sequence[str]]) -> Iterator[_Address | None] | None:
    """RFC 7239: `for=192.0.2.7;proto=https, for="[2001:db8::7]:4711"`."""
    values = headers.get("forwarded")
    return None if values is None else map(_for, _entries(values))


def _for(element: str) -> _Address | None:
    pairs = (pair.partition("=") for pair in element.split(";"))
    nodes = [value.strip(" \t") for name, _, value in pairs if name.strip(" \t").lower() == "for"]
    if len(nodes) != 1:
        return None
    node = nodes[0]
    quoted = len(node) > 1 and node[0] == node[-1] == '"'
    return _node(node[1:-1] if quoted else node)
