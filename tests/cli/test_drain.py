"""`moorage drain`, on real services and on command lines."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from moorage.cli.drain import is_ours
from tests.cli.test_main import run
from tests.support.service import MoorageProcess


@pytest.mark.parametrize(
    ("command", "ours"),
    [
        ("/opt/moorage/bin/python3 /opt/moorage/bin/moorage serve -c x.yaml", True),
        ("python3 -m moorage dev --port 0", True),
        ("python3 /usr/lib/moorage/__main__.py serve", True),
        ("python3 -P -c import;moorage.workers.worker 5 /x", True),
        ("python3 -m moorage drain 7", False),
        ("python3 -m http.server", False),
        ("vim moorage serve.md", False),
        ("npm run dev", False),
        ("", False),
    ],
)
def test_what_a_service_looks_like(command: str, ours: bool) -> None:
    assert is_ours(command.split(" ")) is ours


def test_a_service_drains_and_ends() -> None:
    with MoorageProcess("--set", "shutdown.lb_wait=300ms") as service:
        done = run("drain", str(service.pid))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        service.wait_record(event="draining")
        assert service.wait_exit(1.0) == 0, "it has ended already"


def test_no_wait_and_a_time_limit() -> None:
    with MoorageProcess("--set", "shutdown.lb_wait=100s", "--set", "shutdown.timeout=120s") as service:
        pid = str(service.pid)
        began = time.monotonic()
        late = run("drain", pid, "--timeout", "0.2")
        assert (late.returncode, late.stderr) == (1, f"moorage: process {pid} still runs after 0.2 s\n")
        assert service.get("/readyz")[0] == 503
        # The second signal ends it at once.
        assert run("drain", pid, "--no-wait").returncode == 0
        assert service.wait_exit() == 0
        assert time.monotonic() - began < 90


def test_another_process_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        done = run("drain", str(other.pid))
        assert (done.returncode, done.stderr) == (
            1,
            f"moorage: process {other.pid} is not a service of Moorage\n",
        )
        assert other.poll() is None
        other.communicate(b"\n")
    gone = run("drain", str(other.pid))
    assert (gone.returncode, gone.stderr) == (1, f"moorage: process {other.pid}: there is none\n")


def test_without_a_process_id() -> None:
    """Other services may run on this machine, so this one is at least among those that are found."""
    with MoorageProcess() as one, MoorageProcess() as two:
        done = run("drain")
        assert done.returncode == 1
        assert "several services run here" in done.stderr
        for each in (one, two):
            assert str(each.pid) in done.stderr
            os.kill(each.pid, 0)
