"""docs/howto/set-up-tls.md: its commands, its configuration and its HAProxy as they stand on the page."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio

from moorage.sdk import use_moorage
from tests.support.certificates import Authority
from tests.support.pages import ROOT, commands
from tests.support.programs import free_port, running
from tests.support.python_client import PATIENCE
from tests.support.service import MoorageProcess

PAGE = "docs/howto/set-up-tls.md"
TEXT = (ROOT / PAGE).read_text()
ADDRESS = "127.0.0.9"
PROXIED = ("--set=server.proxy_protocol=true", "--set=server.trusted_proxies=127.0.0.1")

pytestmark = pytest.mark.timeout(240)


def block(kind: str) -> str:
    """The first block of code of this kind."""
    found = re.search(rf"^```{kind}\n(.*?)^```$", TEXT, re.S | re.M)
    assert found
    return found[1]


def program(name: str) -> str:
    """A program of the system, or the test is skipped."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/bin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, _, start = commands(PAGE)[0].partition("moorage dev")
    subprocess.run(["sh", "-c", make], check=True, cwd=tmp_path, capture_output=True)
    flags = [word.replace("=", f"={tmp_path}/") for word in start.split() if word.startswith("server.tls")]
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with MoorageProcess(*(f"--set={flag}" for flag in flags)) as service:
        assert service.url.startswith("https://")
        shown = re.search(r"`curl (.*?) https.*?` answers `(.*?)`", TEXT)
        assert shown
        command = [program("curl"), "-s", *shown[1].split(), f"{service.url}/healthz"]
        assert subprocess.check_output(command, cwd=tmp_path, text=True) == shown[2]


def test_the_configuration(tmp_path: Path) -> None:
    pair = Authority(tmp_path).make()
    text = block("yaml").replace("/etc/moorage/tls/fullchain.pem", str(pair.cert))
    config = tmp_path / "moorage.yaml"
    config.write_text(
        "keys: {primary: " + "k" * 32 + "}\n" + text.replace("/etc/moorage/tls/privkey.pem", str(pair.key))
    )
    command = [sys.executable, "-m", "moorage", "config", "check", "-c", str(config)]
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "ok" in done.stdout) == (0, True), done.stderr


@pytest.fixture(scope="module", params=["plain", "tls", "workers", "tls-workers"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MoorageProcess]:
    """A service behind haproxy: with and without TLS, with one and with two workers."""
    authority = Authority(tmp_path_factory.mktemp("tls"))
    flags = [*PROXIED]
    flags += authority.make().flags if "tls" in request.param else ()
    flags += ["--workers=2"] if "workers" in request.param else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.file))
        with MoorageProcess(*flags) as running_:
            yield running_


@asynccontextmanager
async def haproxy(folder: Path, service: MoorageProcess) -> AsyncIterator[str]:
    """The page's haproxy in front of the service. Its URL."""
    port = free_port()
    scheme, _, address = service.url.partition("://")
    text = block("text").replace("bind :443", f"bind 127.0.0.1:{port}").replace("10.0.0.11:8443", address)
    config = folder / "haproxy.cfg"
    config.write_text(
        f"defaults\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n{text}"
    )
    async with running(program("haproxy"), "-db", "-f", str(config), env={}, cwd=folder) as master:
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    await asyncio.sleep(0.05)  # between two tries, not instead of them
        yield f"{scheme}://127.0.0.1:{port}"
        master.signal(signal.SIGTERM)
        await master.end()


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
async def test_the_app_sees_the_client_behind_haproxy(
    service: MoorageProcess, tmp_path: Path, transports: list[str]
) -> None:
    seen: list[dict[str, Any]] = []
    sio = socketio.AsyncServer(async_mode="asgi")
    sio.on("connect", lambda _sid, environ: seen.append(environ))
    sio.on("echo", lambda _sid, value: value)
    context = ssl.create_default_context()
    async with haproxy(tmp_path, service) as url:
        # Links come through haproxy, too: a trusted proxy's connection without a header would be refused.
        string = f"Endpoint={url};AccessKey={service.key};Version=1.0;"
        async with await use_moorage(sio, hub="app", connection_string=string):
            for _ in range(4):
                connector = aiohttp.TCPConnector(
                    ssl=context, local_addr=(ADDRESS, 0), force_close=transports == ["polling"]
                )
                async with aiohttp.ClientSession(connector=connector) as session:
                    client = socketio.AsyncClient(http_session=session, reconnection=False)
                    await client.connect(
                        url,
                        {"X-Forwarded-For": "6.6.6.6"},
                        transports=transports,
                        socketio_path="clients/socketio/hubs/app",
                        wait_timeout=PATIENCE,
                    )
                    assert await client.call("echo", "x" * 50_000) == "x" * 50_000
                    # A regular end of a polling client may wait for the next ping.
                    await client.eio.disconnect(abort=True)
    assert [environ["REMOTE_ADDR"] for environ in seen] == [ADDRESS] * 4
    assert {environ["wsgi.url_scheme"] for environ in seen} == {url.partition(":")[0]}
