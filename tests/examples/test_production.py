"""docs/howto/run-in-production.md: its configuration and its nginx as they stand on the page; its unit."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio
import yaml

from moorage.sdk import use_moorage
from tests.support.pages import ROOT
from tests.support.programs import free_port, running
from tests.support.python_client import PATIENCE, leave
from tests.support.service import MoorageProcess

PAGE = (ROOT / "docs/howto/run-in-production.md").read_text()
ENV = os.environ | {"PYTHONPATH": str(ROOT / "src")}
ADDRESS = "127.0.0.2"
SECONDS = 60.0

pytestmark = [pytest.mark.repair(33), pytest.mark.timeout(240)]


def block(kind: str, having: str) -> str:
    """The only block of code of this kind with these words in it."""
    found = [text for text in re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.S | re.M) if having in text]
    assert len(found) == 1, (kind, having)
    return str(found[0])


def program(name: str) -> str:
    """A program of the system, or the test is skipped."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/bin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """`config init` in the way of the page, changed to the page's settings."""
    path = tmp_path / "moorage.yaml"
    command = [sys.executable, "-m", "moorage", "config", "init", "-o", str(path)]
    subprocess.run(command, check=True, env=ENV, capture_output=True)
    keys = yaml.safe_load(path.read_text())["keys"]
    path.write_text(yaml.safe_dump({"keys": keys}) + block("yaml", "public_endpoint"))
    return path


