"""The whole process: what it prints, how it stops, what a reload changes."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from moorage.app import Alarm, Service
from moorage.config.model import Config, KeySettings
from moorage.edge.settings import ServerSettings
from moorage.hub.hub import AppServer as HubServer
from moorage.hub.hub import Connection
from moorage.wire.commands import EVERYONE, Send
from moorage.wire.handshake import Handshake, OpenInfo
from moorage.wire.reasons import CLIENT_CLOSED, SLOW_CLIENT
from tests.hub.fakes import LEAST, RecordingLink, RecordingOpening
from tests.support.app_link import AppServer
from tests.support.rawhttp import Polling, clients, fetch
from tests.support.rawws import WebSocket
from tests.support.service import ROOT, MoorageProcess
from tests.support.tunnel_link import TunnelLink


def client_token(service: MoorageProcess, hub: str, key: str) -> str:
    aud = f"{service.url}/clients/socketio/hubs/{hub}"
    return jwt.encode({"aud": aud, "exp": int(time.time()) + 60, "sub": "u"}, key)


async def handshake_status(service: MoorageProcess, hub: str, key: str) -> int:
    """503 = the token is good (no app server is there), 401 = it is not."""
    query = f"?EIO=4&transport=polling&access_token={client_token(service, hub, key)}"
    return (await fetch(service.url, clients(hub) + query)).status


def test_dev_prints_what_a_user_copies(service: MoorageProcess) -> None:
    printed = [line for line in service.lines if not line.startswith("{")]
    assert printed[0] == f"Connection string  Endpoint={service.url};AccessKey={service.key};Version=1.0;"
    assert printed[1] == (f'Clients            io("{service.url}", {{ path: "/clients/socketio/hubs/app" }})')


def test_health_and_metrics(service: MoorageProcess) -> None:
    assert service.get("/healthz")[0] == 200
    assert service.get("/readyz")[0] == 200
    assert service.get("/api/health")[0] == 200
    assert service.metric("process_open_fds") > 0
    assert b"moorage_build_info{version=" in service.get("/metrics")[1]


@pytest.mark.repair(22)
async def test_a_known_hub_without_clients_has_zero_connections() -> None:
    listed = ("--set", "hubs.Listed.anonymous=true", "--set", "hubs.default.anonymous=true")
    with MoorageProcess(*listed) as service:
        async with TunnelLink(service, "linked"):
            shown = (await asyncio.to_thread(service.get, "/metrics"))[1].decode()
        for hub in ("listed", "linked"):
            for transport in ("websocket", "polling"):
                assert f'moorage_connections{{hub="{hub}",transport="{transport}"}} 0.0' in shown
        assert 'hub="default"' not in shown


def test_a_wrong_path_says_where_to_go(service: MoorageProcess) -> None:
    status, body = service.get("/nothing/here")
    assert status == 404
    assert "/clients/socketio/hubs/HUB" in json.loads(body)["hint"]


async def test_sigterm_drains() -> None:
    settings = ("--set", "shutdown.grace=300ms", "--set", "shutdown.spread=600ms")
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
    settings = ("--set", "shutdown.grace=0s", "--set", "shutdown.spread=3s")
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
    settings = ("--set", "shutdown.grace=25s", "--set", "shutdown.timeout=30s")
    with MoorageProcess(*settings) as service:
        began = time.monotonic()
        service.signal(signal.SIGTERM)
        service.wait_record(event="draining")
        service.signal(signal.SIGTERM)
        assert await asyncio.to_thread(service.wait_exit) == 0
        assert time.monotonic() - began < 20


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


@pytest.mark.repair(11)
async def test_an_alarm_rings_once_and_never_early() -> None:
    rung: list[float] = []
    alarm = Alarm(lambda: rung.append(time.monotonic()))
    now = time.monotonic()
    alarm.set(now + 30.0)
    alarm.set(now + 0.0207)
    async with asyncio.timeout(10):
        while not rung:
            await asyncio.sleep(0.005)
    assert rung[0] >= now + 0.0207
    alarm.set(time.monotonic() - 5.0)
    alarm.cancel()
    alarm.set(time.monotonic() + 0.01)
    async with asyncio.timeout(10):
        while len(rung) < 2:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.03)
    assert len(rung) == 2


@pytest.mark.repair(11)
async def test_pings_leave_when_they_are_due(service: MoorageProcess) -> None:
    """The time between a pong and the next ping: more than the interval for all but a few would mean
    that pings wait for something."""
    async with TunnelLink(service, "pings") as link:
        link.terms = (300, 5_000, 1_000_000)
        async with await WebSocket.session(service.url, clients("pings")) as client:
            times = [time.monotonic()]
            for _ in range(10):
                assert await client.text() == "2"
                times.append(time.monotonic())
                await client.send("3")
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert min(gaps[1:]) > 0.2, "a late one makes the next one come sooner"
    assert statistics.median(gaps) < 0.32


# -- inside the process


def inside() -> Service:
    """A service in this process, with an app server of hub `h` that accepts every client."""
    service = Service(Config(server=ServerSettings(port=0), keys=KeySettings(primary="k" * 32)))
    link = RecordingLink()
    link.on_open = lambda connection: service.node.accept(connection, OpenInfo())
    app = HubServer("s1", link, "test", LEAST)
    app.up = True
    service.node.ensure_hub("h").servers.add(app)
    return service


def joined(service: Service, *, framed: bool) -> Connection:
    """A client with a socket in the main namespace."""
    opening = RecordingOpening(framed=framed)
    client = service.node.connect("h", Handshake(query={}, headers={}), opening)
    service.node.receive(client, b"40")
    service.node.carry_out(Send("h", EVERYONE, b'40{"sid":"%s"}' % client.id.encode(), control=True))
    return client


def shown(service: Service) -> dict[str, float]:
    """A scrape, line by line."""
    lines = service.metrics.render().decode().splitlines()
    rows = [line.rpartition(" ") for line in lines if line.startswith("moorage_")]
    return {name: float(value) for name, _, value in rows}


class Unwalked(dict[str, Connection]):
    """The connections of a hub, which nobody may walk."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("a walk over all connections")

    items = keys = values = __iter__  # type: ignore[assignment]


