"""What a session needs of its WebSocket (`edge.moorage.link`)."""

from __future__ import annotations

from typing import Protocol

from moorage.wire.errors import PeerError
from moorage.wire.reasons import Reason


class Source(Protocol):
    """The side from which batches come."""

    def pause_reading(self) -> None:
        """Stop reading for now."""

    def resume_reading(self) -> None:
        """Read again, if reading is paused."""

    def broke(self, error: PeerError) -> None:
        """End it and the session, because the app server broke the protocol."""


class Transport(Source, Protocol):
    """The session's current WebSocket."""

    congested: bool
    """True while it takes no data."""

    def heard(self) -> bool:
        """True if anything was received since the last call, even a part of a message."""

    def write(self, *parts: bytes) -> None:
        """Write finished WebSocket frames, perhaps in parts."""

    def close(self, reason: Reason) -> None:
        """Close it. It makes no more calls to the session."""
