"""A SIGTERM that waits until something has been done."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from moorage.sdk.errors import UsageError


class DelayedSigterm:
    """Calls `begin` at the first SIGTERM, in the main thread. `begin` calls `pass_on` at its end, from any
    thread; then the process gets the signal again, and the former handler runs. A second SIGTERM before that
    goes to the former handler at once. Raises `UsageError` outside the main thread."""

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
        """The work is done: pass the signal on."""
        os.kill(os.getpid(), signal.SIGTERM)
