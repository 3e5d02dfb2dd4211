"""Answers in parts, to the questions that an app server of the moorage dialect asks of many peers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from moorage.wire.commands import Outcome
from moorage.wire.moorage import v1
from moorage.wire.moorage.listing import Shared, SharedHeaders, pack, sockets_frame

ROWS: Final = 1_000
ROW_BYTES: Final = 128 * 1024
"""Largest number of sockets in one frame of the answer to `Fetch`, and of their bytes. One frame with all
sockets would delay everything behind it."""

AT_ONCE: Final = 50
AT_ONCE_ROOMS: Final = 1_000
"""Up to this number of sockets and of rooms, an answer is queued without waiting for the app server to
take it."""

Maker = Callable[[int, str, Any], v1.FromService]
"""Builds the frame of an answer from its ref, its sender and the answer itself."""


class Asker(Protocol):
    """The app server that asked."""

    def queue(self, frame: v1.FromService) -> None:
        """Send a frame."""

    def stream_ended(self, stream: Stream) -> None:
        """The stream's `Done` is queued."""


class Stream:
    """`hub.ports.Answers` of one question. What the service knows itself is sent before all answers."""

    def __init__(self, asker: Asker, ref: int, make: Maker) -> None:
        self._asker = asker
        self._ref = ref
        self._make = make
        self._answered: set[str] = set()
        self._early: list[v1.FromService] | None = []
        """Answers that came before `begin`; None from then on."""
        self._missing: tuple[str, ...] | None = None

    def begin(self, asked: int) -> None:
        """`asked` peers have been asked, and what the service knows itself is queued."""
        early, self._early = self._early or [], None
        self._asker.queue(v1.Asked(self._ref, asked))
        for frame in early:
            self._asker.queue(frame)
        if self._missing is not None:
            self.finish(self._missing)

    def answer(self, sender: str, payload: object) -> None:
        """`sender` has answered."""
        self._answered.add(sender)
        frame = self._make(self._ref, sender, payload)
        if self._early is None:
            self._asker.queue(frame)
        else:
            self._early.append(frame)

    def finish(self, missing: tuple[str, ...]) -> None:
        """All have answered, or the time is up and the `missing` have not."""
        self._missing = missing
        if self._early is None:
            self._asker.queue(v1.Done(self._ref, len(self._answered.difference(missing)), missing))
            self._asker.stream_ended(self)


def is_little(outcome: Outcome) -> bool:
    """True if the rows of a `Fetch` may be queued without waiting for the app server to take them."""
    return outcome.reached <= AT_ONCE and outcome.rooms <= AT_ONCE_ROOMS


def answer_frames(ref: int, outcome: Outcome, headers: SharedHeaders) -> Iterator[tuple[int, bytes] | None]:
    """The frames with the rows of a `Fetch`, each with its number of rows; None between two steps of work. A
    whole frame of rows that are packed already is one step, because they cost little."""
    for server, rows in outcome.sockets.items():
        packed: list[bytes] = []
        shared: set[Shared | None] = set()
        size = 0
        for some in rows:
            more = [one.packed or b"" for one in some]
            ready = all(more)
            if not ready:
                more = [one.packed or pack(one, headers) for one in some]
            packed += more
            size += sum(map(len, more))
            shared.update([one.shared for one in some])
            if size >= ROW_BYTES or len(packed) >= ROWS:
                yield len(packed), sockets_frame(ref, server, packed, _all(shared))
                packed, shared, size = [], set(), 0
            elif not ready:
                yield None
        if packed:
            yield len(packed), sockets_frame(ref, server, packed, _all(shared))


def _all(some: set[Shared | None]) -> list[Shared]:
    return [each for each in some if each is not None]
