"""`moorage connections`: list, show, close."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.cli.operate.stage import Stage, staged
from tests.support.service import MoorageProcess
from tests.support.traces import FLAGS, READ_KEY
from tests.support.two_nodes import two_nodes

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def services() -> Iterator[list[MoorageProcess]]:
    with two_nodes(*FLAGS) as nodes:
        yield nodes


async def ids(stage: Stage) -> list[str]:
    found = await stage.json("connections")
    return [row["id"] for row in found["connections"]]


async def test_the_connections_of_two_nodes(services: list[MoorageProcess]) -> None:
    async with staged(services) as stage:
        both = (await stage.json("connections", "--room", "lobby"))["connections"]
        assert {row["node"] for row in both} == {"node-1", "node-2"}
        shown = await stage.command("connections", "--limit", "1")
        assert shown.stdout.splitlines()[0].startswith("CONNECTION ")
        cursor = shown.stdout.splitlines()[-1].removeprefix("more: --cursor ")
        (second,) = (await stage.json("connections", "--cursor", cursor))["connections"]
        assert second["id"] not in shown.stdout
        (at_two,) = (await stage.json("connections", "--node", "node-2"))["connections"]
        assert at_two["node"] == "node-2"
        for nobody in (("--user", "ada"), ("--min-age", "3600"), ("--min-queued", "1000000")):
            assert (await stage.json("connections", *nobody))["connections"] == []


async def test_one_connection_in_full(services: list[MoorageProcess]) -> None:
    async with staged(services) as stage:
        one = (await ids(stage))[0]
        found = await stage.json("connections", "show", one, at=1)
        assert found["id"] == one
        assert found["sockets"][0]["rooms"] == ["lobby"]
        shown = (await stage.command("connections", "show", one)).stdout
        assert "app server " in shown
        assert "lobby" in shown
        gone = await stage.command("connections", "show", "nobody")
        assert (gone.exit_code, "(5006 api-not-found)" in gone.output) == (1, True)


async def test_closing(services: list[MoorageProcess]) -> None:
    async with staged(services) as stage:
        one, _two = await ids(stage)
        refused = await stage.command("connections", "close", one, key=READ_KEY)
        assert (refused.exit_code, "(5103 admin-role)" in refused.output) == (1, True)
        done = await stage.command("connections", "close", one, "--reason", "test", at=1)
        assert (done.exit_code, done.stdout) == (0, "closed 1 connection\n")
        assert one not in await ids(stage)
        rest = await stage.json("connections", "close", "--room", "lobby", "--hub", "app")
        assert rest == {"connections": 1, "missing": []}
        async with asyncio.timeout(20):
            for client in stage.clients:
                while client.sio.connected:
                    await asyncio.sleep(0.02)
        nobody = await stage.command("connections", "close", "--user", "ada", "--hub", "app")
        assert nobody.exit_code == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give ids, or one of --user and --room"),
        (("a", "--user", "b", "--hub", "app"), "give ids, or one of"),
        (("--user", "b", "--room", "r", "--hub", "app"), "give ids, or one of"),
        (("--user", "b"), "need --hub"),
    ],
)
async def test_wrong_usage(services: list[MoorageProcess], words: tuple[str, ...], said: str) -> None:
    done = await Stage(services, []).command("connections", "close", *words)
    assert (done.exit_code, said in done.output) == (2, True)


async def test_options_may_stand_before_the_subcommand(services: list[MoorageProcess]) -> None:
    done = await Stage(services, []).command("connections", "--key", "x" * 20, "show", "nobody")
    # The environment's key stands behind it, and is nearer.
    assert "(5006 api-not-found)" in done.output
