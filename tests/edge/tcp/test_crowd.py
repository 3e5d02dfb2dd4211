"""Fairness between addresses before and during TLS handshakes: the parts alone, a gate in this process whose
turns are counted, and a real service in a flood."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from moorage.edge.settings import TlsSettings
from moorage.edge.tcp import gate
from moorage.edge.tcp.crowd import Crowd, Queue
from moorage.edge.tcp.files import Files
from moorage.edge.tcp.gate import Gate, listening
from moorage.edge.tcp.tls import Tls
from moorage.metrics.metrics import Metrics
from moorage.wire.errors import PeerError
from tests.support.certificates import Authority
from tests.support.rawhttp import request_bytes
from tests.support.service import MoorageProcess

FLOOD, HONEST = "127.0.0.2", "127.0.0.1"
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "discard", "oldest"]), st.sampled_from("abc"), st.integers(0, 5))
)


@given(STEPS)
def test_the_largest_address_loses_its_oldest(steps: list[tuple[str, str, int]]) -> None:
    crowd: Crowd[tuple[str, int]] = Crowd(4)
    model: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for step, address, number in steps:
        one = (address, number)
        if step == "add" and one not in model[address]:
            crowd.add(address, one)
            model[address].append(one)
        elif step == "discard":
            crowd.discard(address, one)
            if one in model[address]:
                model[address].remove(one)
        elif step == "oldest" and len(crowd):
            address, number = taken = crowd.take_oldest()
            assert len(model[address]) == max(map(len, model.values()))
            assert model[address].pop(0) == taken
        assert len(crowd) == sum(map(len, model.values()))
        assert crowd.is_full == (len(crowd) >= 4)


def test_addresses_take_turns_and_each_keeps_its_order() -> None:
    queue: Queue[str] = Queue()
    for one in ("a1", "a2", "a3", "b1", "c1", "c2"):
        queue.add(one[0], one)
    taken = [queue.take() for _ in range(3)]
    queue.add("b", "b2")
    while queue:
        taken.append(queue.take())
    assert taken == ["a1", "b1", "c1", "a2", "c2", "b2", "a3"]


class Port:
    """A gate with TLS in this process, and connections to it that never wait for anything."""

    def __init__(self, tls: Tls, context: ssl.SSLContext) -> None:
        self.refused: list[PeerError] = []
        sockets = listening("127.0.0.1", 0, backlog=4096, shared=False)
        self.address = sockets[0].getsockname()
        self.gate = Gate(
            sockets,
            lambda _source: asyncio.Protocol(),
            tls=tls,
            proxies=None,
            refused=self._refused,
            files=Files(Metrics("test")),
            timeout=60.0,
        )
        self.hello = client_hello(context)
        self.made: list[socket.socket] = []

    def _refused(self, error: PeerError) -> None:
        self.refused.append(error)

    def connect(self, address: str, *, hello: bool) -> socket.socket:
        """A connection from `address`, silent or with the beginning of a handshake."""
        sock = socket.create_connection(self.address, source_address=(address, 0))
        sock.setblocking(False)
        if hello:
            sock.sendall(self.hello)
        self.made.append(sock)
        return sock

    async def turns(self, *, until: socket.socket) -> None:
        """Turns of the event loop until this connection is answered or closed."""
        async with asyncio.timeout(60):
            while state(until) == "":
                await asyncio.sleep(0)

    async def close(self) -> None:
        self.gate.close()
        self.gate.abort()
        for sock in self.made:
            sock.close()
        await asyncio.sleep(0.01)


def state(sock: socket.socket) -> str:
    """`answered`, `closed`, or empty while nothing has come."""
    try:
        return "answered" if sock.recv(1, socket.MSG_PEEK) else "closed"
    except BlockingIOError:
        return ""
    except ConnectionResetError:
        return "closed"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls(authority: Authority) -> Tls:
    pair = authority.make()
    return Tls(TlsSettings(cert_file=str(pair.cert), key_file=str(pair.key)))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A gate that is full with so many."""
    monkeypatch.setattr(gate, "MAX_PENDING", 40)
    monkeypatch.setattr(gate, "MAX_HANDSHAKES", 40)
    yield 40


def run(tls: Tls, authority: Authority, test: object) -> None:
    """Run the test with a port, on the event loop whose TLS the service uses."""

    async def main() -> None:
        port = Port(tls, ssl.create_default_context(cafile=str(authority.file)))
        try:
            await test(port)  # type: ignore[operator]
        finally:
            await port.close()

    uvloop.run(main())


def test_a_new_client_does_not_wait_behind_the_handshakes_of_another_address(
    tls: Tls, authority: Authority
) -> None:
    async def test(port: Port) -> None:
        flood = [port.connect(FLOOD, hello=True) for _ in range(300)]
        await port.turns(until=flood[0])
        honest = port.connect(HONEST, hello=True)
        await port.turns(until=honest)
        assert state(honest) == "answered"
        assert sum(state(sock) == "answered" for sock in flood) < 200
        await port.turns(until=flood[-1])
        assert all(state(sock) == "answered" for sock in flood), "the others wait, and are answered too"
        assert port.refused == []

    run(tls, authority, test)


@pytest.mark.parametrize("hello", [False, True])
def test_silent_and_slow_handshakes_end_when_there_are_too_many(
    tls: Tls, authority: Authority, small: int, *, hello: bool
) -> None:
    async def test(port: Port) -> None:
        # Silent until the end of the test.
        honest = port.connect(HONEST, hello=False)
        flood = [port.connect(FLOOD, hello=hello) for _ in range(2 * small)]
        async with asyncio.timeout(60):
            while len(port.refused) < small:
                await asyncio.sleep(0)
        last = port.connect(HONEST, hello=True)
        await port.turns(until=last)
        assert state(last) == "answered"
        assert state(honest) == ""
        if not hello:
            for sock in flood[: small // 2]:
                await port.turns(until=sock)
                assert state(sock) == "closed", "the oldest of the flood"
        assert {error.reason.name for error in port.refused} == {"tls-handshake"}
        assert all("too many" in str(error) for error in port.refused)

    run(tls, authority, test)


@pytest.mark.parametrize("hello", [False, True])
def test_a_flood_that_takes_all_descriptors_gives_way(authority: Authority, *, hello: bool) -> None:
    with MoorageProcess(*authority.make().flags, "--set=server.header_timeout=120") as service:
        port = int(service.url.rpartition(":")[2])
        context = ssl.create_default_context(cafile=str(authority.file))

        def healthy() -> bool:
            with (
                socket.create_connection((HONEST, port), timeout=60) as tcp,
                context.wrap_socket(tcp, server_hostname=HONEST) as tls,
            ):
                tls.sendall(request_bytes("GET", "/healthz"))
                return tls.recv(4096).startswith(b"HTTP/1.1 200")

        assert healthy()
        taken = len(list(Path(f"/proc/{service.pid}/fd").iterdir()))
        resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (taken + 20, taken + 20))
        flood = [socket.create_connection((HONEST, port), source_address=(FLOOD, 0)) for _ in range(60)]
        if hello:
            for sock in flood:
                with contextlib.suppress(OSError):
                    sock.sendall(client_hello(context))
        assert healthy()
        assert service.wait_record(event="connections not accepted")["files"] == taken + 20
        for sock in flood:
            sock.close()


def client_hello(context: ssl.SSLContext) -> bytes:
    """The first message of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=HONEST).do_handshake()
    return outgoing.read()
