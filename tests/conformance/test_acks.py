"""One emit, answers of many."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.capabilities import shows
from tests.conformance.clients import Client
from tests.conformance.program import Refused
from tests.conformance.stage import Stage
from tests.conformance.test_rooms import crew

BYTES = bytes([0, 1, 254, 255])


def names(*clients: Client) -> list[int]:
    """What these answer to "who"."""
    return sorted(client.number for client in clients)


@shows("ask-many")
def test_acks_of_a_room_and_with_exceptions(stage: Stage) -> None:
    space, clients = crew(stage, [], ["room"], ["room", "out"], [])
    a, b, c, d = clients

    def answers(**target: Any) -> list[int]:
        found = space.ask("who", **target)
        assert found["complete"]
        return sorted(found["answers"])

    assert answers() == names(a, b, c, d)
    assert answers(to=["room"]) == names(b, c)
    assert answers(to=["room", d], except_=["out"]) == names(b, d)
    assert answers(except_=["room"]) == names(a, d)
    assert answers(sender=a) == names(b, c, d)
    assert answers(to=["nobody"]) == []


@shows("ask-many")
def test_acks_of_all_clients_with_binary_data(stage: Stage) -> None:
    space, _ = crew(stage, [], [])
    value = {"deep": [BYTES, "é"], "more": b""}
    found = space.ask("echo", value)
    assert found["complete"]
    assert found["answers"] == [value, value]


@shows("ask-many")
def test_many_asks_at_a_time(stage: Stage) -> None:
    space, clients = crew(stage, [], [], [])
    asked = [space.start("ask", args=["echo", n], timeout=15_000) for n in range(20)]
    own = [
        space.start("ask_socket", sid=clients[n % 3], args=["echo", f"own {n}"], timeout=15_000)
        for n in range(9)
    ]
    for n, question in enumerate(asked):
        assert space.app.result(question)["answers"] == [n] * 3
    assert [space.app.result(question) for question in own] == [[f"own {n}"] for n in range(9)]


@shows("ask-late", "ask-missing")
def test_a_client_that_does_not_answer_in_time(stage: Stage) -> None:
    space, clients = crew(stage, [], [], [])
    clients[1].act("hush")
    for timeout in (300, 3_000, 20_000):
        found = space.ask("who", timeout=timeout)
        if sorted(found["answers"]) == names(clients[0], clients[2]):
            break  # a busy machine may need longer for these answers
    assert not found["complete"]
    assert sorted(found["answers"]) == names(clients[0], clients[2])
    if stage.support("ask-missing").does:
        assert found["missing"] == [clients[1].sid]
    # The next question is none the worse.
    assert space.ask("who", to=[clients[0]])["answers"] == names(clients[0])


@shows("ask-late")
def test_a_client_that_leaves_without_an_answer(stage: Stage) -> None:
    space, clients = crew(stage, [], [])
    clients[1].act("hush")
    question = space.start("ask", args=["who"], timeout=1_500)
    clients[1].next("who")
    clients[1].act("disconnect")
    found = space.app.result(question)
    assert found["answers"] == names(clients[0])


@shows("ask-late")
def test_a_late_answer_is_ignored(stage: Stage) -> None:
    space, [client] = crew(stage, [])
    client.act("hush")
    with pytest.raises(Refused, match=r"(?i)time"):
        space.call("ask_socket", sid=client, args=["who"], timeout=100)
    assert not space.ask("who", timeout=100)["complete"]
    client.act("answer_late")
    assert space.ask("who")["answers"] == [client.number]
    assert space.call("ask_socket", sid=client, args=["echo", 1], timeout=15_000) == [1]
