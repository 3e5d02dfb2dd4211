"""What a process needs besides a node: the signals that stop it, and the message about a port that it cannot
have. A supervisor has no node, so this file imports none of its parts: that saves 11 MB and 0.3 s."""

from __future__ import annotations

import asyncio
import errno
import signal
from typing import Final

RUN_DIR: Final = "MOORAGE_RUN_DIR"
"""Environment variable with the directory in which the nodes of one machine find each other."""


def cannot_listen(host: str, port: int, error: OSError) -> str:
    """The message for an address that cannot be bound."""
    at = f"cannot listen on {f'[{host}]' if ':' in host else host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"{at}: another program uses that port; choose another one with --port (0 takes a free one)"
    if error.errno == errno.EACCES:
        return f"{at}: that port needs more rights; choose one above 1023 with --port"
    return f"{at}: {error.strerror or error}"


class StopSignals:
    """SIGTERM and SIGINT: the first one sets `first`, another one `second`."""

    def __init__(self) -> None:
        self.first, self.second = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ask)

    def ask(self) -> None:
        """As if a signal had arrived."""
        (self.second if self.first.is_set() else self.first).set()

    def ask_once(self) -> None:
        """Stop, unless it stops already."""
        self.first.set()
