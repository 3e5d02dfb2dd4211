"""Ports with TLS and with PROXY headers: real services, and connections by hand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from moorage.edge.tcp.header import SIGNATURE, Source, proxy_header
from tests.support.app_link import AppServer
from tests.support.certificates import DAY, Authority
from tests.support.rawhttp import HttpConnection, Polling, clients, request_bytes
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    """An authority that this process trusts."""
    made = Authority(tmp_path_factory.mktemp("tls"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(made.file))
        yield made


@pytest.fixture(scope="module")
def service(authority: Authority) -> Iterator[MoorageProcess]:
    """A service with TLS."""
    with MoorageProcess(*authority.make().flags) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(authority: Authority) -> Iterator[MoorageProcess]:
    """A service with TLS 1.3 that soon gives up connections without a request."""
    with MoorageProcess(
        *authority.make().flags, "--set=server.header_timeout=3", "--set=server.tls.min_version=1.3"
    ) as running:
        yield running


HEALTH = request_bytes("GET", "/healthz", {"Connection": "close"})


def _client_hello() -> bytes:
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1").do_handshake()
    return outgoing.read()


CLIENT_HELLO = _client_hello()


def certificate(service: MoorageProcess, version: ssl.TLSVersion | None = None) -> dict[str, object]:
    """What a new client sees of the certificate."""
    host, port = service.url.removeprefix("https://").split(":")
    context = ssl.create_default_context()
    if version is not None:
        context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection((host, int(port))) as tcp,
        context.wrap_socket(tcp, server_hostname=host) as tls,
    ):
        return dict(tls.getpeercert() or {})


async def test_every_transport(service: MoorageProcess) -> None:
    assert service.url.startswith("https://")
    async with AppServer(service, "main") as app:
        path = clients("main")
        large = f'42["{"x" * 400_000}"]'
        async with await WebSocket.session(service.url, path) as client:
            await client.send(large)
            assert await app.message(client.sid) == large
            assert await client.text() == large
            for number in range(200):
                await app.send(client.sid, f"42[{number}]")
            assert [await client.text() for _ in range(200)] == [f"42[{number}]" for number in range(200)]
        poller = await Polling(service.url, path).open()
        await poller.post("42[1]")
        assert (await poller.get()).text == "42[1]"


async def test_an_upgrade_from_polling(service: MoorageProcess) -> None:
    async with AppServer(service, "up"):
        poller = await Polling(service.url, clients("up")).open()
        target = f"{clients('up')}?EIO=4&transport=websocket&sid={poller.sid}"
        async with await WebSocket.open(service.url, target) as client:
            await client.send("2probe")
            assert await client.text() == "3probe"
            await client.send("5")
            await client.send("42[1]")
            assert await client.text() == "42[1]"


async def test_the_app_sees_that_the_connection_is_secure(service: MoorageProcess) -> None:
    status, _ = service.get("/healthz")
    assert status == 200
    # The audience of a token is the URL that the client uses, https included.
    reply = await WebSocket.refused(service.url, "/clients/socketio/hubs/main/?EIO=4&transport=websocket")
    assert reply.json()["reason"] == "no-app-server"


async def test_a_client_without_tls_is_counted(hasty: MoorageProcess) -> None:
    name = 'moorage_refusals_total{door="http",reason="tls-handshake"}'
    before = hasty.metric(name)
    plain = hasty.url.replace("https", "http")
    async with await HttpConnection.open(plain) as http:
        await http.send(request_bytes("GET", "/healthz"))
        assert b"HTTP" not in await http.rest()
    with pytest.raises(ssl.SSLError):
        certificate(hasty, ssl.TLSVersion.TLSv1_2)
    async with await HttpConnection.open(plain) as http:
        # A client that sends nothing is cut off, as on a plain port.
        assert await http.rest() == b""
    assert hasty.metric(name) == before + 3
    # The address tells whose client, or whose app server, it was.
    hasty.wait_line(lambda line: "tls-handshake" in line and "127.0.0.1: the client sent nothing" in line)
    assert hasty.get("/healthz")[0] == 200


def test_many_handshakes_that_begin_together_are_all_answered(authority: Authority) -> None:
    count = 600
    with MoorageProcess(*authority.make().flags, "--set=server.header_timeout=30") as service:
        host, port = service.url.removeprefix("https://").split(":")
        held = [socket.create_connection((host, int(port))) for _ in range(count)]
        assert service.get("/healthz")[0] == 200
        for sock in held:
            sock.sendall(CLIENT_HELLO)
        assert service.get("/healthz")[0] == 200
        assert all(sock.recv(5)[0] == 0x16 for sock in held), "each gets the service's part of the handshake"
        for sock in held:
            sock.close()
        assert service.get("/healthz")[0] == 200
        assert service.metric("moorage_faults_total") == 0


def test_silent_connections_cost_no_memory_of_tls(authority: Authority) -> None:
    count = 400
    with MoorageProcess(*authority.make().flags, "--set=server.header_timeout=30") as service:
        host, port = service.url.removeprefix("https://").split(":")

        def memory() -> int:
            return int(Path(f"/proc/{service.pid}/statm").read_text().split()[1]) * 4096

        assert service.get("/healthz")[0] == 200
        before = memory()
        silent = [socket.create_connection((host, int(port))) for _ in range(count)]
        # The connections before it have been accepted when this one is answered.
        assert service.get("/healthz")[0] == 200
        assert (memory() - before) / count < 20_000
        for sock in silent:
            sock.close()


async def test_a_client_that_asks_nothing_behind_its_handshake(hasty: MoorageProcess) -> None:
    async with await HttpConnection.open(hasty.url) as http:
        assert b'"header-timeout"' in await http.rest()


async def test_a_refused_upload_gets_its_answer(service: MoorageProcess) -> None:
    # The service closes while the client still sends, and must not lose the answer over it.
    async with AppServer(service, "post"):
        poller = await Polling(service.url, clients("post")).open()
        target = f"{clients('post')}?EIO=4&transport=polling&sid={poller.sid}"
        async with await HttpConnection.open(service.url) as http:
            await http.send(request_bytes("POST", target, {"Content-Length": "20000000"}) + b"4" * 200_000)
            for _ in range(20):
                http.writer.write(b"4" * 100_000)
            assert (await http.reply()).status == 413


async def test_connections_that_fail_leave_nothing(hasty: MoorageProcess) -> None:
    async with await HttpConnection.open(hasty.url) as http:
        await http.send(HEALTH)
        await http.reply()
    before = len(list(Path(f"/proc/{hasty.pid}/fd").iterdir()))
    url = urlsplit(hasty.url)
    silent, held = [], []
    for number in range(60):
        sock = socket.create_connection((url.hostname, url.port))
        silent.append(sock)
        if number % 3 == 1:
            sock.sendall(HEALTH)
        elif number % 3 == 2:
            with pytest.raises(ssl.SSLError):
                held.append(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(sock, server_hostname="x"))
    async with asyncio.timeout(30):
        while len(list(Path(f"/proc/{hasty.pid}/fd").iterdir())) > before:
            await asyncio.sleep(0.05)  # until the time for a handshake is over
    for sock in silent:
        sock.close()


async def test_a_client_that_reads_nothing_is_closed(authority: Authority) -> None:
    flags = (*authority.make().flags, "--set=limits.outbox_bytes=1MiB", "--set=limits.slow_after=100ms")
    with MoorageProcess(*flags) as service:
        async with (
            AppServer(service, "slow") as app,
            await WebSocket.session(service.url, clients("slow")) as client,
        ):
            client.http.writer.transport.pause_reading()  # type: ignore[attr-defined]
            for _ in range(64):
                await app.send(client.sid, f'42["{"x" * 500_000}"]')
            record = service.wait_record(event="disconnect")
            assert record["reason"] == "slow-client"


async def test_a_reload_changes_the_certificate_and_no_connection(authority: Authority) -> None:
    pair = authority.make("first")
    files = {"cert_file": pair.cert, "key_file": pair.key}
    config = authority.folder / "moorage.yaml"
    key = "k" * 32
    lines = "".join(f"    {name}: {path}\n" for name, path in files.items())
    config.write_text(f"keys: {{primary: {key}}}\nserver:\n  port: 0\n  tls:\n{lines}")
    with MoorageProcess("-c", str(config), command="serve", key=key) as service:
        assert ("commonName", "first") in str_pairs(certificate(service))
        expiry = service.metric("moorage_tls_certificate_expiry_seconds")
        assert expiry == pytest.approx(time.time() + 20 * 86_400, abs=60)
        async with (
            AppServer(service, "main"),
            await WebSocket.session(service.url, clients("main")) as client,
        ):
            # The other type of key: no trace of the first certificate may stay.
            made_at = time.time()
            made = authority.make("second", with_rsa=True, end=9 * DAY)
            os.replace(made.cert, pair.cert)
            os.replace(made.key, pair.key)
            os.kill(service.pid, signal.SIGHUP)
            service.wait_record(event="reloaded")
            expires = service.wait_record(event="certificate reloaded")["expires"]
            assert expires.startswith(time.strftime("%Y-%m-%d", time.gmtime(made_at + 9 * 86_400)))
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                assert ("commonName", "second") in str_pairs(certificate(service, version))
            await client.send("42[1]")
            assert await client.text() == "42[1]"

            pair.key.write_text("no key")
            os.kill(service.pid, signal.SIGHUP)
            refused = service.wait_record(event="reload refused")
            assert "server.tls.key_file" in refused["problems"][0]
            assert ("commonName", "second") in str_pairs(certificate(service))
            await client.send("42[2]")
            assert await client.text() == "42[2]"
        assert service.metric("moorage_tls_certificate_expiry_seconds") < expiry


def str_pairs(seen: dict[str, object]) -> set[tuple[str, str]]:
    """The fields of a certificate's subject."""
    return {field for group in seen["subject"] for field in group}  # type: ignore[attr-defined]


