"""The entries queued for one client: nearly always one or none. A broadcast touches the queues of all
clients, outside the CPU's caches, so the first entry needs no list."""

from __future__ import annotations

from moorage.wire.engineio import RS


class Entries:
    """Entries in their order. An entry is one or several packets: frames if the client is `framed`, else a
    payload. `size` counts their bytes."""

    __slots__ = ("_first", "_rest", "framed", "size")

    def __init__(self) -> None:
        self._first: bytes | None = None
        self._rest: list[bytes] | None = None
        self.framed = False
        self.size = 0

    @property
    def count(self) -> int:
        """The number of entries."""
        return (self._first is not None) + len(self._rest or ())

    @property
    def last(self) -> bytes:
        """The newest entry (b"" if there is none)."""
        return (self._first or b"") if self._rest is None else self._rest[-1]

    def _more(self, data: bytes) -> None:
        """Add an entry behind the first. The caller counts its bytes."""
        if self._rest is None:
            self._rest = [data]
        else:
            self._rest.append(data)

    def take(self) -> bytes:
        """Empty the queue and return its entries, joined (b"" if there are none)."""
        data, rest = self._first or b"", self._rest
        if rest is not None:
            data = (b"" if self.framed else RS).join((data, *rest))
            self._rest = None
        self._first = None
        self.size = 0
        return data

    def take_all(self) -> list[bytes]:
        """Empty the queue and return its entries, in order."""
        if self._first is None:
            return []
        waiting = [self._first] if self._rest is None else [self._first, *self._rest]
        self._first = self._rest = None
        self.size = 0
        return waiting

    def put(self, waiting: list[bytes]) -> None:
        """Fill the empty queue."""
        if waiting:
            self._first = waiting[0]
            self._rest = waiting[1:] or None
            self.size = sum(map(len, waiting))
