"""Two real nodes on one machine: connections are passed, not relayed."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from moorage.edge.relay.passing import MAX_DATA, Passing
from tests.edge.relay.test_relay import Pair, refusal
from tests.support.app_link import AppServer
from tests.support.http_port import UPGRADE
from tests.support.rawhttp import HttpConnection, Polling, Reply, clients, request_bytes
from tests.support.rawws import TEXT, WebSocket, frame
from tests.support.service import MoorageProcess
from tests.support.two_nodes import two_nodes

PASSED = "moorage_cluster_passed_connections_total"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[MoorageProcess]]:
    folder = tmp_path_factory.mktemp("run")
    with two_nodes(env={"MOORAGE_RUN_DIR": str(folder)}) as running:
        yield running


@pytest.fixture
async def pair(nodes: list[MoorageProcess], hub: str) -> AsyncIterator[Pair]:
    owner, other = nodes
    async with AppServer(owner, hub) as app:
        yield Pair(owner, app, other)


async def passed(pair: Pair) -> float:
    """The counter at the other node."""
    return await asyncio.to_thread(pair.other.metric, PASSED)


async def test_a_polling_session_lives_on_requests_to_the_other_node(pair: Pair) -> None:
    before = await passed(pair)
    polling = await pair.open()
    await polling.send("40")
    assert (await polling.poll()).startswith("40{")
    waiting = asyncio.create_task(polling.poll())
    await polling.send('42["hello",{"n":1}]')
    assert await waiting == '42["hello",{"n":1}]'
    assert await passed(pair) == before + 4
    assert await pair.relayed() == 0


async def test_one_connection_serves_sessions_of_both_nodes_in_turn(pair: Pair, hub: str) -> None:
    async with AppServer(pair.other, hub):
        there = await pair.open()
        here = await Polling(pair.other.url, clients(hub)).open()
        async with await HttpConnection.open(pair.other.url) as http:
            for number in range(5):
                for polling in (there, here):
                    await http.send(request_bytes("POST", polling.target, body=b"40/%d," % number))
                    assert (await http.reply()).body == b"ok", number


@pytest.mark.parametrize("split", [False, True])
async def test_requests_that_wait_behind_are_not_lost(split: bool, pair: Pair) -> None:
    polling = await pair.open()
    requests = [request_bytes("POST", polling.target, body=b"40/%d," % number) for number in range(3)]
    requests += [request_bytes("GET", polling.target)]
    async with await HttpConnection.open(pair.other.url) as http:
        data = b"".join(requests)
        # The rest arrives when the first part has been passed, or is about to be.
        end = len(requests[0]) + len(requests[1]) // 2 if split else len(data)
        await http.send(data[:end])
        await http.send(data[end:])
        for _ in range(3):
            assert (await http.reply()).body == b"ok"
        assert (await http.reply()).text.startswith("40/0,")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_that_comes_slowly(chunked: bool, pair: Pair) -> None:
    polling = await pair.open()
    await polling.send("40")
    await polling.poll()
    packet = f'42["large","{"x" * 900_000}"]'.encode()
    head = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(packet))}
    async with await HttpConnection.open(pair.other.url) as http:
        await http.send(request_bytes("POST", polling.target, head))
        for start in range(0, len(packet), 300_000):
            part = packet[start : start + 300_000]
            await http.send(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
            await asyncio.sleep(0.02)  # so that the parts are read one by one
        await http.send(b"0\r\n\r\n" if chunked else b"")
        assert (await http.reply()).body == b"ok"
    assert await polling.poll() == packet.decode()


@pytest.mark.parametrize("early", [b"", frame(TEXT, b"2probe")])
async def test_an_upgrade_is_passed_with_what_is_behind_it(early: bytes, pair: Pair) -> None:
    polling = await pair.open()
    async with await HttpConnection.open(pair.other.url) as http:
        await http.send(request_bytes("GET", polling.upgrade_target, UPGRADE) + early)
        assert (await http.reply()).status == 101
        socket = WebSocket(http)
        if not early:
            await socket.send("2probe")
        assert await socket.text() == "3probe"
        await socket.send("5")
        await socket.send("40")
        assert (await socket.text()).startswith("40{")
        assert await pair.relayed() == 0
    assert (await pair.app.event("disconnected")).connection == polling.sid


async def test_a_session_that_no_node_has_is_unknown(pair: Pair) -> None:
    node = (await pair.open()).sid[:8]
    for sid in (f"{node}_no_such_session", "nodeWITH", "../../x"):
        polling = Polling(pair.other.url, clients(pair.app.hub))
        polling.sid = sid
        replies: list[Reply] = [await polling.get(), await polling.post("40")]
        replies.append(await WebSocket.refused(pair.other.url, polling.upgrade_target))
        assert [refusal(reply) for reply in replies] == ["unknown-sid"] * 3


# -- the socket itself --------------------------------------------------------------------------------------


async def test_a_connection_and_its_bytes_arrive(tmp_path: Path) -> None:
    arrived: asyncio.Queue[tuple[socket.socket, bytes]] = asyncio.Queue()
    here = Passing(tmp_path, "here", lambda *_: None)
    there = Passing(tmp_path, "there", lambda *found: arrived.put_nowait(found))
    here.start()
    there.start()
    near, far = socket.socketpair()
    try:
        for data in (b"", b"bytes", b"x" * MAX_DATA):
            assert await here.give("there", far.fileno(), data)
            found, read = await arrived.get()
            with found:
                assert read == data
                found.send(b"answer")
            assert near.recv(10) == b"answer"
        assert here.passed == 3
        assert not await here.give("there", far.fileno(), b"x" * (MAX_DATA + 1))
        assert not await here.give("nobody", far.fileno(), b"")
        assert not await here.give("../there", far.fileno(), b"")
    finally:
        near.close()
        far.close()
        there.close()
        here.close()
    assert not await here.give("there", 0, b"")
    assert list(tmp_path.iterdir()) == [], "each has removed its socket"


async def test_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    taken: list[bytes] = []

    def take(sock: socket.socket, data: bytes) -> None:
        sock.close()
        taken.append(data)

    here, there = Passing(tmp_path, "here", take), Passing(tmp_path, "there", take)
    here.start()
    there.start()
    near, far = socket.socketpair()
    try:
        done = await asyncio.gather(*(here.give("there", far.fileno(), b"%d" % n) for n in range(500)))
        assert all(done)
        async with asyncio.timeout(10):
            while len(taken) < 500:
                await asyncio.sleep(0)
    finally:
        near.close()
        far.close()
        here.close()
        there.close()


async def test_what_is_not_a_connection_is_dropped(tmp_path: Path) -> None:
    taken: list[bytes] = []
    there = Passing(tmp_path, "there", lambda _sock, data: taken.append(data))
    there.start()
    assert os.stat(tmp_path / "there.sock").st_mode & 0o077 == 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"no descriptor", str(tmp_path / "there.sock"))
    await asyncio.sleep(0.05)
    assert taken == []
    there.close()
