"""The `pid`s of sockets that may be recovered. They are signed, so that one that a stranger has invented
costs the other nodes no message."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from moorage.auth import AccessKeys

_PURPOSE: Final = b"moorage: pid, version 1"
_LENGTH: Final = 16
"""Characters of the signature: 96 bits."""


class Pids:
    """Makes and checks them. All nodes have the same keys. `new_id` makes ids that cannot be guessed."""

    def __init__(self, keys: AccessKeys, new_id: Callable[[], str]) -> None:
        self._keys = keys
        self._new_id = new_id

    def make(self) -> str:
        """A new `pid`. It begins with the incarnation of this node."""
        name = self._new_id()
        return name + _signature(self._keys.secrets[0], name)

    def is_genuine(self, pid: str) -> bool:
        """True if a node with one of the keys has made it."""
        name, given = pid[:-_LENGTH], pid[-_LENGTH:]
        if not pid.isascii():
            return False
        return any([hmac.compare_digest(given, _signature(each, name)) for each in self._keys.secrets])


def _signature(secret: bytes, name: str) -> str:
    digest = hmac.digest(secret, _PURPOSE + name.encode(), sha256)
    return urlsafe_b64encode(digest)[:_LENGTH].decode()
