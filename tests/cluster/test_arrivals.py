"""Commands of other nodes: what the node that asked is told. How they act on clients is in `test_router`."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator

import pytest

from moorage.cluster.arrivals import MAX_WAITING, OVERHEAD, Arrivals
from moorage.cluster.coverage.homes import Instances
from moorage.hub.inspect import paced
from moorage.wire.cluster.messages import Answer, Envelope, Finished, Part, Refused, Result
from moorage.wire.commands import (
    EVERYONE,
    Command,
    Exists,
    Inspect,
    Invoke,
    JoinGroups,
    Outcome,
    Report,
    Send,
    TellServers,
)
from moorage.wire.groups import namespace_group
from tests.hub.fakes import HUB, RecordingPeer, World, heard


def at_once(_command: JoinGroups, here: Outcome, call: Callable[[Outcome], object]) -> None:
    """Every join is visible."""
    call(here)


class Home:
    """A node, and what it tells others."""

    def __init__(self, clients: int = 1) -> None:
        self.world = World()
        self.world.server(peer=RecordingPeer())
        self.clients = [self.world.client("/") for _ in range(clients)]
        self.told: list[tuple[str, int, Part]] = []
        self.lost: list[tuple[str, bool]] = []
        self.arrivals = Arrivals(
            self.world.node,
            lambda *part: self.told.append(part),
            Instances(),
            at_once,
            lambda *gap: self.lost.append(gap),
        )

    def take(self, command: Command, number: int = 7, origin: str = "n1", size: int = 0) -> None:
        """A command of `size` bytes arrives."""
        self.arrivals.message_size = size
        self.arrivals.take(Envelope(origin, command, number))


def test_an_outcome_goes_to_the_node_that_asked() -> None:
    home = Home()
    home.take(JoinGroups(HUB, EVERYONE, ("g",)), 7, "n1")
    home.take(Exists("no-hub", EVERYONE), 8, "n2")
    done, nobody = (Result(found, reached, (), False, 0, 0) for found, reached in ((True, 1), (False, 0)))
    assert home.told == [("n1", 7, done), ("n2", 8, nobody)]


@pytest.mark.parametrize("payload", [b'42["x"]', b"41"])
def test_a_cast_is_not_answered(payload: bytes) -> None:
    home = Home()
    home.take(Send(HUB, EVERYONE, payload), 0)
    home.take(TellServers(HUB, "/", b'42["x"]', "s9"), 0)
    assert home.told == []


def test_a_refusal_is_told() -> None:
    home = Home()
    home.take(Invoke(HUB, EVERYONE, b"41"))
    ((node, number, part),) = home.told
    assert (node, number) == ("n1", 7)
    assert isinstance(part, Refused)
    assert part.reason == "api-bad-payload"


def test_a_defect_is_told_as_internal(caplog: pytest.LogCaptureFixture) -> None:
    home = Home()
    home.take(JoinGroups(HUB, EVERYONE, (5,)))  # type: ignore[arg-type]
    assert home.told == [("n1", 7, Refused("internal", ""))]


def test_answers_and_their_end() -> None:
    home = Home(2)
    home.take(Invoke(HUB, EVERYONE, b'42["x"]', 5.0))
    home.world.settle()
    first, second = home.clients
    home.world.node.receive(first, b"43" + heard(first)[0][2:].split(b"[")[0] + b"[1]")
    home.world.now += 5.0
    home.world.node.tick(home.world.now)
    result, answer, end = [part for _, _, part in home.told]
    assert isinstance(result, Result)
    assert isinstance(answer, Answer)
    assert (result.asked, answer.sender, end) == (2, f"{first.id}/", Finished((f"{second.id}/",)))


def test_commands_of_one_node_wait_for_each_other_and_other_nodes_do_not() -> None:
    home = Home(600)
    groups = tuple(f"g{number}" for number in range(5))
    home.take(JoinGroups(HUB, EVERYONE, groups), 1, "n1")
    home.take(Send(HUB, EVERYONE, b'42["n1"]'), 0, "n1")
    home.take(Send(HUB, EVERYONE, b'42["n2"]'), 0, "n2")
    assert home.told == []
    home.world.settle()
    assert heard(home.clients[0]) == [b'42["n2"]', b'42["n1"]']
    assert [number for _, number, _ in home.told] == [1]


class Looked:
    """`hub.ports.Inspector` that needs a hundred steps."""

    def inspect(self, what: str, arguments: bytes) -> Generator[bool, None, bytes]:
        for _ in range(100):
            yield False
        return b'{"what":"%s"}' % what.encode()

    def drain(self) -> None: ...


def turn(world: World) -> None:
    """What the event loop does in one turn."""
    calls, world.callbacks = world.callbacks, []
    for call in calls:
        call()
    world.settle()


def test_operators_delay_no_command_of_their_node() -> None:
    home = Home()
    home.world.node.inspections.inspector = Looked()
    home.take(Inspect("", "hubs"), 1, "n1")
    home.take(Exists(HUB, EVERYONE), 2, "n1")
    assert [number for _, number, _ in home.told] == [2]
    while home.world.callbacks or home.world.turns:
        turn(home.world)
    (_, number, result) = home.told[-1]
    assert number == 1 and isinstance(result, Result)
    assert result.reports == (Report("", b'{"what":"hubs"}'),)


def test_too_many_operators_are_refused() -> None:
    home = Home()
    home.world.node.inspections.inspector = Looked()
    for number in range(paced.MAX_WAITING + 1):
        home.take(Inspect("", "hubs"), number + 1, "n1")
    (_, number, refused) = home.told[-1]
    assert number == paced.MAX_WAITING + 1
    assert isinstance(refused, Refused) and refused.reason == "admin-busy"


def test_a_node_without_operators_has_no_answer() -> None:
    home = Home()
    home.take(Inspect("", "hubs"), 1, "n1")
    assert home.told == [("n1", 1, Result(False, 0, (), False, 0, 0))]


def test_what_a_node_asked_for_is_done_though_it_is_gone() -> None:
    home = Home(600)
    home.take(JoinGroups(HUB, EVERYONE, tuple(f"g{number}" for number in range(5))), 1, "n1")
    home.arrivals.forget("n1")
    home.world.settle()
    assert all("g4" in client.groups and namespace_group("/") in client.groups for client in home.clients)


def test_small_commands_leave_nothing_behind() -> None:
    home = Home()
    before = len(gc.get_referrers(home.world.node.turns))
    for number in range(50):
        home.take(Exists(HUB, EVERYONE), 7, f"n{number}")
    assert len(gc.get_referrers(home.world.node.turns)) == before


class TestTooMuchWaits:
    """A command of `n1` that takes many steps is under way."""

    LARGE = JoinGroups(HUB, EVERYONE, tuple(f"g{number}" for number in range(5)))

    def busy(self) -> Home:
        home = Home(600)
        home.take(self.LARGE, 1)
        return home

    def test_what_is_above_the_limit_is_dropped_and_told(self) -> None:
        home = self.busy()
        size = MAX_WAITING // 4 - OVERHEAD
        for number in range(6):
            home.take(Send(HUB, EVERYONE, b'42["%d"]' % number), 0, size=size)
        assert home.lost == [("n1", True), ("n1", False)]
        home.take(Send(HUB, EVERYONE, b'42["n2"]'), 0, "n2", size)
        home.world.settle()
        assert heard(home.clients[0]) == [b'42["n2"]', *(b'42["%d"]' % number for number in range(4))]
        home.take(self.LARGE, 2)
        home.take(Send(HUB, EVERYONE, b'42["6"]'), 0, size=size)
        home.world.settle()
        assert heard(home.clients[0])[-1] == b'42["6"]', "there is room again"
        assert len(home.lost) == 2

    def test_a_large_message_may_wait_alone(self) -> None:
        home = self.busy()
        home.take(Send(HUB, EVERYONE, b'42["large"]'), 0, size=2 * MAX_WAITING)
        home.take(Send(HUB, EVERYONE, b'42["small"]'), 0)
        assert home.lost == [("n1", True)]
        home.world.settle()
        assert heard(home.clients[0]) == [b'42["large"]']

    def test_small_messages_count_too(self) -> None:
        home = self.busy()
        for _ in range(MAX_WAITING // OVERHEAD + 2):
            home.arrivals.after("n1", bool)
        assert home.lost == [("n1", True), ("n1", False)]

    def test_after_an_overflow_half_of_it_is_carried_out_first(self) -> None:
        home = self.busy()
        half = MAX_WAITING // 2 - OVERHEAD
        for number in range(2):
            home.take(self.LARGE, number, size=half)
        home.take(self.LARGE, 3, size=half)
        home.take(Exists(HUB, EVERYONE), 4)
        assert home.lost == [("n1", True), ("n1", False)]
        while len(home.told) < 2:
            home.world.tick()
        home.take(Exists(HUB, EVERYONE), 5)
        home.world.settle()
        assert [number for _, number, _ in home.told] == [1, 1, 5]
