"""The frames of an app server of the moorage dialect, between its link and its `Dispatcher`. A few are
handled at once, the rest in steps, in order.

A batch is acknowledged when its last frame has been carried out. So credit slows down an app server that asks
for too much. An app server that sends more than its credit allows is not read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from moorage import logs
from moorage.edge.moorage.coverage import Coverage
from moorage.edge.moorage.frames.dispatcher import Dispatcher
from moorage.edge.moorage.server import MoorageServer
from moorage.hub.turns import TURN_SECONDS, TURN_WRITES, Intake, Job
from moorage.wire.errors import PeerError
from moorage.wire.moorage import raw_batch, v1

LARGE: Final = 128 * 1024
"""Size in bytes above which the frames of a batch are decoded one by one."""
FRAMES: Final = 8
"""Frames in one step."""

log: Final = logs.get("link")


class Reader:
    """The incoming side of one session. It outlives the session's links."""

    def __init__(self, server: MoorageServer, dispatcher: Dispatcher) -> None:
        self._server = server
        self._dispatcher = dispatcher
        self.intake = Intake(server.node.turns)
        dispatcher.proceed = self.intake.wake
        server.busy = lambda: self.intake.busy
        if dispatcher.coverage is not None:
            dispatcher.coverage.proceed = self.intake.wake
            dispatcher.coverage.settle = self._settle
        self._most = server.inc.window + server.settings.max_frame
        """Maximum unacknowledged bytes of an app server that respects its credit."""
        self.count = 0
        """Number of frames in the current read. The link resets it after each read."""
        self._until = 0.0

    def take(self, number: int, size: int, frames: Sequence[v1.FromApp]) -> None:
        """Handle batch `number`, which has just arrived, while nothing waits."""
        handle = self._dispatcher.handle
        for place, frame in enumerate(frames):
            job = handle(frame)
            self.count += 1
            if job is not None or (self.count % FRAMES == 0 and self._used_up()):
                rest = frames[place + 1 :]
                self.intake.add(self._rest(number, size, rest, job, place + 1))
                if self._held is not None and any(isinstance(each, v1.Cover) and each.home for each in rest):
                    self._held.unmarked()
                return
        self._take(number, size)

    def _take(self, number: int, size: int) -> None:
        """A batch is carried out. It counts as taken once the journal holds that, so that the heir of this
        node would know it."""
        server, keeping = self._server, self._server.node.keeping
        if keeping is None:
            server.inc.take(number, size)
        else:
            keeping.taken(server.hub, server.session, number, partial(server.inc.take, number, size))

    def _progress(self, number: int, place: int) -> None:
        keeping = self._server.node.keeping
        if keeping is not None:
            keeping.progress(self._server.hub, self._server.session, number, place)

    def wait(self, number: int, size: int, frames: msgspec.Raw) -> None:
        """Put a batch behind what waits, or a large batch into steps of its own."""
        if self._held is not None and raw_batch.makes_home(frames):
            self._held.unmarked()
        self.intake.add(self._later(number, size, frames))
        transport = self._server.transport
        if transport is not None and self._server.inc.untaken > self._most:
            transport.pause_reading()

    @property
    def _held(self) -> Coverage | None:
        """The coverage of a session that waits for the mark of its app server's home."""
        coverage = self._dispatcher.coverage
        return coverage if coverage is not None and coverage.held else None

    def _used_up(self) -> bool:
        """True if this read has used up the time of one turn."""
        node = self._server.node
        if self.count == FRAMES:
            self._until = node.clock() + TURN_SECONDS
            return node.flusher.pending >= TURN_WRITES
        return node.clock() >= self._until or node.flusher.pending >= TURN_WRITES

    def end_of_read(self) -> None:
        """The read is over, and frames wait."""
        if self.count < FRAMES:
            self._server.node.turns.begin()

    def farewell(self) -> None:
        """The app server has left for good. The end waits for the frames before it."""
        if self.intake.busy:
            self.intake.add(self._leaving())
        else:
            self._server.farewell()

    def _leaving(self) -> Job[None]:
        yield False
        self._server.farewell()

    def _settle(self, call: Callable[[], object]) -> None:
        if self.intake.busy:
            self.intake.add(_calling(call))
        else:
            call()

    def tick(self, now: float) -> None:
        """Time passes."""
        if self._dispatcher.coverage is not None:
            self._dispatcher.coverage.tick(now)
        # What waits for something that does not come has a deadline.
        self.intake.wake()

    def end(self) -> None:
        """The session is over."""
        self.intake.clear()
        self._dispatcher.end()

    def _rest(
        self, number: int, size: int, frames: Sequence[v1.FromApp], job: Job[None] | None, done: int
    ) -> Job[None]:
        """The rest of a batch, after `job`. `done`: the number of its frames that have begun."""
        self._progress(number, done)
        if job is not None:
            yield from job
        for place, frame in enumerate(frames, done + 1):
            yield from self._dispatcher.handle(frame) or ()
            if place % FRAMES == 0:
                self._progress(number, place)
                yield False
        self._done(number, size)

    def _later(self, number: int, size: int, raw: msgspec.Raw) -> Job[None]:
        try:
            frames = raw_batch.split_frames(raw)
            self._server.metrics.link_frames_received += len(frames)
            for place, frame in enumerate(frames, 1):
                yield from self._dispatcher.handle(raw_batch.decode_frame_from_app(frame)) or ()
                if place % FRAMES == 0:
                    self._progress(number, place)
                    yield False
        except PeerError as error:
            self._broke(error)
            return
        self._done(number, size)

    def _broke(self, error: PeerError) -> None:
        transport = self._server.transport
        if transport is not None:
            transport.broke(error)
        else:
            self._server.give_up("app server broke the protocol")

    def _done(self, number: int, size: int) -> None:
        server = self._server
        if server.over:
            return
        self._take(number, size)
        if server.transport is not None and server.inc.untaken <= self._most:
            server.transport.resume_reading()
        server.wake()


def _calling(call: Callable[[], object]) -> Job[None]:
    call()
    yield False
