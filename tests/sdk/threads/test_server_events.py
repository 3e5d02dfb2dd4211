"""Events between app servers whose handlers run in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from tests.sdk.threads.world import Record, World, world_of
from tests.support.service import MoorageProcess


@pytest.fixture
async def world(service: MoorageProcess) -> AsyncIterator[World]:
    async with world_of(service) as made:
        yield made


async def test_all_others_hear_an_event_each_in_its_namespace(world: World) -> None:
    asker, first, second = [await world.serve() for _ in range(3)]
    heard = Record()
    for moorage in (asker, first, second):
        moorage.on_server_event("news")(lambda *args, me=moorage.server_id: heard(me, *args))
        moorage.on_server_event("news", namespace="/shop")(lambda *args: heard("shop", *args))
    await asyncio.to_thread(asker.server_side_emit, "news", 1, b"two")
    assert set(await heard.wait(2)) == {(first.server_id, 1, b"two"), (second.server_id, 1, b"two")}


async def test_answers_by_app_server_and_who_did_not_answer(world: World) -> None:
    asker, one, several, blocks, fails, silent, without = [await world.serve() for _ in range(7)]
    silent.on_server_event("other")(lambda: 1)
    # Has nothing to do with the namespace, and so is not waited for.
    without.on_server_event("count", namespace="/shop")(lambda: 1)
    go = threading.Event()
    one.on_server_event("count")(lambda: 1)
    several.on_server_event("count")(lambda: ("a", b"b"))
    blocks.on_server_event("count")(lambda: go.wait(20))
    fails.on_server_event("count")(lambda: 1 / 0)
    acks = await asyncio.to_thread(asker.server_side_emit_with_ack, "count", timeout=5)
    go.set()
    assert acks.answers == {one.server_id: 1, several.server_id: ("a", b"b")}
    assert set(acks.missing) == {blocks.server_id, fails.server_id, silent.server_id}


async def test_a_handler_may_ask_on(world: World) -> None:
    first, second = await world.serve(), await world.serve()
    second.on_server_event("who")(lambda: "second")
    first.on_server_event("ask")(
        lambda: list(first.server_side_emit_with_ack("who", timeout=10).answers.values())
    )
    acks = await asyncio.to_thread(second.server_side_emit_with_ack, "ask", timeout=10)
    assert acks.answers == {first.server_id: ["second"]}
