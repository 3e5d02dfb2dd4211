"""Output of log lines: a bounded queue and a thread that writes. A write to standard output blocks while
nothing reads the other end of the pipe. The event loop must not block, so it only appends to the queue. When
the queue is full, lines are dropped and counted."""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Iterator
from typing import Final

QUEUE_BYTES: Final = 8 * 1024 * 1024
"""About 20,000 lines: more than a node writes when it closes all its clients in one turn of the loop."""
GATHER_SECONDS: Final = 0.005
"""Seconds that the writer waits for more lines after the first."""
CHUNK: Final = 64 * 1024


class Output:
    """Writes lines to a file descriptor. All methods may be called from any thread; only `close` waits."""

    def __init__(self, fd: int, *, limit: int = QUEUE_BYTES, shared: bool = False) -> None:
        """`shared`: other processes write to the same pipe, and lines must not be mixed up."""
        self.dropped = 0
        """Number of lines that were not written because the queue was full or the reader was gone."""
        self._fd = fd
        self._limit = limit
        self._shared = shared
        self._lines: deque[bytes] = deque()
        self._size = 0
        """Bytes that are queued or being written."""
        self._idle = False
        """True while the writer waits for `_changed`: a new line must then wake it."""
        self._closed = False
        self._changed = threading.Condition()
        # A daemon thread, because the interpreter must not wait at its end for a blocked write.
        self._thread = threading.Thread(target=self._run, name="moorage-log", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """True if the next line would be dropped. Checked before a line is formatted."""
        return self._size >= self._limit

    def drop(self) -> None:
        """Count a line that was dropped before it was formatted."""
        with self._changed:
            self.dropped += 1

    def put(self, line: str) -> None:
        """Queue a line, or drop and count it."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._changed:
            if self.full or self._closed:
                self.dropped += 1
                return
            self._lines.append(data)
            self._size += len(data)
            if self._idle:
                self._changed.notify_all()

    def close(self, timeout: float) -> bool:
        """Refuse further lines and wait up to `timeout` seconds for the queued ones. Returns True if all were
        written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._size, timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._idle = True
                self._changed.wait_for(lambda: self._lines or self._closed)
                self._idle = False
                # Lines come in bursts. A wake-up for each line would take the interpreter lock from the loop
                # each time.
                self._changed.wait_for(lambda: self._closed, GATHER_SECONDS)
                if not self._lines:
                    return
                lines = list(self._lines)
                self._lines.clear()
            data = b"".join(lines)
            written = all(map(self._write, _whole_lines(lines) if self._shared else (data,)))
            with self._changed:
                if not written:
                    self.dropped += len(lines)
                self._size -= len(data)
                self._changed.notify_all()

    def _write(self, data: bytes) -> bool:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest[:CHUNK]) :]
            except BlockingIOError:
                # Another process that shares the pipe has made it non-blocking.
                select.select((), (self._fd,), ())
            except OSError:
                return False
        return True


def _whole_lines(lines: list[bytes]) -> Iterator[bytes]:
    """Join lines to pieces that the kernel writes to a pipe at once. A longer line is a piece of its own."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > select.PIPE_BUF:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    yield b"".join(piece)
