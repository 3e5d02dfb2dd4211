"""A node dies (`kill -9`), and stock clients find their sockets at another one: what nodes write to JetStream
tells it what the clients had, and the app server hands over what the dead node had not carried out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.nats_server import NatsServer
from tests.support.two_nodes import two_nodes

pytestmark = [pytest.mark.timeout(120), pytest.mark.node]
PROGRAM = Path(__file__).parent / "loss.mjs"
CLIENTS = 6


def test_clients_of_a_killed_node_are_resumed_at_another_one(tmp_path: Path) -> None:
    with (
        NatsServer("-js", "-sd", str(tmp_path)) as nats,
        two_nodes("--set=recovery.store=jetstream", nats=nats) as (first, second),
    ):
        command = ["node", str(PROGRAM), first.connection_string, first.url, str(first.pid), second.url]
        done = subprocess.run(
            [*command, str(CLIENTS), ""], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr[-4_000:]
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert found["faults"] == []
        whole = {"same": True, "recoveries": 1, "news": True, "all": True, "direct": True}
        assert found["found"] == [whole] * CLIENTS, found
        for each in found["recovered"]:
            assert each["rooms"] == sorted([each["id"], "news", f"room of {each['id']}"])
            assert each["name"] == f"data of {each['id']}"
        assert len(found["recovered"]) == CLIENTS
        assert not [line for line in second.lines if "Traceback" in line]
