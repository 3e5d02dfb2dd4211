"""The private directory of a supervisor and its workers. Each worker may listen on `INCARNATION.sock` and
`INCARNATION.http` there.
Only this user can open the directory, so its sockets need no other check."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path


class RunDir:
    """Made by the supervisor at its start, and removed at its end."""

    def __init__(self) -> None:
        # Not below a state directory of the user: a socket's path has at most 107 bytes.
        self.path = Path(tempfile.mkdtemp(prefix="moorage-"))

    def socket(self, incarnation: str) -> Path:
        """The path of a worker's socket."""
        return self.path / f"{incarnation}.sock"

    def forget(self, incarnation: str) -> None:
        """Remove the sockets of a worker that has ended."""
        for path in (self.socket(incarnation), self.path / f"{incarnation}.http"):
            with contextlib.suppress(OSError):
                path.unlink()

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.path, ignore_errors=True)