def test_the_configuration_is_accepted_without_a_warning(config: Path) -> None:
    command = [sys.executable, "-m", "moorage", "config", "check", "-c", str(config)]
    done = subprocess.run(command, check=False, env=ENV, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()


def test_the_unit_is_one(tmp_path: Path) -> None:
    verify = program("systemd-analyze")
    unit = tmp_path / "moorage.service"
    text = (ROOT / "deploy/moorage.service").read_text()
    assert "install -m 0644 deploy/moorage.service" in PAGE
    assert "/opt/moorage/bin/moorage serve -c /etc/moorage/moorage.yaml" in text
    unit.write_text(text.replace("/opt/moorage/bin/moorage", sys.executable))
    done = subprocess.run([verify, "verify", str(unit)], check=False, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_can_write_the_folder_of_the_recovery_page() -> None:
    unit = (ROOT / "deploy/moorage.service").read_text()
    (folder,) = re.findall(
        r"^  folder: (.+)$", (ROOT / "docs/howto/recover-connections.md").read_text(), re.M
    )
    assert "ProtectSystem=strict" in unit
    assert re.findall(r"^StateDirectory=(.+)$", unit, re.M) == [folder.removeprefix("/var/lib/")]


class Nginx:
    """The page's nginx in a folder, on free ports."""

    def __init__(self, folder: Path, service: str) -> None:
        self.https, self.http = free_port(), free_port()
        self._folder = folder
        changes = {
            "listen 443 ssl;": f"listen 127.0.0.1:{self.https} ssl;",
            "listen 80;": f"listen 127.0.0.1:{self.http};",
            "127.0.0.1:8080": service,
            "/etc/letsencrypt/live/live.example.org/fullchain.pem": str(folder / "cert.pem"),
            "/etc/letsencrypt/live/live.example.org/privkey.pem": str(folder / "key.pem"),
            "/var/log/nginx/moorage.log": str(folder / "access.log"),
        }
        site = block("nginx", "upstream moorage")
        for old, new in changes.items():
            assert old in site, old
            site = site.replace(old, new)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "\n".join(f"{kind}_temp_path {folder / kind};" for kind in kinds)
        user = "user root;\n" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"{user}daemon off;\npid {folder / 'nginx.pid'};\nerror_log stderr;\n"
            f"{block('nginx', 'worker_connections')}\nhttp {{\n{paths}\n{site}\n}}\n"
        )
        certificate = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"]
        files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
        subprocess.run([program("openssl"), *certificate, *files], check=True, capture_output=True)

    def command(self, *more: str) -> tuple[str, ...]:
        """Starts it in the foreground."""
        return (program("nginx"), "-p", str(self._folder), "-c", str(self._folder / "nginx.conf"), *more)

    async def get(self, url: str, **headers: str) -> tuple[int, str]:
        """Status and body of a request, redirects not followed."""
        connector = aiohttp.TCPConnector(ssl=False)
        session = aiohttp.ClientSession(connector=connector)
        async with session, session.get(url, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def site(config: Path, tmp_path: Path) -> AsyncIterator[tuple[MoorageProcess, Nginx]]:
    """The service with the page's configuration, behind the page's nginx."""
    with MoorageProcess("-c", str(config), "--port", "0", command="serve") as service:
        nginx = Nginx(tmp_path, service.url.removeprefix("http://"))
        subprocess.run(nginx.command("-t"), check=True, capture_output=True)
        async with running(*nginx.command(), env={}, cwd=tmp_path) as master:
            async with asyncio.timeout(SECONDS):
                while True:
                    try:
                        await nginx.get(f"https://127.0.0.1:{nginx.https}/")
                        break
                    except aiohttp.ClientConnectionError:
                        await asyncio.sleep(0.05)  # between two tries, not instead of them
            try:
                yield service, nginx
            finally:
                master.signal(signal.SIGTERM)  # its workers would outlive it otherwise
                await master.end()


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]])
async def test_clients_come_through_nginx(transports: list[str], config: Path, tmp_path: Path) -> None:
    key = yaml.safe_load(config.read_text())["keys"]["primary"]
    seen: list[dict[str, Any]] = []
    sio = socketio.AsyncServer(async_mode="asgi")
    sio.on("connect", lambda _sid, environ: seen.append(environ))
    sio.on("echo", lambda _sid, *values: values)
    async with site(config, tmp_path) as (service, nginx):
        internal = f"Endpoint={service.url};AccessKey={key};Version=1.0;"
        async with await use_moorage(sio, hub="chat", connection_string=internal):
            command = [sys.executable, "-m", "moorage", "token", "create", "-c", str(config), "--hub", "chat"]
            token = (await asyncio.to_thread(subprocess.check_output, command, env=ENV, text=True)).strip()
            # From an address that is not the proxy's, whose word would count.
            connector = aiohttp.TCPConnector(ssl=False, local_addr=(ADDRESS, 0))
            session = aiohttp.ClientSession(connector=connector)
            client = socketio.AsyncClient(http_session=session)
            await client.connect(
                f"https://127.0.0.1:{nginx.https}?access_token={token}",
                {"Host": "live.example.org", "X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6"},
                transports=transports,
                socketio_path="/clients/socketio/hubs/chat",
                wait_timeout=PATIENCE,
            )
            large = "x" * 900_000
            assert await client.call("echo", (1, large), timeout=SECONDS) == (1, large)
            await leave(client)
            await session.close()
    assert seen[0]["REMOTE_ADDR"] == ADDRESS
    log = (tmp_path / "access.log").read_text()
    assert "/clients/socketio/hubs/chat" in log
    assert "access_token" not in log


async def test_what_nginx_keeps_inside(config: Path, tmp_path: Path) -> None:
    inside = ["/metrics", "/healthz", "/readyz", "/server/tunnel?hub=chat", "/api/health", "/api/hubs/chat"]
    disguised = ["/%6detrics", "//metrics", "/x/../metrics", "/metrics/", "/metrics%2f", "/./api/health"]
    async with site(config, tmp_path) as (service, nginx):
        for path in [*inside, *disguised]:
            status, body = await nginx.get(f"https://127.0.0.1:{nginx.https}{path}")
            assert (status, "moorage_" in body) == (403, False), path
        assert service.get("/metrics")[0] == 200
        moved = await nginx.get(f"http://127.0.0.1:{nginx.http}/x", Host="live.example.org")
        assert moved[0] == 301
