"""Events between app servers, and their answers."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.sdk import NotSerialisable
from tests.sdk.conftest import Heard, World, until


async def test_events_reach_all_others(world: World) -> None:
    one, two, three = [await world.app() for _ in range(3)]
    heard = Heard()

    @two.on_server_event("news")
    def second(*args: Any) -> None:
        heard("two", *args)

    @three.on_server_event("news")
    async def third(*args: Any) -> None:
        heard("three", *args)

    @one.on_server_event("news")
    def first(*args: Any) -> None:
        heard("one", *args)

    await one.server_side_emit("news", 1, {"a": b"\x00"}, None)
    assert {(await heard.next())[0] for _ in range(2)} == {"two", "three"}
    await two.server_side_emit("news", "back")
    assert sorted(await heard.some(2)) == [("one", "back"), ("three", "back")]
    assert heard.empty


async def test_answers_are_gathered_by_app_server(world: World) -> None:
    one, two, three = [await world.app() for _ in range(3)]
    two.on_server_event("ask")(lambda value: value + 1)

    @three.on_server_event("ask")
    async def several(value: int) -> tuple[int, bytes]:
        return value, b"\x01"

    acks = await one.server_side_emit_with_ack("ask", 1)
    assert acks.answers == {two.server_id: 2, three.server_id: (1, b"\x01")}
    assert acks.missing == ()


async def test_app_servers_that_do_not_answer_are_missing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    one, silent, failing, odd, without = [await world.app() for _ in range(5)]
    silent.on_server_event("other")(lambda: 1)
    # Has nothing to do with the namespace, and so is not waited for.
    without.on_server_event("ask", namespace="/chat")(lambda: 1)

    @failing.on_server_event("ask")
    def fail() -> None:
        raise ZeroDivisionError

    odd.on_server_event("ask")(object)
    acks = await one.server_side_emit_with_ack("ask", timeout=0.3)
    assert acks.answers == {}
    assert set(acks.missing) == {silent.server_id, failing.server_id, odd.server_id}
    await until(lambda: "ZeroDivisionError" in caplog.text)
    await until(lambda: "args[0]: object is not JSON serialisable" in caplog.text)


async def test_an_app_server_alone_gets_no_answers(world: World) -> None:
    alone = await world.app()
    acks = await alone.server_side_emit_with_ack("ask")
    assert (acks.answers, acks.missing) == ({}, ())


async def test_handlers_serve_their_own_namespace(world: World) -> None:
    one, two = [await world.app() for _ in range(2)]
    two.on_server_event("ask")(lambda: "root")
    two.on_server_event("ask", namespace="/chat")(lambda: "chat")
    assert (await one.server_side_emit_with_ack("ask")).answers == {two.server_id: "root"}
    assert (await one.server_side_emit_with_ack("ask", namespace="/chat")).answers == {two.server_id: "chat"}


async def test_values_that_cannot_be_sent_raise_at_the_call(world: World) -> None:
    one = await world.app()
    with pytest.raises(NotSerialisable, match=r"args\[0\]\.x"):
        await one.server_side_emit("news", {"x": object()})
    with pytest.raises(NotSerialisable, match=r"args\[1\]"):
        await one.server_side_emit_with_ack("news", 1, object())
