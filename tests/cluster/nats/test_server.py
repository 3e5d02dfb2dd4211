"""The private NATS server, as a real process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from moorage.cluster.nats import server as nats_server
from moorage.cluster.nats.server import NatsServer, exit_text
from moorage.wire.errors import UsageError


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    made = NatsServer(nats_server.find(), tmp_path)
    await made.start()
    yield made
    await made.stop()


async def talk(url: str, token: str) -> bytes:
    """The answer to a CONNECT and a PING."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    async with asyncio.timeout(10):
        await reader.readline()
        writer.write(b'CONNECT {"verbose":false,"auth_token":"%s"}\r\nPING\r\n' % token.encode())
        answer = await reader.readline()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return answer


async def test_it_listens_on_loopback_and_wants_its_token(server: NatsServer, tmp_path: Path) -> None:
    token = urlsplit(server.url).username
    assert token is not None and len(token) == 32
    assert urlsplit(server.url).hostname == "127.0.0.1"
    assert await talk(server.url, token) == b"PONG\r\n"
    assert b"Authorization Violation" in await talk(server.url, "wrong")
    assert list(tmp_path.iterdir()) == [], "the token is in no file"


async def test_nothing_listens_after_the_end(server: NatsServer) -> None:
    await server.stop()
    parts = urlsplit(server.url)
    assert parts.hostname is not None and parts.port is not None
    with pytest.raises(OSError, match="refused"), socket.create_connection((parts.hostname, parts.port), 1):
        pass


async def test_a_program_that_does_not_start_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "nats-server"
    program.write_text("#!/bin/sh\necho no luck today >&2\n")
    program.chmod(0o700)
    with pytest.raises(UsageError, match="does not start: no luck today"):
        await NatsServer(str(program), tmp_path).start()
    with pytest.raises(UsageError, match="cannot be used"):
        await NatsServer(str(tmp_path / "none"), tmp_path).start()


async def test_after_a_write_error_it_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_server, "MEND_SECONDS", 0.05)
    starts, program = tmp_path / "starts", tmp_path / "nats-server"
    program.write_text(
        f"#!/bin/sh\necho >> {starts}\n"
        "echo '[1] [INF] Listening for client connections on 127.0.0.1:4222' >&2\n"
        "echo '[1] [INF] Server is ready' >&2\n"
        f"test $(wc -l < {starts}) -gt 1 || echo '[1] [WRN] Filestore [a] Critical write error: disk' >&2\n"
        "exec sleep 60\n"
    )
    program.chmod(0o700)
    made = NatsServer(str(program), tmp_path)
    await made.start()
    async with asyncio.timeout(10):
        while starts.read_text() != "\n\n":
            await asyncio.sleep(0.02)  # between two looks at the file
    await made.stop()


async def test_a_full_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / "nats.conf").symlink_to("/dev/full")
    with pytest.raises(UsageError, match=r"No space left on device: .*nats\.conf"):
        await NatsServer(nats_server.find(), tmp_path).start()


def test_the_end_of_a_process_in_words() -> None:
    assert [exit_text(code) for code in (0, 3, -9)] == ["exit code 0", "exit code 3", "signal SIGKILL"]
    assert exit_text(-300) == "signal 300"
