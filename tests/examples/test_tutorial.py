"""The tutorial's programs, taken from its page and run as it says."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.support.service import MoorageProcess

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial" / "first-chat.md"
SECONDS = 30.0

pytestmark = [pytest.mark.node, pytest.mark.timeout(120)]


def program(name: str) -> str:
    """The block of code that follows a mention of `name`."""
    found = re.search(rf"`{re.escape(name)}`:\n\n```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, name
    return found[1]


@asynccontextmanager
async def running(*command: str, env: dict[str, str], cwd: Path) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=STDOUT, env=os.environ | env, cwd=cwd
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_of(process: Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), SECONDS)).decode().rstrip("\n")


@pytest.mark.parametrize("server", ["server.py", "server.mjs"])
async def test_two_terminals_chat(server: str, service: MoorageProcess, tmp_path: Path) -> None:
    # Where `npm install moorage socket.io socket.io-client` would have put them.
    (tmp_path / "node_modules").mkdir()
    homes = {"moorage": "migrations", "socket.io": "migrations", "socket.io-client": "page"}
    for package, home in homes.items():
        (tmp_path / "node_modules" / package).symlink_to(ROOT / "examples" / home / "node_modules" / package)
    for name in (server, "client.mjs"):
        (tmp_path / name).write_text(program(name).replace("http://127.0.0.1:8080", service.url))
    env = {"MOORAGE_CONNECTION_STRING": service.connection_string, "PYTHONPATH": str(ROOT / "src")}
    interpreter = sys.executable if server.endswith(".py") else "node"
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(running(interpreter, server, env=env, cwd=tmp_path))
        assert await line_of(app) == "linked"
        first, second = [
            await stack.enter_async_context(running("node", "client.mjs", env=env, cwd=tmp_path))
            for _ in range(2)
        ]
        for client in (first, second):
            assert (await line_of(client)).startswith("connected as ")
        assert first.stdin is not None
        first.stdin.write(b"Hello\n")
        assert await line_of(first) == "delivered"
        assert await line_of(second) == "> Hello"
