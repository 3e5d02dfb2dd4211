"""Connection state recovery: what an app server asks of the service, and what it gets."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from moorage.sdk.errors import UsageError
from moorage.wire.moorage.v1 import ServiceHello

_DEFAULT_SECONDS: Final = 120.0
_MOST_SECONDS: Final = 2.0**31
_NAMES: Final = ("max_disconnection_duration", "skip_middlewares", "quiet")

_log: Final = logging.getLogger("moorage.sdk")


class Recovery(NamedTuple):
    """As in the app server's hello."""

    milliseconds: int = 0
    """Milliseconds for which clients may be away; 0 for no recovery."""
    quiet: bool = False


OFF: Final = Recovery()


def recovery_of(given: Mapping[str, Any] | None) -> Recovery:
    """The argument `connection_state_recovery`. Raises `UsageError`."""
    if given is None:
        return OFF
    if not isinstance(given, Mapping):
        raise UsageError(f"connection_state_recovery must be a dict, not {type(given).__name__}")
    unknown = [name for name in given if name not in _NAMES]
    if unknown:
        raise UsageError(
            f"connection_state_recovery has no option {unknown[0]!r}; there are {', '.join(_NAMES)}"
        )
    seconds = given.get("max_disconnection_duration", _DEFAULT_SECONDS)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= _MOST_SECONDS:
        raise UsageError(f"max_disconnection_duration must be a number of seconds, not {seconds!r}")
    return Recovery(max(1, int(seconds * 1000)), bool(given.get("quiet", False)))


def warn_if_refused(wanted: Recovery, hello: ServiceHello) -> None:
    """Log a warning if the service does not recover the clients of an app server that asks for it."""
    if wanted.milliseconds and not hello.recovery:
        _log.warning(
            "connection_state_recovery has no effect: the service does not recover the clients of hub %s "
            "(its setting hubs.NAME.recovery_max_disconnection)",
            hello.hub,
        )
