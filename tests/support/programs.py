"""Programs that a test starts, with output that it reads line by line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

SECONDS = 120.0
WORKERS: Final = 8
"""The most that `scripts/test.sh` starts."""

_given: Final[set[int]] = set()


def free_port() -> int:
    """A free loopback port, for programs that cannot choose one. The system gives the ports from 32768 on to
    outgoing connections, so one of those might be taken before the program listens. For the same reason each
    port is given once, and each worker of pytest has its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    while True:
        port = 10_000 + worker + WORKERS * secrets.randbelow((32_768 - 10_000) // WORKERS)
        if port in _given:
            continue
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            _given.add(port)
            return port


class Program:
    """A running process; `output` is everything read so far."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.output = ""

    @property
    def returncode(self) -> int | None:
        """The exit code; None while the process runs."""
        return self._process.returncode

    async def line(self) -> str:
        """The next line of output, without its end; "" after the last one."""
        assert self._process.stdout is not None
        line = (await asyncio.wait_for(self._process.stdout.readline(), SECONDS)).decode()
        self.output += line
        return line.rstrip("\n")

    async def line_with(self, text: str) -> str:
        """The next line of output that contains `text`."""
        async with asyncio.timeout(SECONDS):
            while line := await self.line():
                if text in line:
                    return line
        raise AssertionError(f"no line with {text!r}:\n{self.output}")

    def write(self, line: str) -> None:
        """Send one line of input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    async def end(self) -> int:
        """Wait for the end, read the rest of the output, return the exit code."""
        assert self._process.stdout is not None
        async with asyncio.timeout(SECONDS):
            self.output += (await self._process.stdout.read()).decode()
            return await self._process.wait()


@asynccontextmanager
async def running(*command: str, env: dict[str, str], cwd: Path) -> AsyncIterator[Program]:
    """Start a program and kill it at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=STDOUT, env=os.environ | env, cwd=cwd
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
