"""A SIGTERM that waits until something has been done."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from moorage.sdk.errors import UsageError


class DelayedSigterm:
    """At the first SIGTERM `begin` is called, in the main thread. It calls `pass_on` in the end, from any
    thread; then the process gets the signal again, and what handled it before does. So it does with a second
    SIGTERM meanwhile. Raises `UsageError` outside the main thread."""

    def __init__(self, begin: Callable[[], object]) -> None:
        self._begin = begin
        self._former = signal.getsignal(signal.SIGTERM)
        try:
            signal.signal(signal.SIGTERM, self._handle)
        except ValueError:
            raise UsageError("hand_over_on_sigterm() works in the main thread only") from None

    def _handle(self, _number: int, _frame: Any) -> None:
        self.remove()
        self._begin()

    def remove(self) -> None:
        """Do nothing at a SIGTERM. Only in the main thread."""
        if signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, self._former)

    def pass_on(self) -> None:
        """What was to be done is done."""
        os.kill(os.getpid(), signal.SIGTERM)
