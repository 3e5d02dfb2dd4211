"""The pages of a journal that are of use: those behind the last hole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from moorage.wire.recovery.journal import Entry, Heard, decode, decode_page


class Pages:
    """Raises `PeerError` for pages that cannot be read."""

    def __init__(self, pages: Sequence[bytes]) -> None:
        self._pages = [decode_page(page) for page in pages]
        start = 0
        for place in range(1, len(self._pages)):
            if self._pages[place].number != self._pages[place - 1].number + 1:
                start = place
        self._pages = self._pages[start:]
        self.is_cut = bool(self._pages) and self._pages[0].number != 1
        """True if something is missing in front."""
        self.last_now = self._pages[-1].now if self._pages else 0.0
        self.heard: dict[str, tuple[int, int]] = {}
        """How far the messages of other nodes were carried out, as far as `entries` has got."""

    def entries(self) -> Iterator[Entry]:
        """All entries, in order."""
        for page in self._pages:
            for raw in page.entries:
                entry = decode(raw)
                if isinstance(entry, Heard):
                    self.heard[entry.node] = entry.all, entry.direct
                else:
                    yield entry
