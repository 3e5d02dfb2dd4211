"""Events both ways: what arrives, in which order, and how it is answered."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import pytest

from tests.conformance.capabilities import shows
from tests.conformance.clients import Client
from tests.conformance.program import Refused
from tests.conformance.stage import Stage

TRICKY = 'é ß 漢字 🚢 \u2028 \u0000 \u001e "quoted" \\ \U0010ffff ﷽'
BYTES = bytes([0, 1, 2, 253, 254, 255])


def pair(stage: Stage, **options: Any) -> Client:
    """A client in the stage's namespace."""
    stage.define()
    return stage.client(**options)


@shows("events")
def test_arguments_of_all_kinds(stage: Stage) -> None:
    client = pair(stage)
    for args in ([], [1], [None], [-1.5, True, "é", [], {}], [{"a": [{"b": None}]}, [[1], []]]):
        stage.space.since = stage.space.app.mark
        client.emit("up", *args)
        down = partial(stage.space.send, client, "down", *args)
        everybody = partial(stage.space.emit, "all", *args)
        assert stage.space.event(client, "up") == args
        assert stage.hear([client], down) == [[["down", *args]]]
        assert stage.hear([client], everybody) == [[["all", *args]]]


@shows("send")
def test_messages_without_a_name(stage: Stage) -> None:
    client = pair(stage)
    client.emit("message", 1, "two")
    assert stage.space.event(client, "message") == [1, "two"]
    stage.space.call("message", sid=client, args=[1, "two"])
    assert client.next("message") == [1, "two"]
    stage.space.call("message", args=[b"3"])
    assert client.next("message") == [b"3"]


@shows("events")
def test_any_text_also_as_an_events_name(stage: Stage) -> None:
    client = pair(stage)
    value = [TRICKY, {TRICKY: [TRICKY]}]
    client.emit(TRICKY, *value)
    assert stage.space.event(client, TRICKY) == value
    stage.space.send(client, TRICKY, *value)
    assert client.next(TRICKY) == value
    stage.space.emit(TRICKY, *value)
    assert client.next(TRICKY) == value


@shows("binary")
def test_binary_nested_and_in_several_parts(stage: Stage) -> None:
    client = pair(stage)
    value = [{"a": BYTES, "list": ["é", b"", {"deep": os.urandom(70_000)}], "n": None}, 7]
    client.emit("up", *value)
    assert stage.space.event(client, "up") == value
    stage.space.send(client, "down", *value)
    assert client.next("down") == value
    stage.space.emit("all", *value)
    assert client.next("all") == value


@shows("binary")
def test_binary_and_text_alternate_in_order(stage: Stage) -> None:
    client = pair(stage)
    values = [[f"text {n}" if n % 3 else bytes([n])] for n in range(60)]
    for value in values:
        client.start("emit", args=["up", *value])
    stage.space.batch(*[stage.space.step("send", sid=client, args=["down", *value]) for value in values])
    assert stage.space.events(client, "up", 60) == stage.space.as_reported(values)
    assert client.count("down", 60) == values


@shows("big")
def test_large_packets_both_ways(stage: Stage) -> None:
    client = pair(stage)
    for value in ("漢" * 300_000, os.urandom(700_000)):
        client.emit("up", value)
        assert stage.space.event(client, "up") == [value]
        stage.space.send(client, "down", value)
        assert client.next("down") == [value]
        stage.space.emit("all", value)
        assert client.next("all") == [value]
        stage.space.since = stage.space.app.mark


@shows("client-ack")
def test_a_client_is_answered(stage: Stage) -> None:
    client = pair(stage)
    asked = [client.start("ask", args=["echo", n, "é"]) for n in range(20)]
    assert [client.program.result(answer) for answer in asked] == [[n, "é"] for n in range(20)]
    assert client.ask("echo") == []
    assert client.ask("echo", {"value": BYTES, "more": [BYTES, "x"]}, b"") == [
        {"value": BYTES, "more": [BYTES, "x"]},
        b"",
    ]


@shows("client-ack")
def test_a_client_that_gets_no_answer(stage: Stage) -> None:
    client = pair(stage)
    late = client.start("ask", args=["silent"], timeout=200)
    assert client.ask("echo", 1) == [1]
    with pytest.raises(Refused, match="timed out"):
        client.program.result(late)


@shows("socket-ack")
def test_a_client_answers(stage: Stage) -> None:
    one, two = stage.define().crew(2)
    space = stage.space
    asked = [
        space.start("ask_socket", sid=client, args=["echo", n, BYTES], timeout=15_000)
        for n in range(10)
        for client in (one, two)
    ]
    assert [space.app.result(answer) for answer in asked] == [[n, BYTES] for n in range(10) for _ in "ab"]
    assert space.call("ask_socket", sid=two, args=["who"], timeout=15_000) == [two.number]
    with pytest.raises(Refused, match=r"(?i)time"):
        space.call("ask_socket", sid=one, args=["silent"], timeout=200)
    assert space.call("ask_socket", sid=one, args=["who"], timeout=15_000) == [one.number]


