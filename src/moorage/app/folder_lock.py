"""A folder that only one process may use."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Final

from moorage.wire.errors import UsageError

NAME: Final = "moorage.lock"
WAIT_SECONDS: Final = 3.0
"""How long a start waits for the former process to end."""
_PAUSE: Final = 0.1


class FolderLock:
    """The kernel gives the lock back when the process ends, however that happens. The file stays."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._file = -1

    async def take(self, setting: str) -> None:
        """Wait a little for another process to end. Raises `UsageError`, which names `setting`, if it does
        not, or if the folder cannot be written."""
        folder = self._path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UsageError(f"{setting}: {folder}: {error.strerror}") from None
        end = asyncio.get_running_loop().time() + WAIT_SECONDS
        while not self._taken():
            if asyncio.get_running_loop().time() > end:
                self.give_back()
                raise UsageError(f"{setting}: another service uses {folder}: end it, or name another folder")
            await asyncio.sleep(_PAUSE)

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def give_back(self) -> None:
        """Let another process have the folder. May be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
