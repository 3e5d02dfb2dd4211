"""One worker as its supervisor sees it: the process, its channel, and what is known about it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import moorage
from moorage.app.start import RUN_DIR
from moorage.workers.channel import Begin, Channel, FromWorker, State, ToWorker, from_worker

READY: Final = "ready"
RESTARTING: Final = "restarting"
BACK_OFF: Final = (0.1, 30.0)
"""The shortest and the longest pause before a worker is started again, in seconds."""
STABLE_SECONDS: Final = 30.0
"""A worker that ran for this long is started again after the shortest pause."""

# The package's folder comes last in the path, so that nothing beside it can hide a standard module. What
# modules make stays: collections of garbage while they are imported would take a sixth of the start.
_CODE: Final = (
    "import gc, sys; sys.path.append(sys.argv[2]); gc.disable(); "
    "from moorage.workers.worker import main; gc.enable(); main(int(sys.argv[1]))"
)
_PACKAGE: Final = str(Path(moorage.__file__).parent.parent)


class WorkerProcess:
    """A worker. Its name and its port stay the same, its process may be started again."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = port
        self.state = "starting"
        self.incarnation = ""
        """"" until the process listens on its own port."""
        self.restarts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel[FromWorker] | None = None
        self._pause = BACK_OFF[0]

    @property
    def pid(self) -> int:
        """The process id, or 0."""
        return self._process.pid if self._process is not None else 0

    @property
    def running(self) -> bool:
        """True while there is a process."""
        return self._process is not None and self._process.returncode is None

    @property
    def answers(self) -> bool:
        """True if the process has started and reads what it is sent."""
        return self._channel is not None and bool(self.incarnation) and not self._channel.crowded

    def send(self, message: ToWorker) -> None:
        """Send to the process, if there is one."""
        if self._channel is not None:
            self._channel.send(message)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def run(self, begin: Begin, receive: Callable[[FromWorker], None]) -> int:
        """Start the process, pass on its messages, and return its exit code at its end. Raises `OSError` if
        it cannot be started."""
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as failed, theirs:
            failed.callback(ours.close)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-c",
                _CODE,
                str(theirs.fileno()),
                _PACKAGE,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                # A terminal's Ctrl-C is for the supervisor alone.
                start_new_session=True,
                env={**os.environ, RUN_DIR: begin.run_dir},
            )
            failed.pop_all()
        self._channel = channel = await Channel.over(ours, from_worker)
        self.state = "starting"
        channel.send(begin)
        while (message := await channel.receive()) is not None:
            if isinstance(message, State):
                self.state = message.state
            receive(message)
        # A worker that cannot be understood (after an upgrade of the files below it) ends when this closes.
        channel.close()
        code = await self._process.wait()
        self.incarnation = ""
        self.state = RESTARTING
        return code

    def pause(self, ran: float) -> float:
        """Seconds to wait before the process is started again. `ran`: seconds from its start to its end."""
        shortest, longest = BACK_OFF
        found = shortest if ran >= STABLE_SECONDS else self._pause
        self._pause = min(2 * found, longest)
        return found
