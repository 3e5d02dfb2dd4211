"""The migration guides: each shows the difference of two apps, which do the same for their clients."""

from __future__ import annotations

import asyncio
import difflib
import os
import re
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.support import programs
from tests.support.programs import free_port
from tests.support.service import MoorageProcess

ROOT = Path(__file__).resolve().parents[2]
APPS = ROOT / "examples" / "migrations"
GUIDES = ROOT / "docs" / "howto"
CLIENT = Path(__file__).with_name("migration_client.mjs")
START_SECONDS = 60.0
HUB_PATH: Final = "/clients/socketio/hubs/chat"

pytestmark = [pytest.mark.node, pytest.mark.timeout(240)]


class Migration(NamedTuple):
    """Folder in examples/migrations, guide, and how an app of it is started."""

    name: str
    guide: str
    suffix: str
    command: tuple[str, ...]
    """`{name}` is the app's file without its suffix, `{port}` where it shall listen."""
    processes: int = 1
    """How many of `before` serve the clients together."""

    def command_for(self, name: str, port: int) -> list[str]:
        """Starts `before` or `after`."""
        return [part.format(name=name, port=port) for part in self.command]


NODE = ("node", "{name}.mjs")
MIGRATIONS = {
    migration.name: migration
    for migration in (
        Migration("socket.io", "migrate-from-socket.io.md", ".mjs", NODE),
        Migration("socket.io-commonjs", "migrate-from-socket.io.md", ".cjs", ("node", "{name}.cjs")),
        Migration("azure", "migrate-from-azure.md", ".mjs", NODE),
        Migration(
            "python-socketio-redis",
            "migrate-from-python-socketio-redis.md",
            ".py",
            (sys.executable, "-m", "uvicorn", "{name}:app", "--port", "{port}", "--log-level", "warning"),
            processes=2,
        ),
        Migration("flask-socketio", "migrate-from-flask-socketio.md", ".py", (sys.executable, "{name}.py")),
    )
}


def difference(migration: Migration) -> str:
    """What a reader has to change, as `diff -U2` says it."""
    files = [APPS / migration.name / f"{name}{migration.suffix}" for name in ("before", "after")]
    before, after = (file.read_text().splitlines() for file in files)
    lines = difflib.unified_diff(before, after, files[0].name, files[1].name, n=2, lineterm="")
    return "\n".join(lines)


@pytest.mark.parametrize("guide", sorted({migration.guide for migration in MIGRATIONS.values()}))
def test_the_guide_shows_exactly_what_changes(guide: str) -> None:
    shown = re.findall(r"```diff\n(--- before.*?)\n```", (GUIDES / guide).read_text(), re.DOTALL)
    assert shown == [difference(one) for one in MIGRATIONS.values() if one.guide == guide]


def test_every_pair_of_apps_has_a_guide() -> None:
    assert {path.parent.name for path in APPS.glob("*/before.*")} == MIGRATIONS.keys()


@asynccontextmanager
async def running(*command: str, cwd: Path, env: dict[str, str]) -> AsyncIterator[Process]:
    """A process until the block ends; the test fails with its output if it ends before."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=PIPE, stderr=STDOUT, stdin=asyncio.subprocess.DEVNULL, env=os.environ | env
    )
    try:
        yield process
        if process.returncode is not None:
            assert process.stdout is not None
            pytest.fail(f"{command} ended early:\n{(await process.stdout.read()).decode()}")
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def listening(port: int, process: Process | programs.Program) -> None:
    """Until somebody takes connections at `port`, or the process has ended."""
    async with asyncio.timeout(START_SECONDS):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)  # between two tries, not instead of them
            else:
                writer.close()
                return


def environment(port: int) -> dict[str, str]:
    """What every app is told."""
    return {"PORT": str(port), "SECRET_KEY": "for this test", "PYTHONPATH": str(ROOT / "src")}


async def start_app(stack: AsyncExitStack, migration: Migration, name: str, env: dict[str, str]) -> str:
    """Starts one process; the address at which it listens."""
    port = free_port()
    command = migration.command_for(name, port)
    env = environment(port) | env
    process = await stack.enter_async_context(running(*command, cwd=APPS / migration.name, env=env))
    await listening(port, process)
    return f"http://127.0.0.1:{port}"


async def start_redis(stack: AsyncExitStack, folder: Path) -> str:
    """A Redis server of our own; its URL."""
    program = shutil.which("redis-server")
    assert program, "redis-server is missing: make setup"
    port = free_port()
    command = (program, "--port", str(port), "--bind", "127.0.0.1", "--save", "")
    process = await stack.enter_async_context(running(*command, cwd=folder, env={}))
    await listening(port, process)
    return f"redis://127.0.0.1:{port}/0"


async def play(url_of_ada: str, url_of_grace: str, path: str) -> None:
    """The scenario, which fails the test with its own words."""
    client = await asyncio.create_subprocess_exec(
        "node", str(CLIENT), url_of_ada, url_of_grace, path, stdout=PIPE, stderr=STDOUT
    )
    output, _ = await client.communicate()
    assert (client.returncode, output.decode()) == (0, "ok\n"), output.decode()


@pytest.mark.parametrize("name", MIGRATIONS)
async def test_before(name: str, tmp_path: Path, service: MoorageProcess) -> None:
    migration = MIGRATIONS[name]
    env, path = {"WebPubSubConnectionString": service.connection_string}, "/socket.io/"
    async with AsyncExitStack() as stack:
        if name == "python-socketio-redis":
            env["REDIS_URL"] = await start_redis(stack, tmp_path)
        urls = [await start_app(stack, migration, "before", env) for _ in range(migration.processes)]
        if name == "azure":
            # Azure's own service is not there; ours takes its package as it is.
            urls, path = [service.url], HUB_PATH
        await play(urls[0], urls[-1], path)


@pytest.mark.parametrize("name", MIGRATIONS)
async def test_after(name: str, service: MoorageProcess) -> None:
    migration = MIGRATIONS[name]
    settings = ("MOORAGE_CONNECTION_STRING", "WebPubSubConnectionString")
    async with AsyncExitStack() as stack:
        for _ in range(migration.processes):
            env = dict.fromkeys(settings, service.connection_string)
            await start_app(stack, migration, "after", env)
        await play(service.url, service.url, HUB_PATH)


@pytest.mark.repair(32)
@pytest.mark.parametrize(
    ("name", "number"),
    [("python-socketio-redis", signal.SIGTERM), ("flask-socketio", signal.SIGINT)],
)
async def test_an_app_that_is_stopped_closes_its_link(name: str, number: signal.Signals) -> None:
    migration, port = MIGRATIONS[name], free_port()
    with MoorageProcess("--set", "links.grace=10m") as service:
        env = environment(port) | {"MOORAGE_CONNECTION_STRING": service.connection_string}
        app = programs.running(*migration.command_for("after", port), env=env, cwd=APPS / name)
        async with app as process:
            # The app opens its port after its link.
            await listening(port, process)
            process.signal(number)
            await asyncio.to_thread(service.wait_record, event="app server left")
            await process.end()


@pytest.mark.repair(32)
def test_the_readme_keeps_the_http_server() -> None:
    """It serves the app's pages, and Socket.IO's client script with them."""
    (diff,) = re.findall(r"```diff\n(.*?new Server.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert [line for line in diff.splitlines() if line.startswith("-")] == []
    assert "new Server(httpServer)" in diff