def test_bad_files_stop_the_start(authority: Authority) -> None:
    pair = authority.make("bad")
    pair.cert.write_text("no certificate")
    for workers in ("1", "2"):
        flags = ("--port=0", "--set=keys.primary=" + "k" * 32, f"--workers={workers}", *pair.flags)
        command = [sys.executable, "-m", "moorage", "serve", *flags]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == 1
        assert "moorage: server.tls.cert_file: " in ended.stderr
        assert "no certificate in it" in ended.stderr


# -- PROXY headers --------------------------------------------------------------------------------------


TRUSTING = ("--set=server.proxy_protocol=true", "--set=server.trusted_proxies=127.0.0.1")


@pytest.fixture(scope="module")
def behind() -> Iterator[MoorageProcess]:
    """A service that trusts 127.0.0.1 as a proxy, but not 127.0.0.2."""
    with MoorageProcess(*TRUSTING, "--set=server.host=0.0.0.0") as running:
        running.url = running.url.replace("0.0.0.0", "127.0.0.1")
        yield running


async def proxied(service: MoorageProcess, *pieces: bytes, local: str = "127.0.0.1") -> bytes:
    """The answer to these bytes on a connection from `local`."""
    url = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port, local_addr=(local, 0))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(30):
            while part := await reader.read(65_536):
                answer += part
    writer.close()
    return answer


