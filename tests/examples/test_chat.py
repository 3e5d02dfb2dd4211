"""The sample chats as `make run` starts them: Moorage, an app server, a page."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ("python", "flask", "node", "azure")
DRIVER = Path(__file__).with_name("chat_page.mjs")
NEEDED = ("examples/page", "examples/chat-node", "examples/chat-azure", "tests/node")

pytestmark = [pytest.mark.node, pytest.mark.timeout(240)]


class Running(NamedTuple):
    """What `scripts/run.py` started, with the addresses that it printed."""

    process: Process
    endpoint: str
    page: str
    lines: list[str]
    """All that it printed until everything was up."""


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[Running]:
    """`make run` on free ports until the block ends."""
    for name in NEEDED:
        assert (ROOT / name / "node_modules/.package-lock.json").is_file(), f"{name}: make setup"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "scripts/run.py", "--port=0", "--page-port=0", *arguments,
        cwd=ROOT, stdout=PIPE, stderr=STDOUT, env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    try:
        yield await printed_addresses(process)
    finally:
        if process.returncode is None:
            process.terminate()
        # Reads the rest as well, so that no pipe is left behind.
        await process.communicate()


async def printed_addresses(process: Process) -> Running:
    """Reads until the page's address, which comes last."""
    assert process.stdout is not None
    endpoint, lines = "", list[str]()
    while raw := await process.stdout.readline():
        lines.append(raw.decode().rstrip())
        words = lines[-1].split()
        if words[:4] == ["Moorage", "is", "ready", "at"]:
            endpoint = words[4].rstrip(".")
        elif words[:1] == ["Open"] and words[1].startswith("http"):
            return Running(process, endpoint, words[1], lines)
    pytest.fail("make run ended early:\n" + "\n".join(lines))


async def get(url: str) -> tuple[int, bytes]:
    """Status and body."""

    def fetch() -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    return await asyncio.to_thread(fetch)


def listens(url: str) -> bool:
    """Whether anybody takes connections at the address of `url`."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port or 80), timeout=30).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest_asyncio.fixture(params=EXAMPLES, scope="module", loop_scope="module")
async def example(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    async with running(f"--example={request.param}") as run:
        yield run


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="module")
async def test_a_page_and_a_node_client_chat_through_moorage(example: Running) -> None:
    driver = await asyncio.create_subprocess_exec(
        "node", str(DRIVER), example.page, example.endpoint, stdout=PIPE, stderr=STDOUT
    )
    output, _ = await driver.communicate()
    assert (driver.returncode, output.decode().split()[-1:]) == (0, ["ok"]), output.decode()


@pytest.mark.asyncio(loop_scope="module")
async def test_the_app_server_serves_the_page_and_invitations_only(example: Running) -> None:
    status, body = await get(example.page)
    assert status == 200
    assert b"<title>Moorage chat</title>" in body

    status, body = await get(f"{example.page}negotiate")
    invitation = json.loads(body)
    assert status == 200
    assert {"endpoint", "path"} <= invitation.keys() <= {"endpoint", "path", "token"}
    assert invitation["endpoint"] == example.endpoint
    assert invitation["path"] == "/clients/socketio/hubs/chat"

    for path in ("index.mjs", "../index.mjs", "%2e%2e/index.mjs", "nothing"):
        assert (await get(example.page + path))[0] == 404, path


@pytest.mark.repair(32)
@pytest.mark.parametrize("name", ["python", "node"])
async def test_an_app_server_that_is_stopped_closes_its_link(name: str) -> None:
    async with running(f"--example={name}") as run:
        run.process.terminate()
        output, _ = await run.process.communicate()
        assert "app server left" in output.decode()


@pytest.mark.repair(31)
async def test_it_says_what_it_does_and_ends_with_the_one_address_to_open() -> None:
    async with running() as run:
        started = [index for index, line in enumerate(run.lines) if "Starting" in line]
        assert len(started) == 2, "Moorage, then the chat"
        assert run.lines[-1].split()[:2] == ["Open", run.page]
        assert [line for line in run.lines if "AccessKey" in line or "/healthz" in line] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_everything(number: signal.Signals) -> None:
    async with running() as run:
        assert listens(run.endpoint)
        assert listens(run.page)
        run.process.send_signal(number)
        await run.process.communicate()
        assert run.process.returncode == 0
        assert not listens(run.endpoint)
        assert not listens(run.page)


async def test_a_taken_port_is_said_and_another_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        async with running(f"--port={taken}") as run:
            assert urlsplit(run.endpoint).port != taken
            assert any(f"Port {taken} is taken" in line for line in run.lines)
            assert (await get(f"{run.endpoint}/healthz"))[0] == 200
