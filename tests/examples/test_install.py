"""docs/howto/install.md, followed to the letter in a fresh copy of the working tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.pages import ROOT, commands, lines, program
from tests.support.programs import free_port, running
from tests.support.service import MoorageProcess

PAGE = "docs/howto/install.md"
TUTORIAL = "docs/tutorial/first-chat.md"

pytestmark = [pytest.mark.slow, pytest.mark.node, pytest.mark.repair(25), pytest.mark.timeout(600)]


def newcomer(folder: Path) -> dict[str, str]:
    """The environment of somebody who has just arrived: nothing of this suite, a new enough `python3`."""
    ours = ("MAKE", "MFLAGS", "VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    (folder / "bin").mkdir()
    python = subprocess.check_output([ROOT / "scripts" / "find-python.sh"], text=True).strip()
    (folder / "bin" / "python3").symlink_to(python)
    return env | {"PATH": f"{folder / 'bin'}:{env['PATH']}"}


def copy_of_the_checkout(target: Path) -> None:
    """The files that git has, and new ones that it would add, as they are now."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():  # git also lists files that were deleted and not committed yet
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def shell(text: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run what the page shows, with the shell that its readers have."""
    command = ["bash", "-euc", text]
    return subprocess.run(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )


async def chat(folder: Path, server: str, interpreter: str) -> None:
    """The tutorial's chat in an app's folder, with what was installed there."""
    url = f"http://127.0.0.1:{free_port()}"
    key = "a-key-for-this-test-only-0000000"
    env = {"MOORAGE_CONNECTION_STRING": f"Endpoint={url};AccessKey={key};Version=1.0;"}
    for name in (server, "client.mjs"):
        (folder / name).write_text(program(TUTORIAL, name).replace("http://127.0.0.1:8080", url))
    port = url.rpartition(":")[2]
    dev = ("env/bin/moorage", "dev", "--hub", "chat", "--port", port, "--access-key", key)
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(running(*dev, env=env, cwd=folder))
        await service.line_with("Connection string")
        app = await stack.enter_async_context(running(interpreter, server, env=env, cwd=folder))
        assert await app.line() == "linked"
        client = await stack.enter_async_context(running("node", "client.mjs", env=env, cwd=folder))
        assert (await client.line()).startswith("connected as ")
        client.write("Hello")
        assert await client.line() == "delivered"


SERVICE_ONLY = ("httptools", "prometheus_client", "starlette", "uvicorn", "uvloop")


async def without_the_extra(folder: Path, env: dict[str, str]) -> None:
    """What an installation of the SDK and the command line can do, and what it says of the rest."""
    listed = shell("env/bin/python -m pip list --format=freeze", folder, env).stdout.lower().replace("-", "_")
    assert [name for name in SERVICE_ONLY if re.search(f"^{name}==", listed, re.MULTILINE)] == []
    token = shell("env/bin/moorage token create --hub chat --access-key " + 32 * "k", folder, env)
    assert (token.returncode, token.stdout.count(".")) == (0, 2), token.stdout
    for command in ("serve", "dev"):
        refused = shell(f"env/bin/moorage {command}", folder, env)
        assert refused.returncode == 1
        assert re.fullmatch(
            rf"moorage: the service is not installed \(missing: {', '.join(SERVICE_ONLY)}\); "
            r'install the wheel with the extra "server": pip install "[^"]+\[server\]" .*\n',
            refused.stdout,
        ), refused.stdout
    # Another installation's service: the app server needs no part of it.
    (folder / "server.py").write_text(program(TUTORIAL, "server.py"))
    with MoorageProcess("--hub", "chat") as service:
        connection = {"MOORAGE_CONNECTION_STRING": service.connection_string}
        async with running("env/bin/python", "server.py", env=env | connection, cwd=folder) as app:
            assert await app.line() == "linked", app.output


async def test_a_newcomer_installs_everything_and_a_client_connects(tmp_path: Path) -> None:
    checkout, app, env = tmp_path / "moorage", tmp_path / "app", newcomer(tmp_path)
    copy_of_the_checkout(checkout)
    app.mkdir()
    # What the page warns of: npm says what to do instead.
    folder = shell("npm install --no-audit --no-fund ../moorage/sdk-node", app, env)
    assert folder.returncode != 0
    assert "Run `make dist` in the checkout and install dist/moorage-*.tgz" in folder.stdout
    build, *installations = commands(PAGE)
    built = shell(build, checkout, env)
    assert built.returncode == 0, built.stdout
    for number, text in enumerate(installations):
        done = shell(text, app, env)
        assert done.returncode == 0, f"{text}\n{done.stdout}"
        if number == 0:
            await without_the_extra(app, env)
    await chat(app, "server.py", "env/bin/python")
    await chat(app, "server.mjs", "node")


def test_all_pages_install_the_packages_that_were_built() -> None:
    wrong = [
        f"{page.relative_to(ROOT)}: {line}"
        for pattern in ("*.md", "docs/**/*.md", "examples/*/*.md", "sdk-node/*.md")
        for page in ROOT.glob(pattern)
        for line in page.read_text().splitlines()
        if ("pip install moorage" in line or "npm install moorage" in line) and "Do not run" not in line
    ]
    assert wrong == []
    assert len(lines(PAGE, "../moorage/dist/moorage-")) == 4