CLIENT = proxy_header(Source("192.0.2.7", 4711))
IPV6 = proxy_header(Source("2001:db8::7", 4711))
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


@pytest.mark.parametrize(
    "header", [CLIENT, IPV6, LOCAL, CLIENT[:14] + b"\x01\x00" + CLIENT[16:] + bytes(244)]
)
async def test_a_header_is_read_up_to_its_end(behind: MoorageProcess, header: bytes) -> None:
    assert b'"ok"' in await proxied(behind, header + HEALTH)
    assert b'"ok"' in await proxied(behind, *(bytes([byte]) for byte in header), HEALTH)
    assert b'"ok"' in await proxied(behind, header, HEALTH[:10], HEALTH[10:])


async def test_strangers_need_no_header_and_must_not_have_one(behind: MoorageProcess) -> None:
    assert b'"ok"' in await proxied(behind, HEALTH, local="127.0.0.2")
    refusal = await proxied(behind, CLIENT, HEALTH, local="127.0.0.2")
    assert b'"proxy-refused"' in refusal and b"trusted proxy: 127.0.0.2" in refusal


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (HEALTH, b"does not begin with one"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n", b"send-proxy-v2"),
        (SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12), b"unknown version"),
        (SIGNATURE + b"\x21\x11\x00\x04" + bytes(4), b"too short"),
        (SIGNATURE + b"\x21\x11\xff\xff" + bytes(40), b"longer than"),
    ],
)
async def test_a_trusted_proxy_must_send_a_good_header(
    behind: MoorageProcess, sent: bytes, told: bytes
) -> None:
    answer = await proxied(behind, sent)
    assert told in answer and b"not valid: 127.0.0.1: " in answer


