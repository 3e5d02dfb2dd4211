"""`moorage emit`."""

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


async def test_events_reach_clients_of_both_nodes(services: list[MoorageProcess]) -> None:
    async with staged(services) as stage:
        done = await stage.command("emit", "news", '"hello"', '{"n": 1}', "--room", "lobby")
        assert (done.exit_code, done.stdout) == (0, "accepted\n")
        for client in stage.clients:
            heard = await asyncio.wait_for(client.heard.get(), 10)
            assert heard[-3:] == ("news", "hello", {"n": 1})
        (one,) = (await stage.json("connections", "--node", "node-2"))["connections"]
        assert await stage.json("emit", "only", "--connection", one["id"]) == {}
        heard = await asyncio.wait_for(stage.clients[1].heard.get(), 10)
        assert heard[-1] == "only"
        assert (await stage.command("emit", "none", "--except", "lobby")).exit_code == 0
        assert (await stage.command("emit", "last")).exit_code == 0
        # In order: the one before has reached nobody.
        assert (await asyncio.wait_for(stage.clients[0].heard.get(), 10))[-1] == "last"


@pytest.mark.parametrize(
    ("words", "key", "code", "said"),
    [
        (("news", "hello"), "", 2, "hello is not JSON; for a string write '\"hello\"'"),
        (("news",), READ_KEY, 1, "(5103 admin-role)"),
        (("news", "--namespace", "x"), "", 1, "(5003 api-bad-body)"),
    ],
)
async def test_refusals(
    services: list[MoorageProcess], words: tuple[str, ...], key: str, code: int, said: str
) -> None:
    stage = Stage(services, [])
    done = await (stage.command("emit", *words, key=key) if key else stage.command("emit", *words))
    assert done.exit_code == code
    assert said in done.output
