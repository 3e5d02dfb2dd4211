"""When a link must send, so that the service does not take it for lost, and when it is lost itself."""

from __future__ import annotations


class KeepAlive:
    """Counts its own calls instead of reading a clock: if this process was stopped or busy, data that waits
    in the socket is read before the peer counts as silent. Set `sent` and `heard` when bytes leave and
    arrive."""

    def __init__(self) -> None:
        self.sent = self.heard = True
        self._idle = self._silent = 0.0

    def restart(self) -> None:
        """A new connection begins."""
        self.sent = self.heard = True
        self._idle = self._silent = 0.0

    def is_lost(self, step: float, keepalive: float) -> bool:
        """True if the peer was silent for three intervals. `step`: seconds since the last call; `keepalive`:
        the interval, in seconds."""
        self._silent = 0.0 if self.heard else self._silent + step
        self.heard = False
        return self._silent > 3 * keepalive

    def is_due(self, step: float, keepalive: float) -> bool:
        """True if nothing was sent for half an interval, with the arguments of `is_lost`."""
        self._idle = 0.0 if self.sent else self._idle + step
        self.sent = False
        return self._idle >= keepalive / 2

    def acknowledged(self) -> None:
        """A batch without frames was sent between two calls."""
        self._idle = 0.0
