"""Passes TCP connections between the nodes of one machine. The descriptor and the bytes read so far go to the
owner over a Unix socket, and the owner goes on as if it had accepted the connection itself. Nothing stays in
between, and the client notices nothing.

Each node has the datagram socket `INCARNATION.sock` in the directory of its supervisor. One datagram is one
connection."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from moorage import logs

MAX_DATA: Final = 384 * 1024
"""Maximum bytes that are passed with a connection: one read, and what was read of its request before."""
TRIES: Final = 100
RETRY_SECONDS: Final = 0.001
"""A node's queue is short: ten datagrams by default."""
MAX_TURN: Final = 64
"""Maximum number of connections that are taken in one turn of the event loop."""

log: Final = logs.get("relay")


class Passing:
    """One node's end. `take` gets each connection that arrives, and the bytes that belong to it."""

    def __init__(self, folder: Path, own: str, take: Callable[[socket.socket, bytes], object]) -> None:
        self._folder = folder
        self._path = folder / f"{own}.sock"
        self._take = take
        self._socket: socket.socket | None = None
        self.passed = 0
        """Number of connections given to other nodes."""

    def start(self) -> None:
        """Take connections from now on. Raises `OSError`."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MAX_DATA)
            made.bind(str(self._path))
            os.chmod(self._path, 0o600)
        except OSError:
            made.close()
            raise
        self._socket = made
        asyncio.get_running_loop().add_reader(made, self._readable, made)

    def close(self) -> None:
        """Pass and take nothing more."""
        made, self._socket = self._socket, None
        if made is not None:
            asyncio.get_running_loop().remove_reader(made)
            made.close()
            self._path.unlink(missing_ok=True)

    def reaches(self, node: str) -> bool:
        """True if the node is on this machine."""
        return os.sep not in node and (self._folder / f"{node}.sock").exists()

    async def give(self, node: str, descriptor: int, data: bytes) -> bool:
        """Pass a connection. False if the node is not on this machine, or takes none."""
        if len(data) > MAX_DATA or os.sep in node:
            return False
        path = str(self._folder / f"{node}.sock")
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        for _ in range(TRIES):
            if self._socket is None:
                return False
            try:
                # `socket.send_fds` ignores the address.
                self._socket.sendmsg([data], rights, 0, path)
            except BlockingIOError:
                await asyncio.sleep(RETRY_SECONDS)
            except OSError:
                return False
            else:
                self.passed += 1
                return True
        return False

    def _readable(self, made: socket.socket) -> None:
        for _ in range(MAX_TURN):
            try:
                data, descriptors, flags, _ = socket.recv_fds(made, MAX_DATA, 1)
            except BlockingIOError:
                return
            except OSError as error:
                log.warning("passed connection not accepted", error=error.strerror)
                return
            if len(descriptors) == 1 and not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                self._take(socket.socket(fileno=descriptors[0]), data)
            else:
                for descriptor in descriptors:
                    os.close(descriptor)
