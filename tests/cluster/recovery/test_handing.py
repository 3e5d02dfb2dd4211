"""An app server covers a node that is lost, and not the heir of that node: its home forwards what it hands
over. The home's side begins at the frames of its session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moorage.cluster.coverage.coverage import Coverage
from moorage.cluster.members.membership import Member
from moorage.cluster.recovery import lost_nodes
from moorage.edge.moorage.frames.unfinished import NOTICE_SECONDS
from moorage.edge.moorage.sessions import Sessions
from moorage.hub.hub import Hub
from moorage.hub.journal.heirs import HAND_OVER_SECONDS
from moorage.wire.cluster.messages import VERSION, Delta, Envelope, encode
from moorage.wire.commands import Exists, Selection, Send
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import To
from moorage.wire.recovery import handing as wire
from tests.cluster.nodes import NodeWorld
from tests.cluster.recovery.keepers import LOST, Keepers
from tests.cluster.recovery.keepers import heir as heir_of_lost
from tests.edge.moorage.rig import App
from tests.hub.fakes import HUB
from tests.hub.recovery.stage import Returning

INSTANCE = "instance"
SESSION = "session"
CHANNEL = 7
ASK = v1.Enter(9, 99, "/", ("a",))
"""A frame that is answered at once."""


class Home:
    """Sessions of the moorage dialect at a node of a cluster, as `App` needs them."""

    def __init__(self, keepers: Keepers, at: int) -> None:
        self._keepers = keepers
        self.world: NodeWorld = keepers.nodes.worlds[at]
        name = self.world.incarnation
        self.hub_name = HUB
        self._flushes: list[Callable[[], object]] = []
        self.sessions = Sessions(
            self.world.node,
            self.world.metrics,
            self.world.links,
            1 << 24,
            node_id=name,
            clock=lambda: self.world.now,
            wall_clock=lambda: self.world.now,
            later=self._flushes.append,
        )
        router = keepers.nodes.routers[at]
        member = Member(name, name, "", "", VERSION)
        self.sessions.homes = Coverage(self.world.node, router, member, lambda _node: True, most=1)

    @property
    def hub(self) -> Hub:
        return self.world.hub()

    def settle(self) -> None:
        self._keepers.settle()
        while self._flushes:
            self._flushes.pop(0)()
            self._keepers.settle()


class Story:
    """An app server covers the lost node and `home`, which is not the heir. `messages`: the kinds of those
    that concern the heir."""

    def __init__(self) -> None:
        self.keepers = keepers = Keepers()
        self.heir = heir_of_lost()
        self.at = 3 - self.heir
        self.home = Home(keepers, self.at)
        self.messages: list[type] = []
        router = keepers.nodes.routers[self.heir]
        for kind in (wire.HeirSought, wire.Unfinished, wire.Settled, wire.Saved):
            router.handlers[kind] = self._noted(self.messages, router.handlers[kind])
        self.at_home: list[type] = []
        """The kinds of what the heir tells the home: the news of groups, and its answers."""
        home = keepers.nodes.routers[self.at]
        for news in (Delta, wire.HeirFound):
            home.handlers[news] = self._noted(self.at_home, home.handlers[news])
        lost = keepers.nodes.worlds[0]
        assert lost.node.keeping is not None
        lost.node.keeping.session_changed(lost.hub(), INSTANCE, True)
        self.client: Returning = keepers.client(0)
        self.client.connection.channel = CHANNEL
        keepers.tick(31.0)
        lost.node.keeping.taken(lost.hub(), SESSION, 4, lambda: None)
        keepers.settle()

        self.app = App(self.home, "covers")  # type: ignore[arg-type]
        self.app.instance, self.app.recovery = INSTANCE, 60_000
        self.app.dial()
        self.cover("node-000", self.name)
        keepers.settle()

    def _noted(self, kinds: list[type], take: Callable[[Envelope], object]) -> Callable[[Envelope], object]:
        def noted(envelope: Envelope) -> object:
            if envelope.origin in (self.name, f"node-00{self.heir}"):
                kinds.append(type(envelope.body))
            return take(envelope)

        return noted

    @property
    def name(self) -> str:
        """The home."""
        return f"node-00{self.at}"

    def cover(self, *nodes: str, term: int = 1) -> None:
        self.app.say(v1.Cover(term, True, False, nodes))

    def emit(self, number: int) -> v1.Emit:
        return v1.Emit(0, To("/"), 0, b'42["a",%d]' % number, number)

    def unfinished(self, frame: Any, place: int = 0, batch: int = 5) -> v1.Unfinished:
        return v1.Unfinished(LOST, SESSION, batch, place, frame)

    async def lose(self, *at: int) -> None:
        """These nodes notice the loss. The recording app servers of all nodes have handed over."""
        await self.keepers.lose(*at)
        self.home.settle()

    def numbers(self) -> list[int]:
        return self.keepers.numbers(self.client, self.heir)

    @property
    def refused(self) -> dict[str, int]:
        return self.keepers.refused(self.heir)


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.mark.parametrize("first", ["home", "heir"])
async def test_the_home_hands_over_to_an_heir_that_the_app_server_does_not_cover(
    story: Story, first: str
) -> None:
    """What follows reaches the sockets, too, behind that: the home waits until it knows their groups."""
    lost = story.keepers.nodes.worlds[0].node
    lost.submit(
        Send(HUB, Selection(group="0~Lw~"), b'42["a",1]', source=INSTANCE, number=1),
        lambda about, outcome: None,
        reach=None,
    )
    story.keepers.settle()
    story.app.say(story.emit(1), story.emit(2))
    story.keepers.die()
    story.cover(story.name, term=2)
    story.app.say(
        story.unfinished(story.emit(1)),
        story.unfinished(story.emit(2), 1),
        story.unfinished(v1.Packet(CHANNEL, b'42["a",3]'), 2),
        story.unfinished(v1.Enter(0, CHANNEL, "/", ("red",)), 3),
        v1.Settled(LOST, 2),
        v1.Emit(0, To("/", ("red",)), 0, b'42["a",4]', 3),
        v1.Emit(0, To("/"), 0, b'42["a",5]', 4),
    )
    story.home.settle()
    story.at_home.clear()
    order = (story.at, story.heir) if first == "home" else (story.heir, story.at)
    await story.lose(order[0])
    await story.lose(order[1])
    assert story.numbers() == [1, 2, 3, 4, 5]
    assert story.messages.count(wire.HeirSought) == 1
    assert story.at_home[:2] == [Delta, wire.HeirFound]


async def test_nothing_is_forwarded_to_an_heir_that_the_app_server_covers(story: Story) -> None:
    story.keepers.die()
    story.cover(story.name, f"node-00{story.heir}", term=2)
    story.app.say(story.unfinished(story.emit(1)), v1.Settled(LOST, 1))
    await story.lose(story.at, story.heir)
    assert story.messages == []
    assert story.keepers.nodes.worlds[story.heir].node.keeping.heirs.waits(LOST)  # type: ignore[union-attr]


async def test_a_session_that_is_not_the_home_forwards_nothing(story: Story) -> None:
    story.keepers.die()
    story.app.say(v1.Cover(2, False, False, (story.name, "elsewhere")))
    story.app.say(v1.Settled(LOST, 1))
    await story.lose(story.at, story.heir)
    assert story.messages == []


async def test_the_data_of_sockets_follows(story: Story) -> None:
    """It names the app server, whose id the heir compares with that of the socket."""
    story.keepers.die()
    story.cover(story.name, term=2)
    story.app.say(v1.Settled(LOST, 0))
    await story.lose(story.at, story.heir)
    world = story.keepers.nodes.worlds[story.heir]
    saved: list[tuple[str, str, str, bytes]] = []
    world.node.claims.save = lambda hub, server, *rest: saved.append((server.id, *rest))  # type: ignore[method-assign]
    story.app.say(v1.Save("/", "sid", b"{}"))
    story.home.settle()
    assert saved == [("covers", "/", "sid", b"{}")]


@pytest.mark.parametrize("what", ["version", "unknown", "gone", "silent"])
async def test_an_heir_that_cannot_be_asked(story: Story, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session goes on. The sockets are not recovered, because the app server is there and has not handed
    over."""
    keepers = story.keepers
    router = keepers.nodes.routers[story.at]
    keepers.die()
    story.cover(story.name, term=2)
    if what == "version":
        monkeypatch.setattr(router.recovery, "hands_on", lambda node: False)
    elif what == "unknown":
        monkeypatch.setattr(lost_nodes, "REMEMBERED", 0)
    elif what == "silent":
        keepers.nodes.network.delay(story.name, f"node-00{story.heir}")
    if what == "gone":
        keepers.nodes.network.delay(f"node-00{story.heir}", story.name)
    story.app.say(story.unfinished(story.emit(1)), v1.Settled(LOST, 1), ASK)
    await story.lose(story.at, story.heir)
    if what == "gone":
        router.remove(f"node-00{story.heir}")
        story.home.settle()
    if what == "silent":
        assert story.app.heard(v1.Done) == []
        keepers.tick(NOTICE_SECONDS + 0.5)
        story.home.sessions.tick(story.home.world.now)
    assert [frame.ref for frame in story.app.heard(v1.Done)] == [9]
    if what in ("version", "unknown"):
        keepers.tick(HAND_OVER_SECONDS + 0.5)
        assert story.numbers() == []
        assert story.refused == {"lost": 1}