async def test_a_scrape_shows_the_clients_without_a_walk_over_them() -> None:
    service = inside()
    clients = [joined(service, framed=framed) for framed in (True, True, True, False)]
    service.node.flusher.run()
    service.node.carry_out(Send("h", EVERYONE, b"42[1]"))
    hub = service.node.hubs["h"]
    hub.directory.connections = Unwalked(hub.directory.connections)
    rows = shown(service)
    assert rows['moorage_connections{hub="h",transport="websocket"}'] == 3
    assert rows['moorage_connections{hub="h",transport="polling"}'] == 1
    assert rows['moorage_sockets{hub="h"}'] == 4
    waiting = sum(client.outbox.size for client in clients)
    assert rows["moorage_outbox_bytes"] == waiting > 3 * len("42[1]")
    service.node.disconnect(clients[0], SLOW_CLIENT, who="service")
    service.node.disconnect(clients[3], CLIENT_CLOSED, who="client")
    rows = shown(service)
    assert rows['moorage_connections{hub="h",transport="websocket"}'] == 2
    assert rows['moorage_connections{hub="h",transport="polling"}'] == 0
    assert rows['moorage_sockets{hub="h"}'] == 2
    assert rows["moorage_connects_total"] == 4
    assert rows['moorage_disconnects_total{reason="client-closed"}'] == 1
    assert rows["moorage_slow_client_closes_total"] == 1
    assert rows["moorage_connection_age_seconds_count"] == 2


async def test_a_part_whose_tick_fails_does_not_keep_the_others_from_theirs(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = inside()
    ticks = asyncio.Queue[float]()

    def fail(now: float) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(service.links, "tick", fail)
    monkeypatch.setattr(service.client_log, "tick", ticks.put_nowait)
    await service.start()
    try:
        for _ in range(3):
            await ticks.get()
    finally:
        await service.stop(drain=False)
    assert shown(service)['moorage_faults_total{part="links"}'] >= 3
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1 and "broken" in errors[0]
