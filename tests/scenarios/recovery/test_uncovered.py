"""A node dies, and one of its app servers does not cover the node that goes on with its sockets: there are
more nodes than `coverage.max`. Its home hands over, so stock clients are resumed and miss nothing."""

from __future__ import annotations

import os
import subprocess
import time
from itertools import count
from pathlib import Path
from subprocess import PIPE

import pytest

from moorage.cluster.coverage.assignment import Assignment
from moorage.cluster.recovery.lost_nodes import heir_of
from tests.scenarios.recovery.test_loss import CLIENTS, HERE, app_server, check
from tests.support.admin import Admin
from tests.support.nats_server import NatsServer
from tests.support.two_nodes import two_nodes

pytestmark = [pytest.mark.timeout(240), pytest.mark.node, pytest.mark.scenario]
MOST = 2
KEY = "o" * 32


def server_ids(nodes: list[str], lost: str, heir: str, *, later: bool) -> tuple[str, str, str]:
    """Ids of three app servers: the first one covers the lost node and not its heir. `later`: it does when
    the node is lost. The heir always has the other two."""
    rest = [node for node in nodes if node != lost]
    for number in count():
        ids = (f"a{number}", "b", "c")
        before, after = (Assignment(ids, each, MOST).of(ids[0]) for each in (nodes, rest))
        if lost in before and heir not in before and (heir in after) is later:
            return ids
    raise AssertionError


def wait_until_linked(admin: Admin, expected: set[tuple[str, str]]) -> None:
    """Wait until the app servers have these sessions (server, node) and no others. A client that comes before
    may begin at an app server that does not keep its session at the client's node."""
    deadline = time.monotonic() + 60
    while (found := {(row["id"], row["node"]) for row in admin.get("/apps", hub="app")["apps"]}) != expected:
        assert time.monotonic() < deadline, (found, expected)
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("kind", "later"), [("node", False), ("aio", False), ("threads", False), ("node", True), ("aio", True)]
)
def test_an_app_server_that_does_not_cover_the_heir(tmp_path: Path, kind: str, later: bool) -> None:
    """`later`: it begins to cover the heir when the node is lost."""
    flags = (
        "--set=recovery.store=jetstream",
        f"--set=coverage.max={MOST}",
        f"--set=admin.operate_key={KEY}",
    )
    with (
        NatsServer("-js", "-sd", str(tmp_path)) as nats,
        two_nodes(*flags, nats=nats, count=4) as nodes,
    ):
        listed = Admin(nodes[0].url, KEY).get("/nodes")["nodes"]
        by_name = {row["name"]: row["incarnation"] for row in listed}
        incarnations = [by_name[f"node-{number}"] for number in (1, 2, 3, 4)]
        lost, rest = incarnations[0], incarnations[1:]
        heir = heir_of(lost, rest)
        heir_process = nodes[incarnations.index(heir)]
        home, other = [nodes[incarnations.index(node)] for node in rest if node != heir]
        ids = server_ids(incarnations, lost, heir, later=later)
        command = ["node", str(HERE / "loss.mjs"), nodes[0].url, str(nodes[0].pid), other.url, str(CLIENTS)]
        command += app_server(kind, home.connection_string, "")
        environment = {**os.environ, "APPS": str(len(ids)), "IDS": ",".join(ids), "WAITS": "1"}
        names = {incarnation: name for name, incarnation in by_name.items()}
        home_node = incarnations[nodes.index(home)]
        sessions = {
            (each, names[node])
            for each in ids
            for node in {home_node, *Assignment(ids, incarnations, MOST).of(each)}
        }
        with subprocess.Popen(
            command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, env=environment
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                wait_until_linked(Admin(home.url, KEY), sessions)
                output, errors = process.communicate("go\n", timeout=150)
            finally:
                process.kill()
        for node in nodes[1:]:
            # Shown if the test fails.
            print("-- heir" if node is heir_process else "--", *node.lines[-20:], sep="\n")
        check(output, errors, heir_process)
        assert not [
            line for node in nodes[1:] for line in node.lines if "the sockets of a lost node end" in line
        ]
