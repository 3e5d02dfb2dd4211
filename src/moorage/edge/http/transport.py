"""The TCP transport of an HTTP connection, as uvicorn's protocol sees it. It adds four things to the real
transport: two parties can hold reading, the head and the body of an answer leave together, a close does not
destroy the answer on its way, and a client that reads nothing is noticed."""

from __future__ import annotations

import asyncio
from typing import Any, Final

MAX_DROPPED: Final = 16 * 1024 * 1024
"""Bytes that a client may still send after its last answer."""


class HttpTransport:
    """uvicorn reads, writes and closes through this object. `real` is the underlying transport."""

    __slots__ = (
        "_dropped",
        "_head",
        "_held",
        "_paused",
        "_progress_at",
        "_unread",
        "closing",
        "real",
        "waiting_since",
    )

    def __init__(self, real: asyncio.Transport) -> None:
        self.real = real
        self.closing = False
        """True once the last answer has been written. Later bytes are dropped."""
        self.waiting_since: float | None = None
        """Start of the wait for a request's headers or body."""
        self._dropped = 0
        self._head: bytes | None = None
        """Data that waits for the next write."""
        self._paused = False
        self._held = False
        self._unread = 0
        """Bytes that the client had not read at the last call of `stuck`."""
        self._progress_at: float | None = None

    def write(self, data: bytes) -> None:
        """Write, unless the connection is gone. uvicorn writes the head and the body of an answer one after
        the other, and uvloop would send each at once. A client that closes the connection as soon as it has
        seen the status, as python-socketio does for a refused poll, would often miss the body. So the first
        write waits for the second one, until the end of the loop's turn at most."""
        if self.is_closing():
            return
        head, self._head = self._head, None
        if head is not None:
            self.real.writelines((head, data))
        else:
            self._head = data
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Send what waits for another write."""
        head, self._head = self._head, None
        if head is not None and not self.real.is_closing():
            self.real.write(head)

    def is_closing(self) -> bool:
        """True once no further answer can be sent."""
        return self.closing or self.real.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Information about the real transport."""
        return self.real.get_extra_info(name, default)

    # -- reading ------------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        """uvicorn takes no more for now."""
        self._paused = True
        self._apply()

    def resume_reading(self) -> None:
        """uvicorn takes more again."""
        self._paused = False
        self._apply()

    def hold(self, held: bool) -> None:
        """True: stop reading, whatever uvicorn wants. False: leave the decision to uvicorn."""
        if held is not self._held:
            self._held = held
            self._apply()

    def _apply(self) -> None:
        if self.real.is_closing():
            return
        wanted = self.closing or not (self._paused or self._held)
        if wanted and not self.real.is_reading():
            self.real.resume_reading()
        elif not wanted and self.real.is_reading():
            self.real.pause_reading()

    # -- the end ------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close when everything is written. If the client is still sending, a close becomes a reset, and the
        client's kernel then discards the answer (RFC 9112, 9.6). In this case only our side is closed, and
        incoming data is dropped until the client closes too."""
        if self.is_closing():
            return
        self.flush()
        self.closing = True
        sending = self.waiting_since is not None or not self.real.is_reading()
        if sending and self.real.can_write_eof():
            self.real.write_eof()
            self._apply()
        else:
            self.real.close()

    def drop(self, data: bytes) -> None:
        """Drop bytes that arrive after the end."""
        self._dropped += len(data)
        if self._dropped > MAX_DROPPED:
            self.real.close()

    def abort(self) -> None:
        """End the connection at once."""
        self.real.abort()

    def stuck(self, now: float, allowed: float) -> bool:
        """True if the client has neither read a byte nor closed the connection for `allowed` seconds. Call it
        repeatedly while the client should do one or the other."""
        unread = self.real.get_write_buffer_size()
        if self._progress_at is None or unread < self._unread:
            self._progress_at = now
        self._unread = unread
        return now - self._progress_at > allowed

    def caught_up(self) -> None:
        """The client has read what was written."""
        self._progress_at = None
