"""Calls of an app server of the azure dialect that are too much for one turn of the loop."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from urllib.parse import urlencode

import pytest

from moorage.edge.azure.channel import Tunnel
from moorage.edge.azure.link import MAX_WAITING, Reader
from moorage.hub.commands import execute
from moorage.hub.turns import TURN_SECONDS
from moorage.wire.azure import tunnel_frames
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group
from tests.edge.azure.rig import FakeTransport, Rig
from tests.edge.moorage.test_intake import LIMIT
from tests.hub.fakes import HUB, heard
from tests.support.app_link import AppServer
from tests.support.bystander import measured, quantile
from tests.support.rawhttp import clients
from tests.support.rawws import TEXT, WebSocket, frame
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.repair(4)

ROOT = namespace_group("/")


class Link:
    """`edge.azure.link.Source` under one tunnel."""

    def __init__(self, transport: FakeTransport) -> None:
        self.tunnel: Tunnel = transport.tunnel
        self.said: list[str] = []

    def pause_reading(self) -> None:
        self.said.append("pause")

    def resume_reading(self) -> None:
        self.said.append("resume")

    def not_read(self) -> None:
        """Nothing to do: no WebSocket is under it."""

    def broke(self, error: PeerError) -> None:
        self.said.append(error.reason.name)

    def goodbye(self) -> None:
        self.said.append("goodbye")


class Calls:
    """A reader, one client in the root namespace, and calls by number."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.transport = self.rig.open()
        self.client = self.rig.client(self.transport)
        self.rig.say(self.client, "40")
        self.rig.world.send(self.client, b'40{"sid":"x"}')
        self.rig.settle()
        self.transport.frames()
        self.before = len(heard(self.client))
        self.reader = Reader(self.rig.server)
        self.reader.begin()
        self.link = Link(self.transport)

    def frame(self, number: int, payload: bytes, path: str = "") -> bytes:
        text = {
            "Type": 1,
            "AckId": number,
            "HttpMethod": "POST",
            "Url": f"https://host/api/hubs/{HUB}/{path or f'groups/{ROOT}/:send'}",
            "Headers": {"Content-Type": ["text/plain"]},
        }
        return tunnel_frames.encode(tunnel_frames.REQUEST, json.dumps(text).encode(), payload)

    def take(self, data: bytes) -> None:
        """One frame. Time passes: a tenth of a turn."""
        self.rig.world.now += TURN_SECONDS / 10
        self.reader.take(self.link, data)

    @property
    def got(self) -> list[bytes]:
        return heard(self.client)[self.before :]

    @property
    def answers(self) -> list[int]:
        return [frame.ack_id for frame in self.rig.sent(self.transport) if frame.name == "answer"]


def test_calls_that_wait_are_carried_out_in_order() -> None:
    calls = Calls()
    for number in range(1, 101):
        calls.take(calls.frame(number, b"42[%d]" % number))
    assert calls.rig.server.intake.busy
    calls.reader.end_of_read()
    calls.rig.settle()
    assert calls.got == [b"42[%d]" % number for number in range(1, 101)]
    assert calls.answers == list(range(1, 101))


def test_a_call_in_steps_holds_back_those_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "FEW", 0)
    monkeypatch.setattr(execute, "FEW_RECIPIENTS", 0)
    calls = Calls()
    calls.take(calls.frame(1, b"42[1]"))
    assert calls.got == []
    calls.take(calls.frame(2, b"42[2]", f"connections/{calls.client.id}/:send"))
    assert calls.got == []
    calls.reader.end_of_read()
    calls.rig.settle()
    assert calls.got == [b"42[1]", b"42[2]"]
    assert calls.answers == [1, 2]


def test_a_refused_call_in_steps_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls()
    monkeypatch.setattr(execute, "FEW", 0)
    monkeypatch.setattr(execute, "FEW_RECIPIENTS", 0)
    calls.take(calls.frame(1, b"42[\xff]"))
    calls.rig.settle()
    (answer,) = [frame for frame in calls.rig.sent(calls.transport) if frame.name == "answer"]
    assert answer.status == 400


