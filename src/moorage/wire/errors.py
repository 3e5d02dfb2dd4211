"""The exception tree, by blame.

    MoorageError
    ├── PeerError     a peer (client, app server, REST caller) sent something we refuse
    └── UsageError    our own caller broke a contract: a defect here or in the embedding code

For any input bytes a decoder returns a value or raises `PeerError`. Any other exception from
`wire` or `engine` is a defect; the fuzz targets check this.
"""

from __future__ import annotations

from moorage.wire.reasons import Reason


class MoorageError(Exception):
    """Base class; never raised directly."""


class PeerError(MoorageError):
    """A fault of a peer. It ends only the peer's request or connection, with `reason`. `detail` describes the
    fault to the sender and never contains a secret."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.number} {reason.name}: {detail or reason.text}")
        self.reason = reason
        self.detail = detail

    @property
    def message(self) -> str:
        """The text for the sender: the reason's text and the detail, if any."""
        return ": ".join(part for part in (self.reason.text, self.detail) if part)


class UsageError(MoorageError):
    """A fault of our caller: wrong configuration or a broken contract inside the service."""
