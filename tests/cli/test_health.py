"""`moorage health`, on real services."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.test_main import run
from tests.support.certificates import Authority
from tests.support.programs import free_port
from tests.support.service import MoorageProcess

KEY = "k" * 32
PROXIES = {"trusted_proxies": ["127.0.0.1", "::1"], "proxy_protocol": True}


def answer(*arguments: str) -> tuple[int, str, str]:
    done = run("health", *arguments)
    return done.returncode, done.stdout, done.stderr


def config(folder: Path, server: dict[str, object]) -> str:
    """A file with settings of the port."""
    path = folder / "moorage.json"
    path.write_text(json.dumps({"server": server, "keys": {"primary": KEY}}))
    return str(path)


@pytest.mark.parametrize(
    ("host", "tls"),
    [("127.0.0.1", False), ("0.0.0.0", False), ("::", True), ("localhost", False)],
    ids=["127.0.0.1", "0.0.0.0", "::-tls", "localhost"],
)
def test_the_address_is_that_of_the_configuration(host: str, tls: bool, tmp_path: Path) -> None:
    server: dict[str, object] = {"host": host, "port": free_port()}
    if tls:
        # Of another name than the one that is asked for.
        pair = Authority(tmp_path).make(hosts=("live.example.org",))
        server["tls"] = {"cert_file": str(pair.cert), "key_file": str(pair.key)}
    path = config(tmp_path, server)
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    url = f"http{'s' if tls else ''}://{shown}:{server['port']}"
    code, _, error = answer("-c", path)
    assert (code, error.startswith(f"moorage: {url} does not answer: ")) == (1, True)
    with MoorageProcess("-c", path, command="serve") as service:
        service.wait_record(event="ready")
        assert answer("-c", path) == (0, f"{url} is ready\n", "")
        assert answer(str(service.pid)) == (0, f"{url} is ready\n", "")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_port_with_proxy_headers(tls: bool, tmp_path: Path) -> None:
    flags = Authority(tmp_path).make().flags if tls else ()
    path = config(tmp_path, {"port": free_port(), **PROXIES})
    with MoorageProcess("-c", path, *flags, command="serve") as service:
        service.wait_record(event="ready")
        code, text, error = answer(str(service.pid))
        assert (code, error) == (0, "")
        assert text.startswith("https:" if tls else "http:")


def test_options_of_the_service_count_and_those_of_the_command_come_first(tmp_path: Path) -> None:
    path, port = config(tmp_path, {"port": free_port()}), free_port()
    with MoorageProcess("-c", path, f"--port={port}", command="serve") as service:
        service.wait_record(event="ready")
        assert answer(str(service.pid)) == (0, f"http://127.0.0.1:{port} is ready\n", "")
        assert answer("-c", path)[0] == 1
        assert answer("-c", path, "--set", f"server.port={port}")[0] == 0


def test_a_service_for_development() -> None:
    port = free_port()
    with MoorageProcess(f"--port={port}") as service:
        assert answer(str(service.pid)) == (0, f"http://127.0.0.1:{port} is ready\n", "")


def test_a_service_that_drains_runs_but_is_not_ready() -> None:
    port = free_port()
    with MoorageProcess(
        f"--port={port}", "--set=shutdown.lb_wait=100s", "--set=shutdown.timeout=120s"
    ) as service:
        run("drain", str(service.pid), "--no-wait")
        service.wait_record(event="draining")
        pid, url = str(service.pid), f"http://127.0.0.1:{port}"
        assert answer(pid) == (3, f"{url} is not ready: draining\n", "")
        assert answer(pid, "--live") == (0, f"{url} runs\n", "")


def test_another_program_at_the_port_and_one_that_is_silent(tmp_path: Path) -> None:
    port = free_port()
    path, url = config(tmp_path, {"port": port}), f"http://127.0.0.1:{port}"
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        assert other.stdout is not None
        assert other.stdout.readline()
        assert answer("-c", path) == (1, "", f"moorage: {url} answers 404: is another program there?\n")
        other.kill()
    with closing(socket.create_server(("127.0.0.1", port))):
        silent = f"moorage: {url} does not answer: timed out\n"
        assert answer("-c", path, "--timeout", "0.2") == (1, "", silent)


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    code, _, error = answer("--set", "server.port=0")
    assert (code, "server.port is 0" in error) == (1, True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        no_service = f"moorage: process {other.pid} is not a service of Moorage\n"
        assert answer(str(other.pid)) == (1, "", no_service)
        other.communicate(b"\n")