async def test_another_node_is_not_the_heir(story: Story) -> None:
    """The two do not agree about it, because they have noticed other losses. The session goes on."""
    story.keepers.journals.taken.add(LOST)
    story.keepers.die()
    story.cover(story.name, term=2)
    story.app.say(story.unfinished(story.emit(1)), v1.Settled(LOST, 1), ASK)
    await story.lose(story.at, story.heir)
    assert story.messages == [wire.HeirSought]
    assert [frame.ref for frame in story.app.heard(v1.Done)] == [9]


async def test_two_app_servers_ask_once(story: Story) -> None:
    handing = story.keepers.nodes.routers[story.at].recovery.handing
    assert handing is not None
    story.keepers.die()
    found: list[Any] = []
    await story.lose(story.at)
    for _ in range(2):
        handing.find(LOST, HUB, (), found.append)
    story.keepers.settle()
    assert found == []
    await story.lose(story.heir)
    assert len(found) == 2
    assert None not in found
    assert story.messages == [wire.HeirSought]


@pytest.mark.parametrize(("hands_over", "ends"), [("something", True), ("nothing", False), ("never", True)])
async def test_an_app_server_that_comes_back_late_at_a_node_that_is_not_the_heir(
    story: Story, hands_over: str, ends: bool
) -> None:
    """The sockets that its frames were for end, although it has no session at their node. If it does not hand
    over, all of them end."""
    keepers = story.keepers
    story.app.line.lose()
    story.app.server.give_up("gone")
    keepers.settle()
    keepers.die()
    await story.lose(story.at, story.heir)
    keepers.tick(HAND_OVER_SECONDS + 0.5)
    assert story.numbers() == []
    assert story.refused == {}
    story.app.dial()
    story.cover(story.name, term=3)
    if hands_over == "something":
        story.app.say(story.unfinished(story.emit(1)))
    if hands_over != "never":
        story.app.say(v1.Settled(LOST, 1))
    story.home.settle()
    keepers.tick(HAND_OVER_SECONDS + 0.5)
    there = keepers.nodes.worlds[story.heir].hub().directory.connections
    assert (story.client.connection.id not in there) is ends


async def test_bad_messages(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    """One that is no command is ignored, and one that cannot be read is logged. Unknown hubs and app servers
    change nothing."""
    handing = story.keepers.nodes.routers[story.heir].recovery.handing
    assert handing is not None
    other = encode(Envelope("x", Exists(HUB, Selection())))
    for body in (
        wire.Unfinished(LOST, HUB, SESSION, 5, 0, 0, b"\xc1"),
        wire.Unfinished(LOST, HUB, SESSION, 5, 0, 0, other),
        wire.Unfinished(
            LOST, "nohub", SESSION, 5, 0, 0, encode(Envelope("x", Send(HUB, Selection(), b"42")))
        ),
        wire.Saved("nohub", "covers", "/", "sid", b""),
        wire.Saved(HUB, "nobody", "/", "sid", b""),
        wire.HeirFound(LOST, HUB, is_heir=True),
    ):
        handing.take(Envelope(story.name, body))
    assert caplog.text.count("a message for a lost node cannot be carried out") == 1
