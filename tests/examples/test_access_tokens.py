"""docs/howto/access-tokens.md: each of its ways to make a token works at a service that asks for one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.link.test_negotiate import ask
from tests.support.rawhttp import fetch
from tests.support.service import ROOT, MoorageProcess

pytestmark = pytest.mark.repair(28)

PAGE = ROOT / "docs" / "howto" / "access-tokens.md"


def block(name: str) -> str:
    """The code under a mark."""
    found = re.search(rf"<!-- run: {name} -->\n```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, name
    return found[1]


@pytest.fixture(scope="module")
def closed() -> Iterator[MoorageProcess]:
    """A service that lets nobody in without a token."""
    with MoorageProcess("--set", "hubs.default.anonymous=false") as service:
        yield service


def environment(service: MoorageProcess) -> dict[str, str]:
    """What the page's commands expect."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "MOORAGE_CONNECTION_STRING": service.connection_string,
        "ENDPOINT": service.url,
        "ACCESS_KEY": service.key,
        "PORT": "0",
    }


def output(service: MoorageProcess, *command: str) -> str:
    """What a command prints."""
    ended = subprocess.run(
        command, env=environment(service), capture_output=True, text=True, timeout=60, check=True
    )
    return ended.stdout.strip()


async def opens(service: MoorageProcess, token: str) -> bool:
    """Is the client let in? There is no app server to take it."""
    target = f"/clients/socketio/hubs/chat/?EIO=4&transport=polling&access_token={token}"
    reply = await fetch(service.url, target)
    assert reply.json()["reason"] == "no-app-server", reply
    return True


async def test_a_function_in_python(closed: MoorageProcess) -> None:
    assert await opens(closed, output(closed, sys.executable, "-c", block("python-function")))


async def test_a_shell(closed: MoorageProcess) -> None:
    assert await opens(closed, output(closed, "sh", "-ec", block("sh")))


async def test_the_command_line(closed: MoorageProcess) -> None:
    command = re.search(r"`moorage (token create [^`]+)`", PAGE.read_text())
    assert command
    given = ("--access-key", closed.key, "--endpoint", closed.url)
    assert await opens(closed, output(closed, sys.executable, "-m", "moorage", *command[1].split(), *given))


async def test_negotiate_in_python(closed: MoorageProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORAGE_CONNECTION_STRING", closed.connection_string)
    made: dict[str, Any] = {}
    exec(block("python"), made)  # noqa: S102
    status, body = await ask(made["app"])
    assert status == 200
    assert await opens(closed, json.loads(body)["token"])


@pytest.mark.node
async def test_negotiate_in_node(closed: MoorageProcess, tmp_path: Path) -> None:
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "moorage").symlink_to(ROOT / "sdk-node")
    program = tmp_path / "web.mjs"
    program.write_text(block("node"))
    with subprocess.Popen(
        ["node", str(program)], env=environment(closed), stdout=subprocess.PIPE, text=True
    ) as web:
        try:
            assert web.stdout
            port = int(web.stdout.readline())
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
                token = json.load(answer)["token"]
        finally:
            web.terminate()
    assert await opens(closed, token)
