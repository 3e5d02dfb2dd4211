"""The header that signs a relayed request. It is the only proof that the request comes from a node of the
cluster, and it carries what the second node cannot see: the client's address and scheme.

The signature covers the receiving node, the method, the target, `Host` and the header's own fields. Its key
is derived from the access key. Each sender numbers its requests. A receiver takes each number once, so a
recorded request cannot be used again. There is no time in the header: the machines' clocks may differ.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from moorage.auth import AccessKeys

HEADER: Final = b"moorage-hop"
WINDOW: Final = 16_384
"""A request may arrive behind this many later ones of its sender."""
MAX_SENDERS: Final = 4_096
"""Maximum number of senders whose numbers are kept. A restarted node is a new sender."""

_PURPOSE: Final = b"moorage: relayed requests, version 1"
_VALUE: Final = re.compile(
    r"1 ([A-Za-z0-9_-]{1,64}) ([0-9]{1,15}) (https?) ([0-9A-Za-z:.%_-]{1,64}) ([0-9a-f]{64})"
)
_NO_ADDRESS: Final = "-"

Headers = Iterable[tuple[bytes, bytes]]


class Request(NamedTuple):
    """The parts of a request that the signature covers. `target` is path and query as the client sent
    them."""

    method: str
    target: str
    host: bytes

    @classmethod
    def of(cls, method: str, target: str, headers: Headers) -> Request:
        """The request with these headers."""
        return cls(method, target, b",".join(value for name, value in headers if name == b"host"))


class Peer(NamedTuple):
    """The client, as the first node saw it. The address is "" if there is none."""

    scheme: str
    address: str


class Hops:
    """Signs and verifies for one node."""

    def __init__(self, keys: AccessKeys, own: str) -> None:
        self._keys = keys
        self._own = own
        self._number = 0
        self._seen: dict[str, _Numbers] = {}

    def sign(self, owner: str, request: Request, peer: Peer) -> bytes:
        """The header's value for a request to the node `owner`."""
        self._number += 1
        fields = f"1 {self._own} {self._number} {peer.scheme} {peer.address or _NO_ADDRESS}"
        signature = _signature(self._keys.secrets[0], owner, request, fields)
        return f"{fields} {signature}".encode("ascii")

    def verify(self, value: bytes, request: Request) -> Peer | None:
        """The client, or None if the header is not genuine, not for this node, or was used before."""
        match = _VALUE.fullmatch(value.decode("latin-1"))
        if match is None:
            return None
        fields, signature = match[0][:-65], match[5]
        found = [
            hmac.compare_digest(signature, _signature(secret, self._own, request, fields))
            for secret in self._keys.secrets
        ]
        if not any(found) or not self._is_new(match[1], int(match[2])):
            return None
        return Peer(match[3], "" if match[4] == _NO_ADDRESS else match[4])

    def _is_new(self, sender: str, number: int) -> bool:
        numbers = self._seen.pop(sender, None) or _Numbers()
        self._seen[sender] = numbers
        if len(self._seen) > MAX_SENDERS:
            del self._seen[next(iter(self._seen))]
        return numbers.take(number)


class _Numbers:
    """The numbers of one sender: a set of bits for the last `WINDOW` numbers."""

    __slots__ = ("_bits", "_highest")

    def __init__(self) -> None:
        self._highest = 0
        self._bits = 0

    def take(self, number: int) -> bool:
        """True if this number is new."""
        ahead = number - self._highest
        if ahead > 0:
            self._bits = (self._bits << min(ahead, WINDOW) | 1) & ((1 << WINDOW) - 1)
            self._highest = number
            return True
        bit = 1 << -ahead if -ahead < WINDOW else 0
        if not bit or self._bits & bit:
            return False
        self._bits |= bit
        return True


def _signature(secret: bytes, owner: str, request: Request, fields: str) -> str:
    key = hmac.digest(secret, _PURPOSE, "sha256")
    head = f"{owner}\n{fields}\n{request.method}\n{request.target}\n".encode("latin-1")
    return hmac.digest(key, head + request.host, "sha256").hex()