async def test_a_trusted_proxy_must_send_its_header_in_time() -> None:
    with MoorageProcess(*TRUSTING, "--set=server.header_timeout=1") as service:
        for answer in await asyncio.gather(proxied(service, CLIENT[:20]), proxied(service, b"")):
            assert b"header-timeout" in answer and b": 127.0.0.1" in answer


async def test_each_refusal_is_counted(behind: MoorageProcess) -> None:
    def counts() -> list[int]:
        text = behind_metrics()
        return [
            int(float(line.rpartition(" ")[2]))
            for reason in ("proxy-refused", "bad-proxy-header")
            for line in text.splitlines()
            if f'reason="{reason}"' in line
        ]

    def behind_metrics() -> str:
        url = urlsplit(behind.url)
        with socket.create_connection((url.hostname, url.port), source_address=("127.0.0.2", 0)) as tcp:
            tcp.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: tcp.recv(65_536), b"")).decode()

    await proxied(behind, CLIENT, HEALTH, local="127.0.0.2")
    await proxied(behind, HEALTH)
    before = counts()
    await proxied(behind, CLIENT, HEALTH, local="127.0.0.2")
    await proxied(behind, HEALTH)
    assert counts() == [before[0] + 1, before[1] + 1]


async def test_a_connection_that_breaks_before_its_header_is_no_handshake(authority: Authority) -> None:
    # As balancers do that only look whether the port is open.
    with MoorageProcess(*authority.make("probe").flags, *TRUSTING) as service:
        url = urlsplit(service.url)
        for _ in range(3):
            probe = socket.create_connection((url.hostname, url.port))
            probe.sendall(CLIENT[:4])
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            probe.close()
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(CLIENT)
        await writer.start_tls(ssl.create_default_context(), server_hostname="127.0.0.1")
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert b'reason="tls-handshake"' not in await reader.read()
        writer.close()


async def test_tls_comes_behind_the_header(authority: Authority) -> None:
    with MoorageProcess(*authority.make("both").flags, *TRUSTING) as service:
        url = urlsplit(service.url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(CLIENT)
        await writer.start_tls(ssl.create_default_context(), server_hostname="127.0.0.1")
        writer.write(HEALTH)
        assert b'"ok"' in await reader.read(65_536)
        writer.close()
        # Without TLS there is nothing in which the refusal could be sent.
        assert await proxied(service, HEALTH) == b""
