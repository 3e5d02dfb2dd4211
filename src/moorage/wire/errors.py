"""The exception tree, by blame.

    MoorageError
    ├── PeerError     a peer (client, app server, REST caller) sent something we refuse
    └── UsageError    our own caller broke a contract: a defect here or in the embedding code

Whatever bytes arrive, a decoder ends with a value or `PeerError`; any other exception out of
`wire` or `engine` is a defect (the fuzz targets hold us to it).
"""

from __future__ import annotations

from moorage.wire.reasons import Reason


class MoorageError(Exception):
    """Base of all; never raised itself."""


class PeerError(MoorageError):
    """A peer's fault. Ends that one request, packet or connection with `reason`, nobody else's.

    `detail` is text for the sender (what was wrong, never a secret of ours).
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.number} {reason.name}: {detail or reason.text}")
        self.reason = reason
        self.detail = detail

    @property
    def message(self) -> str:
        """What the sender is told: the reason's text and, where there is one, the detail."""
        return ": ".join(part for part in (self.reason.text, self.detail) if part)


class UsageError(MoorageError):
    """Our caller's fault: wrong configuration or a broken contract inside the service."""
