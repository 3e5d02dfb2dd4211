"""What each operation answers, and what is noted of an action."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from moorage import __version__
from tests.control.admin.serving import READ, Served, serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(cluster__node_name="here", cluster__region="west") as made:
        yield made


async def test_the_session(served: Served) -> None:
    assert (await served.ask("/session", key=READ)).json() == {
        "role": "read",
        "expires": None,
        "node": "here",
        "version": __version__,
        "region": "west",
        "trace_payloads": False,
    }


async def test_the_nodes(served: Served) -> None:
    (node,) = (await served.ask("/nodes")).json()["nodes"]
    assert (node["name"], node["region"], node["state"], node["app_servers"]) == ("here", "west", "ready", [])
    assert node["memory"] > 1_000_000 and node["uptime"] >= 0 and node["cpu"] >= 0


async def test_empty_lists(served: Served) -> None:
    for path, name in [
        ("/hubs", "hubs"),
        ("/apps", "apps"),
        ("/connections", "connections"),
        ("/rooms", "rooms"),
        ("/disconnects", "disconnects"),
        ("/audit", "actions"),
    ]:
        found = (await served.ask(path)).json()
        assert (found[name], found["missing"]) == ([], [])
    history = (await served.ask("/history?node=here")).json()
    assert (history["step"], history["missing"]) == (5, [])


@pytest.mark.parametrize("path", ["/connections?node=nobody", "/history?node=nobody"])
async def test_an_unknown_node(served: Served, path: str) -> None:
    assert await served.code(path) == (404, "admin-unknown-node")


async def test_an_unknown_connection(served: Served) -> None:
    assert await served.code("/connections/nobody") == (404, "api-not-found")
    own = served.service.incarnation + "x" * 22
    assert await served.code(f"/connections/{own}") == (404, "api-not-found")


async def test_actions_are_noted_whatever_becomes_of_them(served: Served) -> None:
    nobody = {"hub": "app", "user": "nobody"}
    assert (await served.ask("/disconnect", "POST", body=nobody)).status == 404
    assert (await served.ask("/emit", "POST", body={"hub": "app", "event": "x", "args": ["s"]})).status == 202
    assert (await served.ask("/emit", "POST", body={"hub": "app", "event": "connect"})).status == 400
    assert (await served.ask("/nodes/nobody/drain", "POST")).status == 404
    rows = (await served.ask("/audit")).json()["actions"]
    assert [(row["action"], row["outcome"]) for row in rows] == [
        ("drain", "admin-unknown-node"),
        ("emit", "api-bad-payload"),
        ("emit", "done"),
        ("disconnect", "api-not-found"),
    ]
    assert rows[2]["target"] == {"hub": "app", "namespace": "/", "event": "x"}
    assert len((await served.ask("/audit?limit=2")).json()["actions"]) == 2


async def test_a_drain(served: Served) -> None:
    told: list[int] = []
    served.service.when_told_to_drain = lambda: told.append(1)
    assert (await served.ask(f"/nodes/{served.service.incarnation}/drain", "POST")).status == 202
    assert told == [1]
