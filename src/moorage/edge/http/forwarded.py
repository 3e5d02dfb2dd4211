"""The client's address behind proxies, from what trusted proxies say.

Each proxy appends the address that it was connected from, so a list is as trustworthy as the proxies
that wrote its end: it is read from the right, up to the first address that is no trusted proxy. What
stands left of that was written by the client and may say anything.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

MAX_HOPS: Final = 32
"""A list is read no further than this. Real ones are short."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_PORT: Final = r"(?::\w{1,8})?"
_IPV6: Final = r"([0-9A-Fa-f:.]{2,45})"
_NODE: Final = re.compile(rf"\[{_IPV6}\]{_PORT}|([0-9.]{{7,15}}){_PORT}|{_IPV6}", re.ASCII)


class TrustedProxies:
    """Networks whose members may tell us who their clients are."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Raises `ValueError` for what is no network."""
        self._networks = tuple(map(ipaddress.ip_network, networks))

    def client(self, peer: str, headers: Mapping[str, Sequence[str]]) -> str:
        """The address of the client whose request came from `peer`. `headers`: values by lower-case name."""
        if not self._networks:
            return peer
        address = _plain(peer.partition("%")[0])
        if address is None or not self._trusts(address):
            return peer
        found = {
            str(self._walk(address, hops))
            for hops in (_x_forwarded_for(headers), _forwarded(headers))
            if hops is not None
        }
        # A proxy writes one of the two headers and may pass the other one through as the client wrote it.
        # We cannot know which, so two that disagree tell nothing.
        return found.pop() if len(found) == 1 else peer

    def _walk(self, address: _Address, hops: Iterator[_Address | None]) -> _Address:
        """`hops` from the nearest. The first one that is not trusted; before a hop that cannot be read, or
        at the end of the list, the last that was."""
        for _, hop in zip(range(MAX_HOPS), hops, strict=False):
            if hop is None:
                break
            address = hop
            if not self._trusts(address):
                break
        return address

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def _plain(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A listener on `::` sees IPv4 peers this way.
    return getattr(address, "ipv4_mapped", None) or address


def _node(text: str) -> _Address | None:
    """An address, perhaps with a port; IPv6 with a port is in brackets. None for a hidden or broken one."""
    match = _NODE.fullmatch(text)
    return _plain(match[1] or match[2] or match[3]) if match else None


def _entries(values: Sequence[str]) -> Iterator[str]:
    """The members of a list, the last one first. No address holds a comma, so a quoted comma can only be in
    what a client wrote: it cannot hide what a proxy appended."""
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
