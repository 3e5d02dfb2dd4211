"""`moorage hubs`, `apps` and `rooms`, on one node and on two."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from moorage.cli.main import app
from tests.cli.operate.stage import staged
from tests.cli.test_main import run
from tests.support.service import MoorageProcess
from tests.support.traces import FLAGS, OPERATE_KEY, READ_KEY
from tests.support.two_nodes import two_nodes

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module", params=[1, 2], ids=["one node", "two nodes"])
def services(request: pytest.FixtureRequest) -> Iterator[list[MoorageProcess]]:
    if request.param == 1:
        with MoorageProcess(*FLAGS) as service:
            yield [service]
    else:
        with two_nodes(*FLAGS) as nodes:
            yield nodes


async def test_lists_of_the_whole_cluster(services: list[MoorageProcess]) -> None:
    count = len(services)
    async with staged(services) as stage:
        for at in range(count):
            (hub,) = (await stage.json("hubs", at=at))["hubs"]
            assert (hub["name"], hub["connections"]) == ("app", count)
            assert hub["app_servers"] >= 1
            (room,) = (await stage.json("rooms", "--hub", "app", "--prefix", "lob", at=at))["rooms"]
            assert (room["namespace"], room["room"], room["members"]) == ("/", "lobby", count)
            rows = (await stage.until(count, "apps", at=at))["apps"]
            assert {(row["id"], row["up"]) for row in rows} == {(stage.server_id, True)}
        hubs = await stage.command("hubs")
        assert hubs.stdout.splitlines()[0].split()[:2] == ["HUB", "CONNECTIONS"]
        apps = await stage.command("apps", "--hub", "app")
        assert " up " in apps.stdout
        assert f"{stage.server_id} " in apps.stdout
        rooms = await stage.command("rooms")
        assert rooms.stdout.splitlines()[1].split() == ["app", "/", "lobby", str(count)]
        assert (await stage.command("rooms", "--prefix", "none")).stdout.splitlines()[1:] == []


async def test_more_rooms_than_are_shown(services: list[MoorageProcess]) -> None:
    async with staged(services[:1]) as stage:
        shown = await stage.command("rooms", "--limit", "1")
        assert shown.stdout.splitlines()[1:] == [
            "app  /          lobby        1",
            "... the largest of more rooms",
        ]


def test_a_node_that_does_not_answer() -> None:
    with two_nodes(*FLAGS) as nodes:
        nodes[1].signal(signal.SIGSTOP)
        try:
            given = {"MOORAGE_ADMIN_URL": nodes[0].url, "MOORAGE_ADMIN_KEY": READ_KEY}
            done = CliRunner().invoke(app, ["hubs", "--json"], env=given)
            assert done.exit_code == 3, done.output
            assert json.loads(done.stdout)["missing"] == ["node-2"]
            assert "without an answer of node-2" in done.stderr
        finally:
            nodes[1].signal(signal.SIGCONT)


def test_the_settings_of_the_service_are_enough() -> None:
    with MoorageProcess(*FLAGS) as service:
        port = service.url.rpartition(":")[2]
        done = run("hubs", MOORAGE_SERVER_PORT=port, MOORAGE_ADMIN_OPERATE_KEY=OPERATE_KEY)
        assert (done.returncode, done.stderr) == (0, "")


async def test_refusals() -> None:
    with MoorageProcess(*FLAGS) as service:
        wrong = await asyncio.to_thread(run, "hubs", "--url", service.url, "--key", "wrong" * 5)
        assert (wrong.returncode, "(5101 admin-wrong-key)" in wrong.stderr) == (1, True)
        assert run("hubs").returncode == 2
