"""A node as a process: what it prints, how it stops, what a reload changes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jwt
import pytest

from tests.support.app_link import AppServer
from tests.support.rawhttp import Polling, clients, fetch
from tests.support.rawws import WebSocket
from tests.support.service import ROOT, MoorageProcess


def client_token(service: MoorageProcess, hub: str, key: str) -> str:
    aud = f"{service.url}/clients/socketio/hubs/{hub}"
    return jwt.encode({"aud": aud, "exp": int(time.time()) + 60, "sub": "u"}, key)


async def handshake_status(service: MoorageProcess, hub: str, key: str) -> int:
    """503 = the token is good (no app server is there), 401 = it is not."""
    query = f"?EIO=4&transport=polling&access_token={client_token(service, hub, key)}"
    return (await fetch(service.url, clients(hub) + query)).status


def test_dev_prints_what_a_user_copies(service: MoorageProcess) -> None:
    service.wait_line(lambda line: line.startswith("Metrics"))
    printed = [line for line in service.lines if not line.startswith("{")]
    assert printed[0] == f"Connection string  Endpoint={service.url};AccessKey={service.key};Version=1.0;"
    assert printed[1] == (f'Clients            io("{service.url}", {{ path: "/clients/socketio/hubs/app" }})')


async def test_sigterm_drains() -> None:
    settings = ("--set", "shutdown.lb_wait=3s", "--set", "shutdown.spread=600ms")
    with MoorageProcess(*settings) as service:
        async with AppServer(service, "h"):
            sockets = [await WebSocket.session(service.url, clients("h")) for _ in range(4)]
            polling = await Polling(service.url, clients("h")).open()
            poll = asyncio.create_task(polling.get())
            service.signal(signal.SIGTERM)
            service.wait_record(event="draining")
            # Not ready from the first moment, while clients are still served.
            assert service.get("/readyz")[0] == 503
            assert service.get("/healthz")[0] == 200
            refused = await fetch(service.url, f"{clients('h')}?EIO=4&transport=polling")
            assert (refused.status, refused.json()["reason"]) == (503, "draining")
            ends = [await socket.ended() for socket in sockets]
            assert ends == [([], (1001, "draining"))] * 4
            last = await poll
            assert (last.status, last.json()["reason"]) == (400, "draining")
            assert await asyncio.to_thread(service.wait_exit) == 0
            ended = [line for line in service.lines if '"event": "disconnect"' in line]
            assert len(ended) == 5
            for socket in sockets:
                await socket.http.close()


@pytest.mark.repair(30)
async def test_monitors_are_answered_until_the_end_of_a_drain() -> None:
    settings = ("--set", "shutdown.lb_wait=0s", "--set", "shutdown.spread=6s")
    with MoorageProcess(*settings) as service:
        async with AppServer(service, "h"):
            sockets = [await WebSocket.session(service.url, clients("h")) for _ in range(4)]
            polling = await Polling(service.url, clients("h")).open()
            service.signal(signal.SIGTERM)
            # The second client is told: the spread has begun.
            for socket in sockets[:2]:
                assert await socket.ended() == ([], (1001, "draining"))
            # Each request comes on a connection of its own.
            assert service.get("/healthz")[0] == 200
            assert service.get("/readyz")[0] == 503
            assert service.get("/metrics")[0] == 200
            refused = await fetch(service.url, f"{clients('h')}?EIO=4&transport=polling")
            assert (refused.status, refused.json()["reason"]) == (503, "draining")
            assert await polling.let_go() == "draining", "it gets its last words"
            assert await asyncio.to_thread(service.wait_exit) == 0
            for socket in sockets:
                await socket.http.close()


async def test_a_second_sigterm_ends_it_now() -> None:
    settings = ("--set", "shutdown.lb_wait=50s", "--set", "shutdown.timeout=60s")
    with MoorageProcess(*settings) as service:
        began = time.monotonic()
        service.signal(signal.SIGTERM)
        service.wait_record(event="draining")
        service.signal(signal.SIGTERM)
        assert await asyncio.to_thread(service.wait_exit) == 0
        assert time.monotonic() - began < 30


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return tmp_path / "moorage.yaml"


def write(path: Path, primary: str, secondary: str = "", anonymous: bool = True) -> None:
    keys = f"keys:\n  primary: {primary}\n" + (f"  secondary: {secondary}\n" if secondary else "")
    path.write_text(
        f"server:\n  port: 0\n{keys}hubs:\n  default:\n    anonymous: {str(anonymous).lower()}\n",
        encoding="utf-8",
    )


@pytest.mark.repair(32)
async def test_keys_rotate_as_the_manual_says(config_file: Path) -> None:
    old, new = "1st-key-of-this-test" * 2, "2nd-key-of-this-test" * 2
    steps = [((old, "a-spare-key-of-init"), {old}), ((new, old), {old, new}), ((new, ""), {new})]
    write(config_file, *steps[0][0])
    with MoorageProcess("-c", str(config_file), command="serve") as service:
        for number, (keys, valid) in enumerate(steps):
            if number:
                write(config_file, *keys)
                service.lines.clear()
                service.signal(signal.SIGHUP)
                service.wait_record(event="reloaded")
            for key in (old, new):
                assert await handshake_status(service, "h", key) == (503 if key in valid else 401)


async def test_sighup_rotates_keys_and_changes_hubs(config_file: Path) -> None:
    old, new = "1st-key-of-this-test" * 2, "2nd-key-of-this-test" * 2
    write(config_file, old)
    with MoorageProcess("-c", str(config_file), command="serve") as service:
        anonymous = f"{clients('h')}?EIO=4&transport=polling"
        assert await handshake_status(service, "h", old) == 503
        assert await handshake_status(service, "h", new) == 401
        assert (await fetch(service.url, anonymous)).status == 503

        write(config_file, new, old, anonymous=False)
        service.signal(signal.SIGHUP)
        service.wait_record(event="reloaded")
        assert await handshake_status(service, "h", old) == 503
        assert await handshake_status(service, "h", new) == 503
        refused = await fetch(service.url, anonymous)
        assert (refused.status, refused.json()["reason"]) == (401, "token-missing")

        config_file.write_text("keys: {primary: x, prymary: y}\n", encoding="utf-8")
        service.signal(signal.SIGHUP)
        service.wait_record(event="reload refused")
        assert await handshake_status(service, "h", new) == 503
        assert service.metric('moorage_refusals_total{door="client",reason="token-signature"}') == 1


@pytest.mark.repair(31)
@pytest.mark.parametrize("command", ["dev", "serve"])
def test_a_taken_port_is_said(service: MoorageProcess, command: str) -> None:
    port = service.url.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "moorage", command, "--port", port, "--set", "keys.primary=" + "k" * 32],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"moorage: cannot listen on 127.0.0.1:{port}: another program")
    assert "--port" in done.stderr
    assert "cannot listen" not in done.stdout


def test_an_unknown_setting_stops_the_start(config_file: Path) -> None:
    config_file.write_text("limits:\n  max_payloda: 1\n", encoding="utf-8")
    refused = MoorageProcess("-c", str(config_file), command="serve")
    line = refused.wait_line(lambda text: "max_payloda" in text)
    assert "limits.max_payload" in line
    assert refused.wait_exit() == 1
    refused.kill()


EXAMINED = """
import gc
from moorage.app.process import settle_heap

settle_heap()
examined = []
gc.callbacks.append(
    lambda phase, info: phase == "start"
    and examined.append(sum(len(gc.get_objects(g)) for g in range(info["generation"] + 1)))
)
kept = [[] for _ in range(1_000_000)]
print(max(examined))
"""


@pytest.mark.repair(9)
def test_the_garbage_collector_does_not_hold_the_loop_while_many_clients_come() -> None:
    """A million new objects that stay, as 20,000 clients have: no collection examines many of them."""
    output = subprocess.run(
        [sys.executable, "-c", EXAMINED], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert 0 < int(output) < 100_000
