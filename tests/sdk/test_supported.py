"""What is not there, or in a version that does not fit, is named with the way out of it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import socketio

from tests.sdk.conftest import World
from tests.sdk.threads.world import World as ThreadsWorld
from tests.sdk.threads.world import new_server
from tests.support.service import ROOT, MoorageProcess

USE = """
import asyncio, socketio
from moorage.sdk import use_moorage, use_moorage_sync
where = {"hub": "app", "connection_string": "Endpoint=http://127.0.0.1:1;AccessKey=k;"}
try:
    KIND
except Exception as error:
    print(type(error).__name__, error)
"""
KINDS = {
    "asyncio": "asyncio.run(use_moorage(socketio.AsyncServer(async_mode='asgi'), **where))",
    "threads": "use_moorage_sync(socketio.Server(async_mode='threading'), **where)",
}


def output(code: str, *path: Path, status: int = 0) -> str:
    """What a program prints, with these directories before all others."""
    before = os.pathsep.join([*map(str, path), str(ROOT / "src")])
    ended = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        env={**os.environ, "PYTHONPATH": before},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == status, ended.stderr
    return ended.stdout + ended.stderr


@pytest.mark.repair(29)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", ["5.7.0", "5.17.2", "6.0.0"])
def test_versions_of_python_socketio(tmp_path: Path, kind: str, version: str) -> None:
    about = tmp_path / f"python_socketio-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: python-socketio\nVersion: {version}\n")
    said = output(USE.replace("KIND", KINDS[kind]), tmp_path)
    assert said.startswith(f"UsageError python-socketio {version} is not supported: Moorage needs 5.18 or")


@pytest.mark.repair(29)
def test_versions_of_python() -> None:
    code = "import sys; sys.version_info = (3, 10, 4, 'final', 0); sys.version = '3.10.4 x'; import moorage"
    said = output(code, status=1)
    assert "ImportError: Moorage needs Python 3.11 or newer; this is Python 3.10.4" in said


@pytest.mark.repair(31)
@pytest.mark.parametrize(("module", "package"), [("orjson", "orjson"), ("socketio", "python-socketio")])
def test_a_package_that_is_missing(module: str, package: str) -> None:
    code = f"""
import importlib.abc, importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {module!r} else find(name, *rest)
import moorage.sdk
"""
    assert f"moorage.sdk needs the package {package}, which is not installed: `pip install" in output(
        code, status=1
    )


@pytest.mark.repair(31)
@pytest.mark.parametrize("origins", [None, "*", ["https://a.example"]])
async def test_origins_are_the_services_affair(
    world: World, service: MoorageProcess, caplog: pytest.LogCaptureFixture, origins: object
) -> None:
    threads = ThreadsWorld(service)
    with caplog.at_level(logging.WARNING, "moorage.sdk"):
        await world.app(socketio.AsyncServer(async_mode="asgi", cors_allowed_origins=origins))
        await threads.serve(new_server(cors_allowed_origins=origins))
    await threads.end()
    assert caplog.text.count("setting cors.allow_origins") == (0 if origins is None else 2)
