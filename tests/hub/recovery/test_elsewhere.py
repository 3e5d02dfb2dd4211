"""Clients whose sockets may be at other nodes."""

from __future__ import annotations

from collections.abc import Callable

from moorage.hub.ports import Wanted
from moorage.hub.recovery.causes import ELSEWHERE, LOST, UNKNOWN
from moorage.wire.reasons import RETURNED
from tests.hub.recovery.stage import Returning, Stage, refused


class Others:
    """`ports.Elsewhere`."""

    def __init__(self) -> None:
        self.asked: list[tuple[Wanted, Callable[[str], object]]] = []

    def fetch(self, wanted: Wanted, done: Callable[[str], object]) -> None:
        self.asked.append((wanted, done))


def stage_with_others() -> tuple[Stage, Others, Returning]:
    stage, others = Stage(), Others()
    stage.world.node.claims.elsewhere = others
    client = stage.client()
    client.lose()
    client.pid["/"] = "elsewhere"
    client.offset["/"] = "log.1"
    return stage, others, client


def test_a_socket_that_is_not_elsewhere_is_a_new_one() -> None:
    stage, others, client = stage_with_others()
    client.come_back(answer=False)
    ((wanted, done),) = others.asked
    assert wanted == Wanted(stage.world.hub().name, "elsewhere", "/", None, "log.1")
    assert stage.link.packets(client.connection) == []
    done(LOST)
    assert stage.link.packets(client.connection) == [client.asked]
    client.come_back(answer=False)
    others.asked[1][1]("")
    assert stage.world.node.claims.counts.refused == {LOST: 1, UNKNOWN: 1}


def test_a_forged_pid_costs_other_nodes_nothing() -> None:
    stage, others, client = stage_with_others()
    stage.world.node.claims.is_genuine = lambda pid: False
    client.come_back(answer=False)
    assert others.asked == []
    assert stage.link.packets(client.connection) == [client.asked]
    assert refused(stage) == {UNKNOWN: 1}


def test_of_two_clients_with_one_pid_the_later_gets_it() -> None:
    stage, others, client = stage_with_others()
    client.come_back(answer=False)
    first, asked = client.connection, client.asked
    client.come_back(answer=False)
    assert len(others.asked) == 1
    assert [closed[1] for closed in stage.world.observer.closes][-1] == RETURNED.name
    others.asked[0][1](LOST)
    assert stage.link.packets(first) == []
    assert stage.link.packets(client.connection) == [asked]


def test_a_client_may_ask_a_second_time_or_leave() -> None:
    stage, others, client = stage_with_others()
    client.come_back(answer=False)
    node = stage.world.node
    node.receive(client.connection, b"41")
    node.receive(client.connection, client.asked)
    assert len(others.asked) == 1
    node.receive(client.connection, b"41")
    others.asked[0][1](LOST)
    assert client.asked not in stage.link.packets(client.connection)
    client.come_back(answer=False)
    client.lose(read=False, save=None)
    others.asked[1][1](LOST)
    assert stage.link.packets(client.connection) == []


def test_a_client_of_an_app_server_without_recovery_does_not_ask() -> None:
    stage, others, client = stage_with_others()
    stage.server.returns = None
    client.come_back(answer=False)
    assert others.asked == []
    assert stage.world.node.claims.counts.refused == {UNKNOWN: 1}


def test_a_client_that_is_back_at_another_node_ends_here() -> None:
    stage, others, client = stage_with_others()
    client.come_back(answer=False)
    others.asked[0][1](ELSEWHERE)
    assert [closed[1] for closed in stage.world.observer.closes][-1] == RETURNED.name
    assert stage.link.packets(client.connection) == []
