"""A closed connection leaves nothing for the garbage collector, which runs rarely in a service."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop

from moorage.app.service import Service
from moorage.config.model import Config, KeySettings
from moorage.edge.settings import EdgeLimits, ServerSettings, TlsSettings
from tests.support.app_link import AppServer
from tests.support.certificates import Authority
from tests.support.rawhttp import HttpConnection, Polling, clients, request_bytes
from tests.support.rawws import CLOSE, WebSocket, frame
from tests.support.service import MoorageProcess
from tests.support.tunnel_link import TunnelLink

pytestmark = pytest.mark.repair(9)

HUB = "app"
EACH = 20
KEY = "k" * 32
LINGERS = ("Heartbeat",)
"""A few bytes that the heartbeat's wheel releases at the time of the next ping."""
NO_TLS = TlsSettings()
OPEN = "?EIO=4&transport=websocket"


class Address:
    """The parts of a service that an app server needs."""

    key = KEY

    def __init__(self, url: str) -> None:
        self.url = url


# -- ends of a client


async def by_websocket(url: str) -> WebSocket:
    """A client with a socket in the main namespace."""
    socket = await WebSocket.session(url, clients(HUB))
    await socket.send("40")
    assert (await socket.text())[:2] == "40"
    return socket


async def by_polling(url: str) -> Polling:
    """The same."""
    polling = await Polling(url, clients(HUB)).open()
    await polling.send("40")
    assert (await polling.poll())[:2] == "40"
    return polling


async def says_goodbye(url: str) -> None:
    async with await by_websocket(url) as socket:
        await socket.send("1")
        await socket.ended()


async def closes_the_websocket(url: str) -> None:
    async with await by_websocket(url) as socket:
        await socket.raw(frame(CLOSE, (1000).to_bytes(2, "big")))
        await socket.ended()


async def breaks_off(url: str) -> None:
    (await by_websocket(url)).http.writer.transport.abort()


async def breaks_the_protocol(url: str) -> None:
    async with await by_websocket(url) as socket:
        await socket.send("4abc")
        await socket.ended()


async def says_goodbye_by_polling(url: str) -> None:
    await (await by_polling(url)).send("1")


async def breaks_the_protocol_by_polling(url: str) -> None:
    polling = await by_polling(url)
    await polling.post("4abc")
    await polling.get()


async def upgrades(url: str) -> None:
    polling = await by_polling(url)
    async with await WebSocket.open(url, polling.upgrade_target) as socket:
        await socket.send("2probe")
        assert await socket.text() == "3probe"
        await socket.send("5")
        await socket.send("1")
        await socket.ended()


async def fails_to_upgrade(url: str) -> None:
    polling = await by_polling(url)
    async with await WebSocket.open(url, polling.upgrade_target) as socket:
        await socket.send("2probe")
        assert await socket.text() == "3probe"
    await polling.send("1")


async def is_refused(url: str) -> None:
    await WebSocket.refused(url, clients(HUB) + OPEN + "&sid=unknown")


async def leaves_while_it_opens(url: str) -> None:
    head = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with await HttpConnection.open(url) as http:
        await http.send(request_bytes("GET", clients(HUB) + OPEN, head))
        http.writer.transport.abort()


async def reads_nothing(url: str) -> None:
    """It requests more than it may leave unread, until it is closed."""
    socket = await by_websocket(url)
    packet = frame(1, b'42["' + b"x" * 100_000 + b'"]')
    with suppress(ConnectionError):
        async with asyncio.timeout(20):
            while True:
                await socket.raw(packet)
    socket.http.writer.transport.abort()


ENDS: list[Callable[[str], Awaitable[None]]] = [
    says_goodbye,
    closes_the_websocket,
    breaks_off,
    breaks_the_protocol,
    says_goodbye_by_polling,
    breaks_the_protocol_by_polling,
    upgrades,
    fails_to_upgrade,
    is_refused,
    leaves_while_it_opens,
]


def alive() -> Counter[str]:
    """The number of the service's objects that the garbage collector tracks, by class."""
    found: Counter[str] = Counter()
    for each in gc.get_objects():
        kind = type(each)
        if str(kind.__module__).startswith(("moorage.", "picows", "uvicorn.protocols")):
            found[kind.__name__] += 1
    return found


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Disable the garbage collector, so that objects are freed only by their reference count."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def _play(
    dialect: type[AppServer | TunnelLink], end: Callable[[str], Awaitable[None]], tls: TlsSettings = NO_TLS
) -> None:
    service = Service(
        Config(
            server=ServerSettings(port=0, tls=tls),
            keys=KeySettings(primary=KEY),
            limits=EdgeLimits(outbox_bytes=200_000, outbox_hard_bytes=400_000),
        )
    )
    url = await service.start()
    try:
        async with dialect(Address(url), HUB):  # type: ignore[arg-type]
            # Objects that are created only once.
            await end(url)
            await asyncio.sleep(0.1)
            before = alive()
            for _ in range(EACH):
                await end(url)
            await _until_freed(before)
    finally:
        await service.stop(drain=False)


async def _until_freed(before: Counter[str]) -> None:
    """Wait for pending closes, which need the other side or a turn of the loop."""
    more = {"": EACH}
    for _ in range(150):
        more = {name: count - before[name] for name, count in alive().items() if name not in LINGERS}
        if max(more.values()) < EACH // 2:
            return
        await asyncio.sleep(0.1)
    raise AssertionError({name: count for name, count in more.items() if count >= EACH // 2})


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("dialect", [AppServer, TunnelLink], ids=["azure", "moorage"])
@pytest.mark.usefixtures("no_collector")
async def test_a_closed_connection_is_freed_at_once(
    dialect: type[AppServer | TunnelLink], end: Callable[[str], Awaitable[None]]
) -> None:
    await _play(dialect, end)


@pytest.mark.usefixtures("no_collector")
async def test_a_slow_client_is_freed_at_once() -> None:
    await _play(AppServer, reads_nothing)


@pytest.mark.parametrize(
    "end", [says_goodbye, breaks_off, upgrades, says_goodbye_by_polling], ids=lambda end: end.__name__
)
@pytest.mark.usefixtures("no_collector")
def test_a_closed_connection_with_tls_is_freed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: Callable[[str], Awaitable[None]]
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    files = authority.make()
    # Only uvloop's TLS is used.
    uvloop.run(_play(AppServer, end, TlsSettings(cert_file=str(files.cert), key_file=str(files.key))))


@pytest.mark.parametrize("dialect", [AppServer, TunnelLink], ids=["azure", "moorage"])
async def test_many_clients_that_connect_and_disconnect_leave_no_memory_behind(
    dialect: type[AppServer | TunnelLink],
) -> None:
    with MoorageProcess() as service:
        async with dialect(service, HUB):

            async def come_and_go(count: int) -> None:
                for _ in range(count // 20):
                    await asyncio.gather(*(says_goodbye(service.url) for _ in range(20)))

            await come_and_go(1_000)
            before = service.memory("VmRSS")
            await come_and_go(2_000)
            assert service.memory("VmRSS") - before < 1.5 * 1024 * 1024
