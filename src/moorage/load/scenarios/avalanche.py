"""All clients come back at once, because the server has been restarted.

The server has to let the clients in, and to be restarted: by the command of `--restart`, or by somebody else.
"""

from __future__ import annotations

import asyncio
import subprocess

from moorage.load.client import Client
from moorage.load.crowd import clock
from moorage.load.scenarios.base import Stage, wait_for
from moorage.load.scenarios.returning import Returning


class Avalanche(Returning):
    """A restart. The run ends when all clients are back, or when its time is up."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._restarted = False

    async def load(self, since: int) -> None:
        """Restart the server once, and wait."""
        restart = None
        if self.plan.restart:
            restart = await asyncio.create_subprocess_shell(
                self.plan.restart, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
            )
        await wait_for(self._is_over, (self.until - clock()) / 1e9)
        if restart is not None and restart.returncode not in (None, 0):
            assert restart.stderr is not None
            told = (await restart.stderr.read()).decode("utf-8", "replace").strip()
            self.tally.error(f"the restart command ended with {restart.returncode}: {told}")

    def left(self, client: Client, reason: str) -> None:
        """The restart ends connections; that is no error."""
        self._restarted = True

    def _is_over(self) -> bool:
        return (self._restarted and not self.is_away()) or clock() >= self.until
