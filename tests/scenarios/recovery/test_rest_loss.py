"""A node dies (`kill -9`) while REST requests at the other nodes emit to its clients. What it did not carry
out is with those nodes, so each client gets all events once and in order."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import jwt
import pytest

from moorage.wire.groups import namespace_group, room_group
from tests.scenarios.recovery.test_loss import HERE, app_server
from tests.support.nats_server import NatsServer
from tests.support.service import MoorageProcess
from tests.support.two_nodes import two_nodes

pytestmark = [pytest.mark.timeout(240), pytest.mark.node, pytest.mark.scenario]
CLIENTS = 9
PACE = 0.01
"""Seconds between two emits at one node."""


class Emits(threading.Thread):
    """Emits numbered events at a node, to the namespace and to a room, until `stop`."""

    def __init__(self, node: MoorageProcess, name: str) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self.statuses: set[int] = set()
        self._node = node
        self._name = name
        self._over = threading.Event()

    def run(self) -> None:
        groups = [namespace_group("/"), room_group("/", "news")]
        with contextlib.closing(http.client.HTTPConnection(urlsplit(self._node.url).netloc)) as connection:
            self._emit(connection, groups)

    def _emit(self, connection: http.client.HTTPConnection, groups: list[str]) -> None:
        due = time.monotonic()
        while not self._over.is_set():
            path = (
                f"/api/hubs/app/groups/{quote(groups[self.sent % 2], safe='')}/:send?api-version=2024-12-01"
            )
            body = f'42["{self._name}",{self.sent + 1}]'
            headers = {"Authorization": f"Bearer {self._token(path)}", "Content-Type": "text/plain"}
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            answer.read()
            self.statuses.add(answer.status)
            self.sent += 1
            due += PACE
            self._over.wait(max(0.0, due - time.monotonic()))

    def _token(self, path: str) -> str:
        claims = {"aud": self._node.url + path, "exp": int(time.time()) + 60}
        return jwt.encode(claims, self._node.key)

    def stop(self) -> None:
        self._over.set()
        self.join()


def until_sent(emits: list[Emits], count: int) -> None:
    """Wait until each has emitted that often."""
    while min(each.sent for each in emits) < count:
        time.sleep(0.02)  # between two questions, not instead of them


def test_rest_emits_during_the_loss_reach_the_clients_of_the_lost_node(tmp_path: Path) -> None:
    with (
        NatsServer("-js", "-sd", str(tmp_path)) as nats,
        two_nodes("--set=recovery.store=jetstream", nats=nats, count=3) as (first, second, third),
    ):
        command = ["node", str(HERE / "rest_loss.mjs"), first.url, f"{second.url},{third.url}", str(CLIENTS)]
        command += app_server("node", second.connection_string, "")
        emits = [Emits(second, "second"), Emits(third, "third")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == "connected\n"
            for each in emits:
                each.start()
            until_sent(emits, 50)
            os.kill(first.pid, signal.SIGKILL)
            assert program.stdout.readline() == "back\n"
            until_sent(emits, 200)
            for each in emits:
                each.stop()
            sent = {"second": emits[0].sent, "third": emits[1].sent}
            output, _ = program.communicate(json.dumps(sent) + "\n", timeout=120)
        assert emits[0].statuses == emits[1].statuses == {202}
        found: dict[str, Any] = json.loads(output)
        assert min(found["sent"].values()) > 100
        whole = {"connects": 2, "recovered": True, "faults": []}
        logs = [*second.lines[-10:], *third.lines[-10:]]
        assert found["found"] == [whole] * CLIENTS, (found["found"], logs)
        assert not [line for line in (*second.lines, *third.lines) if "Traceback" in line]
