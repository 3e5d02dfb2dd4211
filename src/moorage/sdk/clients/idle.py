"""Warns of an app server that gets clients and has no handlers: most likely a worker that only emits."""

from __future__ import annotations

import logging
from typing import Any

_log = logging.getLogger("moorage.sdk")


class IdleCheck:
    """Warns once, at the first client."""

    def __init__(self, sio: Any) -> None:
        self._sio = sio
        self._done = False

    def client(self) -> None:
        """A client has come."""
        if self._done:
            return
        self._done = True
        if not any(self._sio.handlers.values()) and not self._sio.namespace_handlers:
            _log.warning(
                "clients connect to this app server, and it has no handler for them. If it only emits, pass "
                "emit_only=True: then they go to the app servers that have handlers"
            )
