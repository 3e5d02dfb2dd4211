"""A process without free file descriptors says so: the rule alone, and a real service at its limit."""

from __future__ import annotations

import errno
import os
import resource
import socket
from pathlib import Path

import pytest

from moorage.edge.tcp.files import Files
from moorage.metrics.metrics import Metrics
from tests.support.log_lines import fields
from tests.support.service import MoorageProcess


@pytest.mark.parametrize(
    ("number", "limit", "fix"),
    [
        (errno.EMFILE, "files of this process", "ulimit -n"),
        (errno.ENFILE, "files of this machine", "fs.file-max"),
        (errno.ENOBUFS, "memory of the kernel", "more memory"),
    ],
)
def test_a_line_names_the_limit_and_the_fix(
    caplog: pytest.LogCaptureFixture, number: int, limit: str, fix: str
) -> None:
    now, metrics = 0.0, Metrics("test")
    files = Files(metrics, clock=lambda: now)
    for _ in range(1000):
        files.lack(OSError(number, os.strerror(number)))
    now = 60.0
    files.lack(OSError(number, os.strerror(number)))
    lines = [fields(record) for record in caplog.records]
    assert [line["limit"] for line in lines] == [limit, limit]
    assert fix in lines[0]["fix"]
    assert metrics.file_shortages == 1001


def test_a_check_finds_no_lack_where_there_is_none() -> None:
    metrics = Metrics("test")
    Files(metrics).check()
    assert metrics.file_shortages == 0


def test_a_port_without_a_gate_says_that_it_closes_connections() -> None:
    with MoorageProcess() as service:
        host, port = service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as kept:
            assert healthy(kept)
            most = len(list(Path(f"/proc/{service.pid}/fd").iterdir()))
            before = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (most, before[1]))
            with socket.create_connection((host, int(port)), timeout=30) as refused:
                line = service.wait_record(event="connections not accepted", level="warning")
                assert line["limit"] == "files of this process"
                assert line["files"] == most
                assert refused.recv(1) == b""
            resource.prlimit(service.pid, resource.RLIMIT_NOFILE, before)
            assert healthy(kept)
        assert service.metric("moorage_file_shortages_total") > 0
        assert sum("connections not accepted" in text for text in service.lines) == 1


def healthy(sock: socket.socket) -> bool:
    """Ask over a connection that stays open."""
    sock.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    return sock.recv(4096).startswith(b"HTTP/1.1 200")
