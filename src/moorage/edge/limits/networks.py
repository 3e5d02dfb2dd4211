"""Lists of networks that may connect, or may not."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from moorage.edge.http.forwarded import plain_address

IPV6_BITS: Final = 64
"""Prefix of an IPv6 address that counts as one client: providers give a customer such a network, or more."""


class Networks:
    """A set of networks. A look-up costs the same for ten networks and for ten thousand of the same size."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Raises `ValueError` for text that is not a network."""
        self._starts: dict[tuple[int, int], set[int]] = {}
        for text in networks:
            network = ipaddress.ip_network(text)
            shift = network.max_prefixlen - network.prefixlen
            starts = self._starts.setdefault((network.version, shift), set())
            starts.add(int(network.network_address) >> shift)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __contains__(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        number, version = int(address), address.version
        return any(
            number >> shift in starts for (kind, shift), starts in self._starts.items() if kind == version
        )


class AccessList:
    """`deny` wins over `allow`. An empty `allow` allows everybody."""

    def __init__(self, allow: Iterable[str], deny: Iterable[str]) -> None:
        self._allow, self._deny = Networks(allow), Networks(deny)

    def __bool__(self) -> bool:
        return bool(self._allow) or bool(self._deny)

    def refused_by(self, address: str) -> str:
        """The setting that refuses clients at this address; empty if they may connect. A text that is no
        address is in no list."""
        found = plain_address(address)
        if found is not None and found in self._deny:
            return "server.deny"
        return "server.allow" if self._allow and (found is None or found not in self._allow) else ""


def counted_address(address: str) -> str:
    """The key by which clients of one address are counted: the address, or the network of an IPv6 address."""
    found = plain_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(found), IPV6_BITS), strict=False))
    return address if found is None else str(found)
