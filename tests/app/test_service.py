"""A node and its parts: what it answers, and that it works in time."""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Iterator

import pytest

from moorage.app.service import Service
from moorage.config.model import Config, KeySettings
from moorage.edge.settings import ServerSettings
from moorage.hub.hub import AppServer as HubServer
from moorage.hub.hub import Connection
from moorage.wire.commands import EVERYONE, Send
from moorage.wire.handshake import Handshake, OpenInfo
from moorage.wire.reasons import CLIENT_CLOSED, SLOW_CLIENT
from tests.hub.fakes import LEAST, RecordingLink, RecordingOpening
from tests.support.rawhttp import clients
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess
from tests.support.tunnel_link import TunnelLink


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


@pytest.mark.alone
@pytest.mark.repair(11)
async def test_pings_leave_when_they_are_due(service: MoorageProcess) -> None:
    """The time between a pong and the next ping: more than the interval for all but a few would mean
    that pings wait for something."""
    own = [0.0]

    async def sleep() -> None:
        for _ in range(10):
            began = time.monotonic()
            await asyncio.sleep(0.3)
            own.append(time.monotonic() - began - 0.3)

    async with TunnelLink(service, "pings") as link, asyncio.TaskGroup() as tasks:
        link.terms = (300, 5_000, 1_000_000)
        async with await WebSocket.session(service.url, clients("pings")) as client:
            tasks.create_task(sleep())
            times = [time.monotonic()]
            for _ in range(10):
                assert await client.text() == "2"
                times.append(time.monotonic())
                await client.send("3")
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert min(gaps[1:]) > 0.2, "a late one makes the next one come sooner"
    # On a busy machine this process is late, too.
    assert statistics.median(gaps) < 0.32 + 3 * statistics.median(own)


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
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error.exc_info and str(error.exc_info[1]) == "broken"
