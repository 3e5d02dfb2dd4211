"""The frames of an app server of the azure dialect, between its links and `AzureServer`: a few are handled
at once, the rest in steps, in the order in which they came, whichever link they came over.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from moorage import logs
from moorage.edge.azure.channel import Tunnel
from moorage.edge.azure.server import AzureServer
from moorage.hub.turns import TURN_SECONDS, TURN_WRITES, Job
from moorage.wire.errors import PeerError

FRAMES: Final = 8
"""Frames in one step."""
MAX_WAITING: Final = 4 * 1024 * 1024
"""Bytes of frames that wait, before no more are read from this app server's links."""


log: Final = logs.get("link")


class Socket(Protocol):
    """The link that a frame came over."""

    tunnel: Tunnel

    def pause_reading(self) -> None:
        """Read no more for now."""

    def resume_reading(self) -> None:
        """Read on, if reading is paused."""

    def not_read(self) -> None:
        """Called a few times a second while reading is paused."""

    def broke(self, error: PeerError) -> None:
        """End it: a frame of it cannot be read."""

    def goodbye(self) -> None:
        """End it: its close frame came after all that has been carried out now."""


class Reader:
    """The incoming side of one app server."""

    def __init__(self, server: AzureServer) -> None:
        self.server = server
        self._waiting: deque[tuple[Socket, bytes | None]] = deque()
        self._size = 0
        self._paused: dict[Socket, None] = {}
        self.count = 0
        """Frames of this read. The link sets it back at the end of each."""
        self._until = 0.0

    def take(self, socket: Socket, data: bytes, now: float) -> None:
        """One frame. Raises `PeerError` (link-bad-frame) where it was read at once and is none."""
        intake = self.server.intake
        if intake.jobs:
            self._wait(socket, data)
            return
        self.count += 1
        if self.count % FRAMES == 0 and self._used_up(now):
            self._wait(socket, data)
            intake.add(self._all())
            return
        job = self.server.received(socket.tunnel, data, now)
        if job is not None:
            intake.add(self._after(job))

    def _used_up(self, now: float) -> bool:
        """Has this read had as much time as one turn has for all?"""
        if self.count == FRAMES:
            self._until = now + TURN_SECONDS
        return now >= self._until or self.server.node.flusher.pending >= TURN_WRITES

    def end_of_read(self) -> None:
        """No more comes in this turn of the loop, and something waits."""
        if self.count < FRAMES:
            self.server.node.turns.begin()

    def close(self, socket: Socket) -> None:
        """The app server closes a link: when all it said before has been carried out."""
        if self.server.intake.busy:
            self._waiting.append((socket, None))
        else:
            socket.goodbye()

    def gone(self, socket: Socket) -> None:
        """The link is gone. What it brought is carried out all the same."""
        self._paused.pop(socket, None)

    def tick(self) -> None:
        """Called a few times a second."""
        for socket in self._paused:
            socket.not_read()

    def _wait(self, socket: Socket, data: bytes) -> None:
        self._waiting.append((socket, data))
        self._size += len(data)
        if self._size > MAX_WAITING and socket not in self._paused:
            self._paused[socket] = None
            socket.pause_reading()

    def _after(self, job: Job[None]) -> Job[None]:
        yield from job
        yield from self._all()

    def _all(self) -> Job[None]:
        """All that waits, and what comes meanwhile."""
        count = 0
        while self._waiting:
            socket, data = self._waiting.popleft()
            if data is None:
                socket.goodbye()
            else:
                yield from self._one(socket, data)
            count += 1
            if count % FRAMES == 0:
                yield False

    def _one(self, socket: Socket, data: bytes) -> Job[None]:
        self._size -= len(data)
        if self._paused and self._size <= MAX_WAITING // 2:
            paused, self._paused = self._paused, {}
            for each in paused:
                each.resume_reading()
        try:
            job = self.server.received(socket.tunnel, data, self.server.node.clock())
        except PeerError as error:
            socket.broke(error)
            return
        except Exception:
            # A defect of ours must not keep the frames behind this one.
            log.error("frame failed", exc_info=True)
            return
        if job is not None:
            yield from job
