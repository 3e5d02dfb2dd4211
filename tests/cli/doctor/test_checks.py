"""Each check of `moorage doctor`, on what it looks at."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from moorage.cli.doctor import checks
from moorage.cli.doctor.findings import Finding
from moorage.config.model import Config
from moorage.edge.settings import TlsSettings
from tests.cluster.nats import certificates
from tests.load.transports.test_http import OK
from tests.support.nats_server import NatsServer
from tests.support.programs import free_port
from tests.support.service import MoorageProcess

DEFAULT = Config()


def server(**more: Any) -> Config:
    return replace(DEFAULT, server=replace(DEFAULT.server, **more))


def only(found: Iterator[Finding]) -> Finding:
    (one,) = found
    return one


def test_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(checks.packages(DEFAULT)).state == "ok"
    monkeypatch.setattr("moorage.cli.service.SERVICE_MODULES", ("no_such_module",))
    assert only(checks.packages(DEFAULT)).state == "fail"


def test_warnings_of_the_configuration() -> None:
    assert only(checks.settings(DEFAULT)).state == "ok"
    found = list(checks.settings(replace(DEFAULT, warnings=("a.b: text", "alone"))))
    assert [(one.state, one.text) for one in found] == [("warn", "a.b: text"), ("warn", "alone")]


def test_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moorage.workers.machine.cpus", lambda: 2)
    monkeypatch.setattr("moorage.workers.machine.raise_file_limit", lambda: 20_000)
    monkeypatch.setattr("moorage.workers.machine.memory", lambda: 8 * 1024**3)
    assert [one.state for one in checks.machine(DEFAULT)] == ["ok", "ok", "ok"]
    monkeypatch.setattr("moorage.workers.machine.raise_file_limit", lambda: 1024)
    monkeypatch.setattr("moorage.workers.machine.memory", lambda: 1024**2)
    found = {one.name: one.state for one in checks.machine(replace(DEFAULT, workers=5))}
    assert found == {"descriptors": "warn", "memory": "warn", "CPUs": "warn"}


def test_the_backlog(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "net/core").mkdir(parents=True)
    monkeypatch.setattr(checks, "_PROC", tmp_path)
    assert only(checks.kernel(DEFAULT)).state == "ok"
    (tmp_path / "net/core/somaxconn").write_text("128\n")
    found = only(checks.kernel(DEFAULT))
    assert (found.state, found.fix) == ("warn", "sysctl -w net.core.somaxconn=4096")


def test_a_free_port_and_one_in_use() -> None:
    assert only(checks.port(server(port=free_port()))).state == "ok"
    assert only(checks.port(server(host="*", port=free_port()))).state == "ok"
    with MoorageProcess() as service:
        port = int(service.url.rpartition(":")[2])
        found = only(checks.port(server(port=port)))
        assert (found.state, found.text) == ("ok", f"a service answers at 127.0.0.1:{port}")
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        other.settimeout(0)
        found = only(checks.port(server(port=other.getsockname()[1])))
    assert found.state == "fail"


def test_a_port_in_use_by_a_service_with_the_certificate_of_a_public_name(tmp_path: Path) -> None:
    certificates.make(tmp_path)
    files = TlsSettings(cert_file=str(tmp_path / "server.pem"), key_file=str(tmp_path / "server.key"))
    flags = [f"--set=server.tls.{name}={getattr(files, name)}" for name in ("cert_file", "key_file")]
    port = free_port()
    with MoorageProcess("--host", "::", f"--port={port}", *flags):
        found = only(checks.port(server(host="::", port=port, tls=files)))
        assert (found.state, found.text) == ("ok", f"a service answers at :::{port}")


def test_ports_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    found = only(checks.port(server(host="192.0.2.1", port=free_port())))
    assert (found.state, "0.0.0.0" in found.fix) == ("fail", True)

    def denied(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", denied)
    found = only(checks.port(server(port=80)))
    assert "CAP_NET_BIND_SERVICE" in found.fix


def test_the_public_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(checks.endpoint(DEFAULT)).state == "ok"
    public = server(public_endpoint="http://example.org")
    now = time.time()
    for answer, expected in (
        ((200, now), ["ok"]),
        ((None, None), ["warn"]),
        ((502, None), ["warn"]),
        ((200, now - 60), ["ok", "fail"]),
    ):
        monkeypatch.setattr(checks, "_ask", lambda url, answer=answer: answer)
        assert [one.state for one in checks.endpoint(public)] == expected


def test_a_real_endpoint() -> None:
    with MoorageProcess() as service:
        assert only(checks.endpoint(server(public_endpoint=service.url))).state == "ok"
        status, moment = checks._ask(f"{service.url}/nothing")
        assert status == 404
        assert moment is None or abs(moment - time.time()) < 5
    assert checks._ask("http://127.0.0.1:1/") == (None, None)
    assert checks._moment("nonsense") is None
    assert OK


@pytest.mark.parametrize(("state", "expected"), [(0, "ok"), (5, "warn"), (None, "skip")])
def test_the_clock(state: int | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(checks.clock(DEFAULT)).name == "clock"
    monkeypatch.setattr(checks, "_clock_state", lambda: state)
    assert only(checks.clock(DEFAULT)).state == expected


def test_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(checks.certificate(DEFAULT)).text == "off"
    assert "proxy" in only(checks.certificate(server(public_endpoint="https://x"))).text
    certificates.make(tmp_path)
    files = TlsSettings(cert_file=str(tmp_path / "server.pem"), key_file=str(tmp_path / "server.key"))
    # It is valid for two days.
    assert only(checks.certificate(server(tls=files))).state == "warn"
    now = time.time()
    for days, expected in ((-30, "ok"), (3, "fail")):
        monkeypatch.setattr(time, "time", lambda days=days: now + days * 86_400)
        assert only(checks.certificate(server(tls=files))).state == expected


def test_nats() -> None:
    assert only(checks.nats(DEFAULT)).state == "ok"
    with NatsServer() as running:
        wrong = f"nats://127.0.0.1:{free_port()}"
        cluster = replace(DEFAULT.cluster, nats_url=(running.url, wrong))
        found = list(checks.nats(replace(DEFAULT, cluster=cluster)))
    assert [one.state for one in found] == ["ok", "fail"]
    assert "logged in" in found[0].text


def test_the_admin_api() -> None:
    assert only(checks.admin(DEFAULT)).text == "off"
    keys = replace(DEFAULT.admin, operate_key="x" * 16)
    assert only(checks.admin(replace(DEFAULT, admin=keys))).text == "on: a key is set"


def test_all_checks_run() -> None:
    found = list(checks.findings(server(port=free_port())))
    assert {"packages", "configuration", "descriptors", "port", "clock", "TLS", "NATS"} <= {
        one.name for one in found
    }
