"""Makes a story the same each time: what the service takes from the system's random numbers or from addresses
in memory follows from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any
from unittest.mock import patch
from zlib import crc32

from moorage.hub.hub import AppServer, Connection, Guest


def _hash(self: Any) -> int:
    return crc32(f"{self.id} {getattr(self, 'node', '')}".encode())


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """While it lasts, tokens come from the seed, and sets of clients and app servers have a fixed order. That
    of a set of names still depends on Python's hash seed. It decides only in which order one node writes to
    several, and `MemoryNetwork.ways` does not ask for that."""
    choose = Random(seed)
    with ExitStack() as patches:
        patches.enter_context(patch("secrets.token_urlsafe", lambda size=32: choose.randbytes(size).hex()))
        for kind in (Connection, Guest, AppServer):
            patches.enter_context(patch.object(kind, "__hash__", _hash))
        yield
