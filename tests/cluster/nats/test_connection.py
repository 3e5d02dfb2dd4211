from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from moorage.cluster.nats.broker import NatsBroker
from moorage.cluster.nats.connection import MAX_QUEUED, NatsConnection, NatsError
from moorage.cluster.settings import ClusterSettings
from moorage.wire.errors import UsageError

INFO = b'INFO {"max_payload":1000}\r\n'


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False
        self.unread = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def opened(received: list[bytes], url: str = "nats://a") -> tuple[NatsConnection, Wire]:
    """A connection whose server has said its first line."""
    connection = NatsConnection(urlsplit(url), "name", ("one", "two"), receive=received.append)
    wire = Wire()
    connection.connection_made(wire)
    connection.data_received(INFO)
    return connection, wire


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_messages_arrive_in_order_however_the_bytes_are_cut(size: int) -> None:
    received: list[bytes] = []
    connection, _ = opened(received)
    data = b"PONG\r\nMSG one 1 3\r\na\r\n\r\nMSG two 2 0\r\n\r\n+OK\r\nMSG one 1 reply 5\r\nMSG x\r\n"
    for at in range(0, len(data), size):
        connection.data_received(data[at : at + size])
    assert received == [b"a\r\n", b"", b"MSG x"]
    await connection.opened


async def test_the_login_comes_before_the_subscriptions() -> None:
    _, wire = opened([], "nats://us%20er:pass%2Fword@a")
    login, *rest = wire.written.decode().split("\r\n")
    assert '"user": "us er", "pass": "pass/word"' in login
    assert rest == ["SUB one 1", "SUB two 2", "PING", ""]


async def test_a_token() -> None:
    assert b'"auth_token": "secret"' in opened([], "nats://secret@a")[1].written


async def test_a_ping_of_the_server_is_answered() -> None:
    connection, wire = opened([])
    wire.written = b""
    connection.data_received(b"PING\r\n")
    assert wire.written == b"PONG\r\n"


async def test_everything_queued_in_one_turn_is_written_at_once() -> None:
    connection, wire = opened([])
    wire.written = b""
    connection.publish(b"PUB one ", b"abc")
    connection.publish(b"PUB two ", b"")
    assert wire.written == b""
    await asyncio.sleep(0)
    assert wire.written == b"PUB one 3\r\nabc\r\nPUB two 0\r\n\r\n"


async def test_a_server_that_does_not_read_is_given_up() -> None:
    connection, wire = opened([])
    wire.written, wire.unread = b"", MAX_QUEUED + 1
    connection.publish(b"PUB one ", b"abc")
    connection.flush()
    assert wire.aborted
    connection.publish(b"PUB one ", b"more")
    connection.flush()
    assert wire.written == b"PUB one 3\r\nabc\r\n"


async def test_the_reason_of_the_server_is_told() -> None:
    connection, _ = opened([])
    connection.data_received(b"-ERR 'Authorization Violation'\r\n")
    connection.connection_lost(None)
    with pytest.raises(NatsError, match="Authorization Violation"):
        await connection.opened


async def test_garbage_ends_the_connection() -> None:
    received: list[bytes] = []
    connection, wire = opened(received)
    connection.data_received(b"MSG one 1 many\r\n")
    assert wire.aborted
    assert received == []


async def test_a_server_that_requires_tls_is_refused() -> None:
    connection = NatsConnection(urlsplit("nats://a"), "name", (), receive=print)
    wire = Wire()
    connection.connection_made(wire)
    connection.data_received(b'INFO {"max_payload":1000,"tls_required":true}\r\n')
    assert wire.aborted
    connection.connection_lost(None)
    with pytest.raises(NatsError, match="requires TLS"):
        await connection.opened


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"INFO {}\r\n", b"INFO x\r\n", b""])
async def test_a_server_of_something_else_is_refused(says: bytes) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(UsageError, match=rf"cluster\.nats_url: .*nats://127\.0\.0\.1:{port}: "):
            await NatsBroker(ClusterSettings(nats_url=(f"nats://127.0.0.1:{port}",)), "n0").connect()
