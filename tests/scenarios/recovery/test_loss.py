"""A node dies (`kill -9`), and stock clients find their sockets at another one: what nodes write to JetStream
tells it what the clients had, and the app server hands over what the dead node had not carried out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import socketio

from tests.conformance.program import PATIENCE
from tests.support.freezing import freeze
from tests.support.nats_server import NatsServer
from tests.support.programs import free_port
from tests.support.service import MoorageProcess
from tests.support.two_nodes import two_nodes

pytestmark = [pytest.mark.timeout(240), pytest.mark.node]
SCENARIO = pytest.mark.scenario
HERE = Path(__file__).parent
CLIENTS = 6


WHOLE = {"same": True, "recoveries": 1, "news": True, "all": True, "direct": True, "asked": True}


def check(output: str, errors: str, service: MoorageProcess) -> None:
    """All clients have got everything, once and in order."""
    assert output, errors[-4_000:]
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert found["faults"] == []
    assert found["found"] == [WHOLE] * CLIENTS, (found, service.lines[-10:])
    for each in found["recovered"]:
        assert each["rooms"] == sorted([each["id"], "news", f"room of {each['id']}"])
        assert each["name"] == f"data of {each['id']}"
    assert len(found["recovered"]) == CLIENTS
    assert not [line for line in service.lines if "Traceback" in line]


def app_server(kind: str, connection_string: str, quiet: str) -> list[str]:
    """The command line of an app server."""
    if kind == "node":
        return ["node", str(HERE / "loss_app.mjs"), connection_string, quiet]
    return [sys.executable, str(HERE / "loss_app.py"), connection_string, kind, quiet]


@pytest.mark.parametrize(
    ("kind", "quiet"),
    [
        ("node", ""),
        *(pytest.param(*each, marks=SCENARIO) for each in (("aio", ""), ("threads", ""), ("node", "quiet"))),
    ],
)
def test_clients_of_a_killed_node_are_resumed_at_another_one(tmp_path: Path, kind: str, quiet: str) -> None:
    with (
        NatsServer("-js", "-sd", str(tmp_path)) as nats,
        two_nodes("--set=recovery.store=jetstream", nats=nats) as (first, second),
    ):
        command = ["node", str(HERE / "loss.mjs"), first.url, str(first.pid), second.url, str(CLIENTS)]
        command += app_server(kind, first.connection_string, quiet)
        environment = {**os.environ, "ASK": "" if kind == "node" else "1"}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=150, check=False, env=environment
        )
        check(done.stdout, done.stderr, second)


@pytest.mark.parametrize(
    ("kind", "sign", "apps", "away"),
    [
        pytest.param("node", "SIGKILL", "2", 0.0, marks=SCENARIO),
        ("aio", "SIGTERM", "1", 0.0),
        *(pytest.param(kind, "SIGKILL", "1", 3.5, marks=SCENARIO) for kind in ("node", "aio", "threads")),
    ],
)
def test_clients_of_a_single_node_are_resumed_after_its_restart(
    tmp_path: Path, kind: str, sign: str, apps: str, away: float
) -> None:
    """Also if it was away for longer than `links.grace`: app servers keep their sockets."""
    grace = "1s" if away else "5s"
    flags = (
        f"--port={free_port()}",
        "--set=recovery.store=file",
        f"--set=recovery.folder={tmp_path}",
        f"--set=links.grace={grace}",
    )
    with MoorageProcess(*flags, "--set=shutdown.lb_wait=0") as first:
        command = ["node", str(HERE / "loss.mjs"), first.url, str(first.pid), first.url, str(CLIENTS)]
        command += app_server(kind, first.connection_string, "")
        environment = {**os.environ, "SIGNAL": sign, "APPS": apps}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == "killed\n"
            first.wait_exit()
            time.sleep(away)  # the time is what is tested
            with MoorageProcess(*flags, key=first.key) as second:
                output, errors = program.communicate(timeout=150)
                check(output, errors, second)


def test_live_traffic_goes_on_while_nothing_can_be_stored(tmp_path: Path) -> None:
    flags = ("--set=recovery.store=file", f"--set=recovery.folder={tmp_path}")
    with MoorageProcess(*flags) as service, contextlib.ExitStack() as stack:
        command = app_server("aio", service.connection_string, "")
        app = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(app.kill)
        assert app.stdin is not None and app.stdout is not None
        assert app.stdout.readline() == '"ready"\n'
        client = stack.enter_context(socketio.SimpleClient())
        client.connect(
            service.url,
            socketio_path="/clients/socketio/hubs/app",
            transports=["websocket"],
            wait_timeout=PATIENCE,
        )
        children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
        (server,) = [int(pid) for pid in children if "nats" in Path(f"/proc/{pid}/comm").read_text()]

        def emit() -> set[str]:
            print("emit", file=app.stdin, flush=True)
            # This client handles each packet in a thread of its own, so they have no order.
            return {client.receive(timeout=PATIENCE)[0] for _ in range(2)}

        def wait_for(up: int) -> None:
            deadline = time.monotonic() + PATIENCE
            while service.metric("moorage_recovery_store_up") != up:
                assert time.monotonic() < deadline
                time.sleep(0.1)  # between two questions, not instead of them

        print("served", file=app.stdin, flush=True)
        assert emit() == {"news", "all"}
        wait_for(1)
        freeze(server)
        stack.callback(os.kill, server, signal.SIGCONT)
        assert emit() == emit() == {"news", "all"}
        wait_for(0)
        assert emit() == {"news", "all"}
        os.kill(server, signal.SIGCONT)
        wait_for(1)
        assert emit() == {"news", "all"}
        assert not [line for line in service.lines if "Traceback" in line]
