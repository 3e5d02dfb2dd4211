from __future__ import annotations

import asyncio

import pytest

from moorage.cluster.nats.broker import NatsBroker
from moorage.cluster.nats.connection import LARGE_READ, MAX_LINE, MAX_QUEUED, NatsConnection
from moorage.cluster.nats.login import NatsError
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
        self.reads = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def opened(received: list[bytes], chunks: list[bytes] | None = None) -> tuple[NatsConnection, Wire]:
    """A connection that has logged in."""
    connection = NatsConnection(received.append, (received if chunks is None else chunks).append)
    wire = Wire()
    connection.connection_made(wire)
    connection.data_received(INFO)
    connection.log_in({"name": "n"}, ("one", "two"))
    return connection, wire


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_messages_arrive_in_order_however_the_bytes_are_cut(size: int) -> None:
    received: list[bytes] = []
    chunks: list[bytes] = []
    connection, _ = opened(received, chunks)
    data = b"PONG\r\nMSG one 1 4\r\n\0a\r\n\r\nMSG two 2 0\r\n\r\n+OK\r\nMSG one 1 reply 6\r\n\0MSG x\r\n"
    data += b"MSG one 1 1\r\n\0\r\nMSG one 1 2\r\n\1c\r\n"
    for at in range(0, len(data), size):
        connection.data_received(data[at : at + size])
    assert received == [b"a\r\n", b"MSG x", b""]
    assert chunks == [b"", b"\1c"]
    await connection.opened


async def test_the_login_comes_before_the_subscriptions() -> None:
    _, wire = opened([])
    login, *rest = wire.written.decode().split("\r\n")
    assert login == 'CONNECT {"name": "n"}'
    assert rest == ["SUB one 1", "SUB two 2", "PUB one 0", "", "PING", ""]


async def test_a_server_that_is_being_stopped_is_left_for_another() -> None:
    connection, wire = opened([])
    connection.data_received(b'INFO {"max_payload":1000,"ldm":true,"connect_urls":["a:1"]}\r\n')
    assert (connection.servers, wire.aborted) == (("a:1",), True)


async def test_the_loop_has_its_turn_after_a_large_read() -> None:
    received: list[bytes] = []
    connection, wire = opened(received)
    message = b"MSG one 1 1001\r\n" + b"\0" + b"x" * 1000 + b"\r\n"
    reads: list[bool] = []
    connection.data_received(message)
    reads.append(wire.reads)
    connection.data_received(message * (LARGE_READ // len(message) + 1))
    reads.append(wire.reads)
    await asyncio.sleep(0)
    reads.append(wire.reads)
    assert reads == [True, False, True]
    connection.data_received(message * (LARGE_READ // len(message) + 1))
    wire.abort()
    await asyncio.sleep(0)
    assert not wire.reads, "the connection is closed"


async def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    connection, wire = opened([])
    connection.data_received(b"x" * (MAX_LINE + 1))
    assert wire.aborted


async def test_a_ping_of_the_server_is_answered() -> None:
    connection, wire = opened([])
    wire.written = b""
    connection.data_received(b"PING\r\n")
    assert wire.written == b"PONG\r\n"


async def test_everything_queued_in_one_turn_is_written_at_once() -> None:
    connection, wire = opened([])
    wire.written = b""
    connection.publish(b"PUB one ", b"\0", b"abc")
    connection.publish(b"PUB two ", b"", b"")
    assert wire.written == b""
    await asyncio.sleep(0)
    assert wire.written == b"PUB one 4\r\n\0abc\r\nPUB two 0\r\n\r\n"


async def test_a_server_that_does_not_read_is_given_up() -> None:
    connection, wire = opened([])
    wire.written, wire.unread = b"", MAX_QUEUED + 1
    connection.publish(b"PUB one ", b"\0", b"abc")
    connection.flush()
    assert wire.aborted
    connection.publish(b"PUB one ", b"", b"more")
    connection.flush()
    assert wire.written == b"PUB one 4\r\n\0abc\r\n"


async def test_the_reason_of_the_server_is_told() -> None:
    connection, _ = opened([])
    connection.data_received(b"-ERR 'Authorization Violation'\r\n")
    connection.connection_lost(None)
    with pytest.raises(NatsError, match="Authorization Violation"):
        await connection.opened


@pytest.mark.parametrize("late", [False, True], ids=["at the login", "later"])
async def test_a_node_that_may_not_use_a_subject_has_no_connection(late: bool) -> None:
    connection, wire = opened([])
    said: list[str] = []
    connection.ended = said.append
    refusal = b"-ERR 'Permissions Violation for Subscription to \"two\"'\r\n"
    for data in (b"PONG\r\n", refusal) if late else (refusal + b"PONG\r\n",):
        connection.data_received(data)
        await asyncio.sleep(0)
    assert wire.aborted
    assert connection.opened.done() is late
    connection.connection_lost(None)
    assert said == ['Permissions Violation for Subscription to "two"']


async def test_garbage_ends_the_connection() -> None:
    received: list[bytes] = []
    connection, wire = opened(received)
    connection.data_received(b"MSG one 1 many\r\n")
    assert wire.aborted
    assert received == []


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"INFO {}\r\n", b"INFO x\r\n", b""])
async def test_a_server_of_something_else_is_refused(says: bytes) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(UsageError, match=rf"cluster\.nats_url: .*nats://127\.0\.0\.1:{port}: "):
            await NatsBroker(ClusterSettings(nats_url=(f"nats://127.0.0.1:{port}",)), "n0").connect()
