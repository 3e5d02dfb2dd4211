"""`moorage nodes`, on real nodes."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from functools import partial

import pytest
import socketio

from moorage.cli.nodes import table
from moorage.sdk import use_moorage
from tests.cli.test_main import run
from tests.integration.test_nodes import nodes, until
from tests.integration.test_python_client import Client
from tests.support.nats_server import NatsServer
from tests.support.python_client import PATIENCE
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def processes() -> Iterator[list[MoorageProcess]]:
    with NatsServer() as server, nodes(server, one=(), two=("shutdown.lb_wait=20",)) as made:
        yield made


async def test_any_node_lists_all(processes: list[MoorageProcess]) -> None:
    one, two = processes
    sio = socketio.AsyncServer(async_mode="asgi")
    moorage = await use_moorage(sio, hub="app", connection_string=one.connection_string, server_id="web")
    try:
        async with Client() as client:
            await client.sio.connect(one.url, transports=["websocket"], wait_timeout=PATIENCE)
            for asked in processes:
                # In a thread: the app server needs this one.
                await asyncio.to_thread(until, partial(_is_counted, asked), "heartbeats tell it")
                given = asked.connection_string
                done = await asyncio.to_thread(run, "nodes", "--json", MOORAGE_CONNECTION_STRING=given)
                assert (done.returncode, done.stderr) == (0, "")
                first, second = json.loads(done.stdout)["nodes"]
                assert (first["name"], second["name"]) == ("one", "two")
                assert first["version"] == second["version"] != ""
                assert (first["state"], second["state"]) == ("ready", "ready")
                (app,) = first["app_servers"]
                assert (app["hub"], app["id"], app["up"], app["clients"]) == ("app", "web", True, 1)
                assert (first if asked is one else second)["heartbeat_age"] == 0
            shown = await asyncio.to_thread(run, "nodes", "--connection-string", two.connection_string)
            assert shown.stdout.startswith("NODE ")
            assert "app  web         moorage  1        one*" in shown.stdout
            # A node that drains is named as such, and the exit code tells it.
            two.signal(signal.SIGTERM)
            await asyncio.to_thread(until, partial(_is_not_ready, one), "it drains")
    finally:
        await moorage.close()


def _is_counted(process: MoorageProcess) -> bool:
    done = run("nodes", "--json", "--connection-string", process.connection_string)
    clients = {node["name"]: node["clients"] for node in json.loads(done.stdout)["nodes"]}
    return clients == {"one": 1, "two": 0}


def _is_not_ready(process: MoorageProcess) -> bool:
    return run("nodes", "--connection-string", process.connection_string).returncode == 3


def test_a_key_of_the_admin_api() -> None:
    key = "read-key-of-the-tests"
    with MoorageProcess(f"--set=admin.read_key={key}") as service:
        done = run("nodes", "--json", MOORAGE_ADMIN_URL=service.url, MOORAGE_ADMIN_KEY=key)
        assert (done.returncode, done.stderr) == (0, "")
        (node,) = json.loads(done.stdout)["nodes"]
        assert (node["state"], node["uptime"] > 0) == ("ready", True)
        assert run("nodes", "--url", service.url, "--key", "wrong" * 4).returncode == 1


def test_no_answer_and_a_wrong_key() -> None:
    gone = run("nodes", "--connection-string", "Endpoint=http://127.0.0.1:1;AccessKey=k;Version=1.0;")
    assert (gone.returncode, gone.stdout) == (1, "")
    assert gone.stderr.startswith("moorage: http://127.0.0.1:1/api/v1/nodes: ")
    assert run("nodes").returncode == 2
    with MoorageProcess() as service:
        wrong = run("nodes", "--connection-string", f"Endpoint={service.url};AccessKey={'x' * 32};")
        assert wrong.returncode == 1
        assert "401" in wrong.stderr
        alone = run("nodes", "--connection-string", service.connection_string)
        assert (alone.returncode, alone.stdout.count("\n")) == (0, 2)


def test_a_table_of_an_app_server_at_several_nodes() -> None:
    row = {"hub": "h", "id": "s", "dialect": "moorage", "clients": 2, "up": True, "home": False}
    node = {
        "incarnation": "i",
        "region": "",
        "state": "ready",
        "version": "1",
        "heartbeat_age": 0.26,
        "clients": 2,
        "advertise": "",
    }
    found = [
        {**node, "name": "a", "app_servers": [row]},
        {**node, "name": "b", "app_servers": [{**row, "home": True, "up": False}]},
    ]
    assert table(found).splitlines()[-1] == "h    s           moorage  4        a, b* (down)"
