"""The client's address and scheme behind proxies, from the headers of trusted proxies. Each proxy appends the
address of its peer. So a list is read from the right, up to the first address that is not a trusted proxy.
Everything to the left of that was written by the client and proves nothing."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

MAX_HOPS: Final = 32
"""Maximum number of hops that are read of a list. Real lists are short."""
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_PORT: Final = r"(?::\w{1,8})?"
_IPV6: Final = r"([0-9A-Fa-f:.]{2,45})"
_NODE: Final = re.compile(rf"\[{_IPV6}\]{_PORT}|([0-9.]{{7,15}}){_PORT}|{_IPV6}", re.ASCII)


class TrustedProxies:
    """Networks of proxies whose headers are believed."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Raises `ValueError` for text that is not a network."""
        self._networks = tuple(map(ipaddress.ip_network, networks))

    def __bool__(self) -> bool:
        return bool(self._networks)

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

    def scheme(self, peer: str, headers: Mapping[str, Sequence[str]], own: str) -> str:
        """`http` or `https`: how the client reached the first trusted proxy. `own` is the scheme of the
        request that came from `peer`; it holds if no trusted proxy tells another one."""
        if not self._networks or not self.trusts(peer):
            return own
        protocols = headers.get("x-forwarded-proto")
        found: set[str] = set()
        if protocols is not None:
            # A list has an entry for each proxy that appends one, as that of the addresses does. Many proxies
            # write a single one instead.
            entries = [*islice(_entries(protocols), MAX_HOPS)]
            place = self._stop(_x_forwarded_for(headers) or iter(()))
            found.add(entries[min(place, len(entries) - 1)] if entries else "")
        if "forwarded" in headers:
            elements = [*islice(_entries(headers["forwarded"]), MAX_HOPS)]
            place = self._stop(map(_for, elements))
            if elements and (told := _values(elements[min(place, len(elements) - 1)], "proto")):
                found.add(told[0])
        return _SCHEMES.get(found.pop().lower(), own) if len(found) == 1 else own

    def _stop(self, hops: Iterator[_Address | None]) -> int:
        """The number of nearest hops that are trusted proxies."""
        found = 0
        for _, hop in zip(range(MAX_HOPS), hops, strict=False):
            if hop is None or not self._trusts(hop):
                break
            found += 1
        return found

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
    nodes = _values(element, "for")
    return _node(nodes[0]) if len(nodes) == 1 else None


def _values(element: str, wanted: str) -> list[str]:
    """The values of a parameter, without quotes."""
    pairs = (pair.partition("=") for pair in element.split(";"))
    values = [value.strip(" \t") for name, _, value in pairs if name.strip(" \t").lower() == wanted]
    return [value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value for value in values]
