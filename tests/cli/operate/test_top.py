"""`moorage top`, printed and on a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from moorage.cli.admin import AdminApi
from moorage.cli.operate.top import Screen
from tests.cli.operate.stage import Stage, staged
from tests.support.service import ROOT, MoorageProcess
from tests.support.traces import FLAGS, READ_KEY
from tests.support.two_nodes import two_nodes

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def services() -> Iterator[list[MoorageProcess]]:
    with two_nodes(*FLAGS) as nodes:
        yield nodes


async def test_once_for_people_and_for_programs(services: list[MoorageProcess]) -> None:
    async with staged(services) as stage:
        text = (await stage.command("top", "--once", "--sort", "clients")).stdout
        assert text.startswith("2 nodes   2 ready   2 clients ")
        assert {line.split()[0] for line in text.splitlines()[3:]} == {"node-1", "node-2"}
        found = await stage.json("top", "rooms", "--once")
        assert [row["room"] for row in found["rooms"]] == ["lobby"]
        assert len(found["nodes"]) == 2
        many = await stage.command("top", "hubs", "--count", "2", "--interval", "0.2")
        assert many.stdout.count("CONNECTIONS") == 2


async def test_rates(services: list[MoorageProcess]) -> None:
    async with staged(services) as stage:
        running = asyncio.create_task(stage.command("top", "--once", "--json"))
        while not running.done():
            await stage.clients[0].sio.call("echo", 1)
        rates = [row["in_rate"] for row in json.loads((await running).stdout)["nodes"]]
        assert max(rates) > 5


async def test_the_busiest_connections_of_the_cluster(services: list[MoorageProcess]) -> None:
    async with staged(services) as stage:
        loud, quiet = stage.clients
        running = asyncio.create_task(stage.command("top", "connections", "--once", "--json"))
        while not running.done():
            await loud.sio.call("echo", 1)
        first, second = json.loads((await running).stdout)["connections"]
        assert first["rate"] == first["rate_in"] + first["rate_out"] > 10
        assert second["rate"] < 10
        assert {first["node"], second["node"]} == {"node-1", "node-2"}
        (hub,) = (await stage.json("hubs"))["hubs"]
        assert hub["messages_in"] >= first["messages_in"] + second["messages_in"]
        queued = await stage.command("top", "connections", "--once", "--sort", "queued")
        assert "QUEUEDv" in queued.stdout
        assert quiet.sio.connected


async def test_wrong_usage(services: list[MoorageProcess]) -> None:
    stage = Stage(services, [])
    wrong = await stage.command("top", "--sort", "nothing")
    assert (wrong.exit_code, "nodes has node, state, clients" in wrong.output) == (2, True)
    assert (await stage.command("top", "everything")).exit_code == 2


def test_keys() -> None:
    screen = Screen(AdminApi("http://127.0.0.1:1", "key"), "nodes", "name", up=True)
    assert all(screen.press(key) for key in "hsoacnr?")
    assert not any(screen.press(key) for key in ("q", "Q", "\x03", "\x04", ""))


def test_a_terminal(services: list[MoorageProcess]) -> None:
    """Keys change the view; at the end the former screen is back."""
    master, slave = pty.openpty()
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "MOORAGE_ADMIN_URL": services[0].url,
        "MOORAGE_ADMIN_KEY": READ_KEY,
        "TERM": "xterm",
    }
    argv = [sys.executable, "-m", "moorage", "top", "--interval", "0.3"]
    with subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env, close_fds=True) as process:
        os.close(slave)
        seen = b""
        for wanted, key in (
            (rb"moorage top nodes.*node-2", b"h"),
            (rb"moorage top hubs", b"s"),
            (rb"SOCKETSv", b"q"),
        ):
            seen = b""
            while not re.search(wanted, seen, re.DOTALL):
                seen += os.read(master, 65536)
            os.write(master, key)
        while not seen.endswith(b"\x1b[?1049l"):
            seen += os.read(master, 65536)
        assert process.wait(30) == 0
    os.close(master)
