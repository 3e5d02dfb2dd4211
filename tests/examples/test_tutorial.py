"""The tutorial's programs and commands, taken from its page and run in its order."""

from __future__ import annotations

import shlex
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.pages import ROOT, lines, program
from tests.support.programs import Program, free_port, running
from tests.support.service import MoorageProcess

PAGE = "docs/tutorial/first-chat.md"
ADDRESS = "http://127.0.0.1:8080"
SERVERS = {"server.py": sys.executable, "server.mjs": "node"}

pytestmark = [pytest.mark.node, pytest.mark.timeout(240)]


def folder_of_the_app(folder: Path, url: str) -> None:
    """The page's programs for a service at `url`, and the packages that the page has npm install."""
    (folder / "node_modules").mkdir()
    homes = {"moorage": "migrations", "socket.io": "migrations", "socket.io-client": "page"}
    for package, home in homes.items():
        (folder / "node_modules" / package).symlink_to(ROOT / "examples" / home / "node_modules" / package)
    for name in (*SERVERS, "client.mjs"):
        (folder / name).write_text(program(PAGE, name).replace(ADDRESS, url))


@pytest.mark.parametrize("server", SERVERS)
async def test_two_terminals_chat(server: str, service: MoorageProcess, tmp_path: Path) -> None:
    folder_of_the_app(tmp_path, service.url)
    env = {"MOORAGE_CONNECTION_STRING": service.connection_string, "PYTHONPATH": str(ROOT / "src")}
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(running(SERVERS[server], server, env=env, cwd=tmp_path))
        assert await app.line() == "linked"
        first, second = [
            await stack.enter_async_context(running("node", "client.mjs", env=env, cwd=tmp_path))
            for _ in range(2)
        ]
        for client in (first, second):
            assert (await client.line()).startswith("connected as ")
        first.write("Hello")
        assert await first.line() == "delivered"
        assert await second.line() == "> Hello"


def moorage(line: str, *flags: str) -> list[str]:
    """A command of the page, with the service that belongs to these tests."""
    words = shlex.split(line)
    assert words[0] == ".venv/bin/moorage"
    return [sys.executable, "-m", "moorage", *words[1:], *flags]


@pytest.mark.repair(32)
@pytest.mark.parametrize("server", SERVERS)
async def test_ctrl_c_and_tokens(server: str, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    folder_of_the_app(tmp_path, url)
    (export,) = lines(PAGE, "export MOORAGE_CONNECTION_STRING")
    connection_string = shlex.split(export)[1].partition("=")[2].replace(ADDRESS, url)
    env = {"MOORAGE_CONNECTION_STRING": connection_string, "PYTHONPATH": str(ROOT / "src")}
    first_start, second_start = lines(PAGE, "moorage dev")
    (token_create,) = lines(PAGE, "moorage token create")
    # The grace time is far above this test's patience: a client that has to wait for it fails the test.
    flags = ("--port", str(port), "--set", "links.grace=10m")
    async with AsyncExitStack() as stack:

        async def start(*words: str, **more: str) -> Program:
            return await stack.enter_async_context(running(*words, env={**env, **more}, cwd=tmp_path))

        service = await start(*moorage(first_start, *flags))
        await service.line_with("Connection string")
        app = await start(SERVERS[server], server)
        assert await app.line() == "linked"
        client = await start("node", "client.mjs")
        await client.line_with("connected as")

        app.signal(signal.SIGINT)
        assert (await app.end(), app.output) == (0, "linked\n")
        # `transport error` if the client's upgrade to WebSocket is not finished yet, else `transport close`.
        await client.line_with("disconnected: transport")
        await client.line_with("no-app-server")
        app = await start(SERVERS[server], server)
        await client.line_with("connected as")

        service.signal(signal.SIGINT)
        await service.line_with("draining")
        service.signal(signal.SIGINT)
        await service.end()
        service = await start(*moorage(second_start, *flags))
        await service.line_with("link opened")
        await client.line_with("token-missing")
        # A token names the address, which the page leaves at its default.
        maker = await start(*moorage(token_create, "--endpoint", url))
        token = await maker.line()
        assert lines(PAGE, "TOKEN=") == ["TOKEN='<the token>' node client.mjs"]
        ada = await start("node", "client.mjs", TOKEN=token)
        assert (await ada.line()).startswith("connected as ")
