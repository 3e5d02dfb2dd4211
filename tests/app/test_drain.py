"""The stop of a node: how fast its clients are closed, and what they have received by then."""

from __future__ import annotations

import asyncio
import signal

import pytest

from moorage.app.drain import LAST_SECONDS, Pace, close_clients, seconds_for
from moorage.config.model import ShutdownSettings
from moorage.hub.turns import Intake, Job
from moorage.wire.moorage import v1
from tests.hub.fakes import World, sink_of
from tests.support.rawhttp import Polling
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess
from tests.support.tunnel_link import TunnelLink


@pytest.mark.parametrize(
    ("settings", "clients", "left", "seconds"),
    [
        (ShutdownSettings(), 0, 20.0, 0.0),
        (ShutdownSettings(spread=10), 0, 20.0, 0.0),
        (ShutdownSettings(), 500, 20.0, 1.0),
        (ShutdownSettings(rate=100), 500, 20.0, 5.0),
        # `spread` slows down, it never hurries.
        (ShutdownSettings(spread=10), 500, 20.0, 10.0),
        (ShutdownSettings(spread=0.5), 500, 20.0, 1.0),
        # `timeout` comes first.
        (ShutdownSettings(), 50_000, 20.0, 20.0),
    ],
)
def test_how_long_it_takes(settings: ShutdownSettings, clients: int, left: float, seconds: float) -> None:
    pace = Pace(settings, clients, left)
    assert pace.seconds == seconds
    assert pace.hurried == (clients == 50_000)
    assert pace.due(pace.seconds) == clients


def test_clients_are_due_evenly() -> None:
    pace = Pace(ShutdownSettings(rate=100), 500, 60.0)
    assert [pace.due(passed) for passed in (0.0, 1.0, 2.5, 4.999, 5.0, 9.0)] == [1, 101, 251, 500, 500, 500]


def test_app_servers_are_told_the_whole_time() -> None:
    assert seconds_for(ShutdownSettings(lb_wait=3, rate=10), 50) == 8.0
    assert seconds_for(ShutdownSettings(lb_wait=3, timeout=10), 1_000_000) == 9.0


async def test_a_client_is_closed_after_it_has_read_everything() -> None:
    """More than the kernel's buffers hold waits for one client; another one polls with a long queue."""
    flags = ("--set", "shutdown.lb_wait=0s", "--set", "limits.outbox_bytes=64MiB")
    text = "x" * 900_000
    with MoorageProcess(*flags) as service:
        async with TunnelLink(service, "app") as link:
            slow = await WebSocket.session(service.url, "/socket.io/")
            quick = await WebSocket.session(service.url, "/socket.io/")
            polling = await Polling(service.url, "/socket.io/").open()
            for number in range(25):
                await link.say(v1.Packet(1, f'42["{number}","{text}"]'.encode()))
                await link.say(v1.Packet(3, f'42["{number}"]'.encode()))
            # What was said before has been carried out once this is answered.
            await link.say(v1.Packet(2, b'42["now"]'))
            assert await quick.text() == '42["now"]'
            service.signal(signal.SIGTERM)
            assert await quick.ended() == ([], (1001, "draining"))
            texts, end = await slow.ended()
            assert [each[:6] for each in texts] == [f'42["{number}","'[:6] for number in range(25)]
            assert end == (1001, "draining")
            polled: list[str] = []
            while len(polled) < 25:
                reply = await polling.get()
                assert reply.status == 200
                polled += reply.body.decode().split("\x1e")
            assert polled == [f'42["{number}"]' for number in range(25)]
            assert (await polling.get()).json()["reason"] == "draining"
            for _ in range(3):
                await link.next(v1.Closed)
            # The service waits until the app server has taken the ends.
            await link.ack()
            assert await asyncio.to_thread(service.wait_exit) == 0
            assert not [line for line in service.lines if "before they had read" in line]
            for socket in (slow, quick):
                await socket.http.close()


async def test_a_client_that_never_reads_does_not_delay_the_end() -> None:
    flags = ("--set", "shutdown.lb_wait=0s", "--set", "shutdown.timeout=2s")
    with MoorageProcess(*flags, "--set", "limits.outbox_bytes=64MiB") as service:
        async with TunnelLink(service, "app") as link:
            deaf = await WebSocket.session(service.url, "/socket.io/")
            for _ in range(20):
                await link.say(v1.Packet(1, f'42["{"x" * 900_000}"]'.encode()))
            # The service reads a link's frames in order.
            await link.ask(v1.List, v1.Servers)
            service.signal(signal.SIGTERM)
            service.wait_record(event="clients closed before they had read everything", clients=1)
            assert await asyncio.to_thread(service.wait_exit) == 0
            await deaf.http.close()


async def test_an_app_server_may_take_its_last_events_slowly() -> None:
    with MoorageProcess("--set", "shutdown.lb_wait=0s") as service:
        async with TunnelLink(service, "app") as link:
            client = await WebSocket.session(service.url, "/socket.io/")
            link.acks = False
            service.signal(signal.SIGTERM)
            assert await client.ended() == ([], (1001, "draining"))
            # This is the time that it takes, not the time that something else needs.
            await asyncio.sleep(LAST_SECONDS + 1)
            assert link.up
            link.inc.take_all()
            await link.ack()
            assert await asyncio.to_thread(service.wait_exit) == 0
            await client.http.close()


async def test_no_client_is_closed_in_the_middle_of_a_send_in_steps() -> None:
    world = World()
    world.server()
    clients = [world.client("/") for _ in range(3)]
    sinks = [sink_of(client) for client in clients]

    def job() -> Job[None]:
        for client in clients:
            yield False
            world.send(client, b'42["late"]')

    Intake(world.node.turns).add(job())
    until = asyncio.get_running_loop().time() + 30
    closing = asyncio.create_task(close_clients(world.node, ShutdownSettings(), until))
    await asyncio.sleep(0.1)
    assert not any(sink.closed for sink in sinks)
    world.settle()
    await closing
    assert [sink.packets for sink in sinks] == [[b'42["late"]']] * 3
    assert all(sink.closed for sink in sinks)
