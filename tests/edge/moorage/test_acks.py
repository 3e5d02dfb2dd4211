"""Who is told when an app server has taken what was queued, and clients that say very much at once."""

from __future__ import annotations

import asyncio

import pytest

from moorage.edge.moorage.acks import Acks
from moorage.hub.connections.bursts import BURST
from moorage.wire.moorage import v1
from moorage.wire.moorage.stream import ACK_FRAMES, Incoming, Outgoing
from tests.edge.moorage.rig import App, Rig
from tests.hub.fakes import sink_of
from tests.support.bystander import measured, quantile
from tests.support.rawhttp import clients
from tests.support.rawws import TEXT, WebSocket, frame
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.repair(4)


def test_frames_in_no_batch_yet_are_waited_for_too() -> None:
    out = Outgoing(1_000)
    acks = Acks(out)
    told: list[str] = []
    acks.wait(lambda: told.append("nothing is queued"))
    assert told == ["nothing is queued"]
    out.queue(b"one")
    acks.wait(lambda: told.append("one"))
    assert out.take(0)
    acks.sent()
    acks.wait(lambda: told.append("one, too"))
    out.queue(b"two")
    acks.wait(lambda: told.append("two"))
    out.taken(1)
    acks.taken()
    assert told[1:] == ["one", "one, too"]
    assert out.take(0)
    acks.sent()
    out.taken(2)
    acks.taken()
    assert told[3:] == ["two"]
    assert not acks


def test_a_session_that_is_over_calls_all_callbacks() -> None:
    out = Outgoing(1_000)
    acks = Acks(out)
    told: list[int] = []
    out.queue(b"one")
    acks.wait(lambda: told.append(1))
    out.take(0)
    acks.sent()
    out.queue(b"two")
    acks.wait(lambda: told.append(2))
    acks.give_up()
    assert told == [1, 2]


def bursting(app: App) -> tuple[Rig, v1.Open | object]:
    rig = app.rig
    number, client = app.client("/")
    app.heard()
    app.ack()
    for n in range(BURST + 1):
        rig.world.node.receive(client, b"42[%d]" % n)
    rig.world.node.burst(client)
    assert not sink_of(client).reading
    return rig, number


def test_a_client_is_read_again_when_its_burst_has_been_acknowledged() -> None:
    app = Rig().app()
    rig, _ = bursting(app)
    (client,) = app.server.numbered.own.values()
    assert len(app.heard(v1.Packet)) == BURST + 1
    assert not sink_of(client).reading
    assert app.inc.has_news
    app.ack()
    assert sink_of(client).reading
    rig.settle()


def test_a_client_is_read_again_when_the_session_resumes() -> None:
    app = Rig().app()
    rig, _ = bursting(app)
    (client,) = app.server.numbered.own.values()
    rig.settle()
    app.read()
    app.line.lose()
    assert not sink_of(client).reading
    app.back()
    assert sink_of(client).reading


@pytest.mark.parametrize(("frames", "due"), [(ACK_FRAMES - 1, False), (ACK_FRAMES, True)])
def test_an_app_server_acknowledges_many_frames_at_once(frames: int, due: bool) -> None:
    inc = Incoming(1 << 20)
    inc.arrived(1, 100, frames - 1)
    inc.arrived(2, 10, 1)
    inc.take_all()
    assert inc.is_due == due
    inc.told()
    inc.arrived(3, 10, 1)
    inc.take_all()
    assert not inc.is_due


@pytest.mark.alone
@pytest.mark.parametrize("flooders", [1, 4])
async def test_others_of_the_same_app_server_do_not_wait_for_a_client_that_floods_it(flooders: int) -> None:
    with MoorageProcess() as service, measured(service, "busy") as times:
        sockets = [await WebSocket.session(service.url, clients("busy")) for _ in range(flooders)]

        async def flood(socket: WebSocket) -> None:
            await socket.send("40")
            while True:
                await socket.raw(frame(TEXT, b'42["x"]') * 5_000)

        tasks = [asyncio.create_task(flood(socket)) for socket in sockets]
        await asyncio.sleep(3.0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for socket in sockets:
            await socket.http.close()
    assert len(times) > 10
    # On an idle machine about 10 ms; without turns more than 10 s.
    assert quantile(times, 0.5) < 500.0, times[-10:]
