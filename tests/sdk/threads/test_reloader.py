"""Werkzeug's reloader: of its two processes only the one that serves stays an app server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.sdk.threads.world import SECONDS, World, world_of
from tests.support.service import MoorageProcess

APP = """
import flask, flask_socketio, os
from moorage.sdk import use_moorage_sync
app = flask.Flask(__name__)
socketio = flask_socketio.SocketIO(app, async_mode="threading")
moorage = use_moorage_sync(socketio, hub=os.environ["HUB"], connection_string=os.environ["WHERE"])
print(moorage.server_id, flush=True)
if __name__ == "__main__":
    socketio.run(app, port=0, debug=True, allow_unsafe_werkzeug=True)
"""


@pytest.fixture
async def world(service: MoorageProcess) -> AsyncIterator[World]:
    async with world_of(service) as made:
        yield made


@pytest.mark.parametrize(
    "command", [["{app}"], ["-m", "flask", "--app", "{app}", "run", "--debug", "--port=0"]]
)
async def test_the_process_that_watches_files_leaves_to_the_one_that_serves(
    world: World, tmp_path: Path, command: list[str]
) -> None:
    app = tmp_path / "chat.py"
    app.write_text(APP)
    other = await world.serve()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *(word.format(app=app) for word in command),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HUB": world.hub,
             "WHERE": world.service.connection_string},
    )  # fmt: skip
    said = process.stdout
    assert said is not None

    async def next_linked() -> str:
        while b" " in (line := await asyncio.wait_for(said.readline(), SECONDS)):
            pass
        return line.decode().strip()

    try:
        watches, serves = await next_linked(), await next_linked()
        servers = {server.id for server in await asyncio.to_thread(other.servers)}
        assert watches not in servers
        assert servers == {serves, other.server_id}
    finally:
        os.killpg(process.pid, signal.SIGINT)
        await process.communicate()
