"""Lines that strangers cause, at a real service: few, quiet, and nobody waits for who reads them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

import pytest

from moorage import auth
from tests.support.app_link import AppServer
from tests.support.programs import free_port
from tests.support.rawhttp import Polling, clients, fetch
from tests.support.rawws import WebSocket
from tests.support.service import ROOT, START_SECONDS, MoorageProcess

pytestmark = pytest.mark.repair(5)


def records(service: MoorageProcess) -> list[dict[str, object]]:
    """All log lines so far."""
    return [json.loads(line) for line in tuple(service.lines) if line.startswith("{")]


async def test_link_requests_without_a_key_write_few_lines() -> None:
    with MoorageProcess() as service:
        for _ in range(500):
            reply = await WebSocket.refused(service.url, "/server/tunnel?hub=x")
            assert reply.status == 401
        service.wait_record(event="lines suppressed", of="refused links")

        def refused() -> int:
            return sum(line["event"] == "link refused" for line in records(service))

        suppressed = service.metric("moorage_log_lines_suppressed_total")
        async with asyncio.timeout(30):
            while refused() != 500 - suppressed:
                await asyncio.sleep(0.01)  # until the lines have come through the pipe
        assert 20 <= refused() < 100
        assert {line["level"] for line in records(service)} == {"info"}


async def test_clients_that_come_and_go_write_few_lines(hub: str) -> None:
    with MoorageProcess("--set", "log.client_lines_per_second=2") as service:

        async def come_and_go() -> None:
            async with await WebSocket.session(service.url, clients(hub)):
                pass

        async with AppServer(service, hub):
            # All at once: one after another they may take so long, on a busy machine, that each has its line.
            await asyncio.gather(*(come_and_go() for _ in range(100)))
            unknown = clients(hub) + "?EIO=4&transport=polling&sid=x"
            await asyncio.gather(*(fetch(service.url, unknown) for _ in range(100)))
        service.wait_record(event="lines suppressed", of="disconnects")
        service.wait_record(event="lines suppressed", of="connects and refusals")
        suppressed = service.metric("moorage_log_lines_suppressed_total")
        # The end of the process flushes its last lines.
        service.signal(signal.SIGTERM)
        assert await asyncio.to_thread(service.wait_exit) == 0
        events = [line["event"] for line in records(service)]
        written = sum(map(events.count, ("connect", "disconnect", "refused")))
        assert 70 <= written < 250
        # 100 connects, 100 disconnects and 100 refusals.
        assert suppressed == 300 - written


async def test_an_end_that_no_client_brings_about_is_always_written(hub: str) -> None:
    flags = (
        "--set",
        "log.client_lines_per_second=1",
        "--set",
        "shutdown.lb_wait=0s",
    )
    with MoorageProcess(*flags) as service:
        async with AppServer(service, hub):
            sockets = [await WebSocket.session(service.url, clients(hub)) for _ in range(40)]
            service.signal(signal.SIGTERM)
            assert await asyncio.to_thread(service.wait_exit) == 0
        ended = [line for line in records(service) if line["event"] == "disconnect"]
        assert [line["reason"] for line in ended] == ["draining"] * 40
        for connection in sockets:
            await connection.http.close()


@pytest.mark.repair(31)
async def test_moorage_dev_writes_a_line_for_each_client(hub: str) -> None:
    with MoorageProcess("--set", "log.format=human") as service:
        async with AppServer(service, hub):
            async with await WebSocket.session(service.url, clients(hub)):
                pass
            await Polling(service.url, clients(hub)).open()
        await fetch(service.url, clients("empty") + "?EIO=4&transport=polling")
        await WebSocket.refused(service.url, clients(hub) + "?EIO=3&transport=websocket")
        audience = service.url + clients("empty")
        token = auth.sign(auth.AccessKeys(service.key), audience, time.time(), 300.0, user="ada")
        await fetch(service.url, f"{clients('empty')}?EIO=4&transport=polling&access_token={token}")
        await fetch(service.url, "/socket.oi/?EIO=4&transport=polling")
        service.wait_line(lambda line: "path=/socket.oi/" in line)
        lines = [line.split(maxsplit=3) for line in service.lines if " client " in line]
        assert [words[3].split()[0] for words in lines] == [
            "connect",
            "connect",
            "refused",
            "refused",
            "refused",
            "refused",
        ]
        assert {words[1] for words in lines} == {"info"}
        told = [words[3] for words in lines]
        assert f"hub={hub} transport=websocket" in told[0] and "transport=polling" in told[1]
        assert "no-app-server" in told[2] and "hub=empty" in told[2]
        assert "socket.io-client 3 or newer" in told[3]
        assert "no-app-server" in told[4] and "user=ada" in told[4]
        assert "unknown-path" in told[5]


def test_a_reset_while_answers_wait_writes_nothing() -> None:
    with MoorageProcess() as service:
        request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        for _ in range(3):
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", int(service.url.rpartition(":")[2])))
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.setblocking(False)
                with contextlib.suppress(OSError):
                    client.send(request * 4000)
                wait_until_idle(service)
            assert service.get("/healthz")[0] == 200
        assert {line["level"] for line in records(service)} <= {"info"}


def wait_until_idle(service: MoorageProcess) -> None:
    """Until the service has used no CPU for a while: it answers nobody any more, or waits for a reader."""

    def used() -> int:
        fields = Path(f"/proc/{service.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before, end = -10, time.monotonic() + 30
    while (now := used()) - before > 2 and time.monotonic() < end:
        before = now
        time.sleep(0.3)


class Unread(NamedTuple):
    """A service whose output goes into a pipe that nobody reads."""

    process: subprocess.Popen[bytes]
    url: str
    key: str


@pytest.fixture
def unread() -> Iterator[Unread]:
    """It is ready."""
    port = str(free_port())
    flags = ["--set=shutdown.lb_wait=0s", "--port", port, "--access-key", "k" * 32]
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-m", "moorage", "dev", *flags],
        stdout=writing,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    ) as process:
        os.close(writing)
        try:
            made = Unread(process, f"http://127.0.0.1:{port}", "k" * 32)
            end = time.monotonic() + START_SECONDS
            while status(made.url + "/readyz") != 200:
                assert time.monotonic() < end
                time.sleep(0.05)
            yield made
        finally:
            process.kill()
            os.close(reading)


async def test_a_standard_output_that_nobody_reads_does_not_stop_the_service(unread: Unread) -> None:
    async with AppServer(cast(MoorageProcess, unread), "x"):
        # A line of some 300 bytes for each end: several times what the pipe holds.
        for _ in range(800):
            async with await WebSocket.session(unread.url, clients("x")):
                pass
        assert await asyncio.to_thread(status, unread.url + "/healthz") == 200
    unread.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(unread.process.wait, 15) == 0


def status(url: str) -> int:
    """The status of a GET; 0 if nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0