@shows("handler-error")
def test_a_handler_that_throws_affects_no_other(stage: Stage) -> None:
    client = pair(stage)
    client.emit("throw")
    client.emit("after", 1)
    assert stage.space.event(client, "after") == [1]
    assert client.ask("echo", 2) == [2]
    # Natively it is an uncaught exception of the process in Node.js, and a line in the log in Python.
    if stage.sdk in ("azure", "node"):
        thrown = stage.space.app.wait(stage.space.since, notice="uncaught")
        assert thrown["message"] == "thrown by the app's handler"
    stage.unwanted.discard("uncaught")


@shows("packet-middleware")
def test_a_middleware_of_packets(stage: Stage) -> None:
    if not stage.support("packet-middleware").does:
        return
    stage.define(refuse_events=["forbidden"], listen=["forbidden", "handled"])
    client = stage.client()
    client.emit("forbidden", 1)
    assert stage.space.wait("socket_error", sid=client.sid)["message"] == "no forbidden here"
    client.emit("handled", 2)
    # In the order of what came: nothing of the refused event is left to come.
    assert stage.space.wait("handled", sid=client.sid)["args"] == ["handled", 2]


@shows("outgoing")
def test_listeners_of_outgoing_packets(stage: Stage) -> None:
    if not stage.support("outgoing").does and stage.sdk != "azure":
        return
    client, other = stage.define(outgoing=True).crew(2)
    space = stage.space
    space.join(client, "room")
    space.send(client, "x", 1)
    space.emit("x", 2, to=["room"])
    space.emit("x", 3)
    space.emit("x", 4, to=[other])
    heard = [line["args"] for line in space.app.heard(space.since, notice="outgoing", sid=client.sid)]
    # Azure's adapter does not tell the sockets of a broadcast.
    assert heard == [["x", n] for n in ([1] if stage.sdk == "azure" else [1, 2, 3])]


@shows("serialise")
def test_a_value_that_cannot_be_sent(stage: Stage) -> None:
    client = pair(stage)
    odd = {"user": {"born": {"$odd": 1}}}
    support = stage.support("serialise")
    calls: list[tuple[str, dict[str, Any]]] = [
        ("send", {"sid": client, "args": ["x", 1, odd]}),
        ("emit", {"args": ["x", 1, odd]}),
        ("ask", {"args": ["x", 1, odd], "timeout": 200}),
    ]
    for call, fields in calls:
        if support.does:
            with pytest.raises(Refused, match=r"(\[1\]|argument 2).*user\.born"):
                stage.space.call(call, **fields)
        elif call == "emit":
            # The caller gets no error, and an uncaught one would end a Node.js process.
            stage.space.call(call, **fields)
            assert "BigInt" in stage.space.app.wait(stage.space.since, notice="unhandled")["message"]
            stage.unwanted.discard("unhandled")
    assert stage.hear([client], lambda: stage.space.emit("x", 2)) == [[["x", 2]]]


@shows("events")
def test_the_order_of_many(stage: Stage) -> None:
    client = pair(stage)
    stage.space.join(client, "room")
    numbers = [[n] for n in range(300)]
    for [n] in numbers:
        client.start("emit", args=["up", n])
    step = stage.space.step
    stage.space.batch(*[step("emit", to=["room"], args=["room", n]) for [n] in numbers])
    stage.space.batch(*[step("send", sid=client, args=["down", n]) for [n] in numbers])
    assert stage.space.events(client, "up", 300) == stage.space.as_reported(numbers)
    assert client.count("room", 300) == numbers
    assert client.count("down", 300) == numbers


@shows("one-order")
def test_one_order_over_direct_room_and_broadcast(stage: Stage) -> None:
    client = pair(stage)
    stage.space.join(client, "room")
    step = stage.space.step
    kinds = (
        lambda n: step("send", sid=client, args=["x", n]),
        lambda n: step("emit", to=["room"], args=["x", n]),
        lambda n: step("emit", args=["x", n]),
        lambda n: step("emit", to=[client], args=["x", n]),
    )
    count = 120
    stage.space.batch(*[kinds[(n * 7 + n // 5) % 4](n) for n in range(count)])
    heard = [n for [n] in client.count("x", count)]
    assert sorted(heard) == list(range(count))
    if stage.support("one-order").does:
        assert heard == list(range(count))
    else:
        direct = [n for n in heard if (n * 7 + n // 5) % 4 == 0]
        assert direct == sorted(direct)
