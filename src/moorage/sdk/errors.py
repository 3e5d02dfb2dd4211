"""What the SDK raises, by what the caller can do about it.

MoorageError                     (moorage.wire.errors)
├── UsageError                   a wrong argument or setting: change the code or the configuration
│   ├── NotSerialisable          a value that JSON has no form for; the message names its path
│   └── TooLarge                 one packet above what the service reads
└── LinkError                    the link to the service
    ├── LinkRefused              the service says no and will say so again: fix what the message names
    ├── LinkUnavailable          nobody answers at the endpoint; trying again may help
    ├── LinkClosed               this side has closed it
    ├── QueueFull                more is waiting than `max_queue_bytes`
    ├── SessionLost              the service forgot this app server; what was asked stays unanswered
    ├── RequestFailed            the service did not do what was asked
    └── RequestTimeout           it did not answer in time
"""

from __future__ import annotations

from moorage.wire.errors import MoorageError, UsageError

__all__ = [
    "LinkClosed",
    "LinkError",
    "LinkRefused",
    "LinkUnavailable",
    "MoorageError",
    "NotSerialisable",
    "QueueFull",
    "RequestFailed",
    "RequestTimeout",
    "SessionLost",
    "TooLarge",
    "UsageError",
]


class NotSerialisable(UsageError, TypeError):
    """A value cannot be sent. `path` is its place, such as `args[1].user.born`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class TooLarge(UsageError):
    """One packet is larger than a message that the service reads."""


class LinkError(MoorageError):
    """Base class of errors between this process and the service."""


class LinkRefused(LinkError):
    """The service refused the link, and will refuse it again. `reason` and `number` are those of the
    catalogue of reasons; "" and 0 if the answer did not come from Moorage."""

    def __init__(self, message: str, *, reason: str = "", number: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.number = number


class LinkUnavailable(LinkError, ConnectionError):
    """No service could be reached, or it cannot take the link now."""


class LinkClosed(LinkError):
    """`close()` was called, or the link has ended for good."""


class QueueFull(LinkError):
    """More bytes are waiting for the service than `max_queue_bytes`."""


class SessionLost(LinkError):
    """The link was down for longer than the service's grace time, or the service was restarted. The request
    may or may not have been carried out."""


class RequestFailed(LinkError):
    """The service's `Failed`: `reason` and `number` as in the catalogue of reasons."""

    def __init__(self, number: int, reason: str, message: str) -> None:
        super().__init__(f"{number} {reason}: {message}")
        self.number = number
        self.reason = reason


class RequestTimeout(LinkError, TimeoutError):
    """The service did not answer in time."""