def test_a_link_is_not_read_while_much_waits() -> None:
    calls = Calls()
    for number in range(1, 41):
        calls.take(calls.frame(number, b"42[%d]" % number))
    for number in range(41, 46):
        calls.take(calls.frame(number, b"42[]" + b" " * (MAX_WAITING // 4), "groups/nobody/:send"))
    assert calls.link.said == ["pause"]
    calls.reader.end_of_read()
    calls.rig.settle()
    assert calls.link.said == ["pause", "resume"]
    assert len(calls.got) == 40


def test_a_goodbye_waits_for_the_calls_before_it() -> None:
    calls = Calls()
    calls.reader.close(calls.link)
    assert calls.link.said == ["goodbye"]
    for number in range(1, 101):
        calls.take(calls.frame(number, b"42[%d]" % number))
    calls.reader.close(calls.link)
    assert calls.link.said == ["goodbye"]
    calls.rig.settle()
    assert calls.link.said == ["goodbye", "goodbye"]
    assert len(calls.got) == 100


def test_a_broken_frame_that_waited_ends_its_link_and_nothing_else() -> None:
    calls = Calls()
    for number in range(1, 50):
        calls.take(calls.frame(number, b"42[%d]" % number))
    calls.take(b"nonsense")
    calls.take(calls.frame(50, b"42[50]"))
    calls.rig.settle()
    assert calls.link.said == ["link-bad-frame"]
    assert len(calls.got) == 50


def test_nothing_is_overdue_while_frames_wait() -> None:
    """A call or an answer that seems to be missing may be among them."""
    calls = Calls()
    for number in range(1, 101):
        calls.take(calls.frame(number, b"42[%d]" % number))
    calls.rig.server.tunnel_lost(calls.transport.tunnel, calls.rig.world.now)
    calls.rig.server.tick(calls.rig.world.now + 100.0)
    assert calls.rig.hub.servers.all(), "its grace time has not begun to count"
    calls.rig.settle()
    calls.rig.server.tick(calls.rig.world.now + 100.0)
    assert not calls.rig.hub.servers.all()


@pytest.mark.alone
async def test_others_do_not_notice_an_app_server_that_calls_very_much() -> None:
    """Calls over the link, some with a filter that every connection is held against."""
    condition = " or ".join(f"length(connectionId) eq {n}" for n in range(100, 160))
    query = urlencode({"api-version": "1", "filter": condition})
    with MoorageProcess() as service:
        async with AppServer(service, "busy") as app:
            sockets = [await WebSocket.session(service.url, clients("busy")) for _ in range(100)]
            with measured(service) as times:
                calls = [
                    await app.start("POST", path, b'42["x"]', "text/plain")
                    for _ in range(300)
                    for path in (":send?api-version=1", f":send?{query}")
                ]
                for call in calls:
                    answer, _ = await app.part(call)
                    assert answer.status_code == 202
            assert quantile(times, 0.99) < LIMIT, times[-10:]
            for socket in sockets:
                await socket.http.close()


@pytest.mark.parametrize("flooders", [1, 3])
async def test_a_client_that_floods_its_app_server_is_read_at_the_app_servers_pace(flooders: int) -> None:
    with MoorageProcess() as service:
        async with AppServer(service, "busy") as app:
            app.on_message = lambda event: 200 if event.content.startswith("42[1]") else app._echo(event)
            sockets = [await WebSocket.session(service.url, clients("busy")) for _ in range(flooders)]

            async def flood(socket: WebSocket) -> None:
                await socket.send("40")
                while True:
                    await socket.raw(frame(TEXT, b"42[1]") * 5_000)

            async with await WebSocket.session(service.url, clients("busy")) as quiet:
                await quiet.send("40")
                assert (await quiet.text()).startswith("40")
                tasks = [asyncio.create_task(flood(socket)) for socket in sockets]
                times: list[float] = []
                for number in range(30):
                    await asyncio.sleep(0.02)
                    began = time.perf_counter()
                    await quiet.send(f'42{number}["echo","x"]')
                    while not (await quiet.text()).startswith(f"43{number}["):
                        pass
                    times.append((time.perf_counter() - began) * 1000)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert statistics.median(times) < 500.0, times
            for socket in sockets:
                await socket.http.close()
