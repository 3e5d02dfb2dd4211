"""Nodes that keep a journal in memory, and an heir that goes on with the sockets of a lost one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moorage.hub.journal.heirs import Heirs
from moorage.hub.journal.keeping import Keeping
from moorage.hub.journal.pages import Pages
from moorage.hub.settings import HubSettings
from moorage.hub.turns import finished
from moorage.wire.commands import Selection, Send
from tests.hub.fakes import HUB
from tests.hub.recovery.stage import Returning, Stage
from tests.hub.recovery.test_moves import NamedWorld

INSTANCE = "instance"
SESSION = "session"


class PagesInMemory:
    """`journal.Store`."""

    def __init__(self) -> None:
        self.pages: list[bytes] = []
        self.waiting: list[tuple[bytes, Callable[[bool], object]]] = []
        self.works = True
        self.silent = False
        """True while it does not answer."""

    def put(self, page: bytes, done: Callable[[bool], object]) -> None:
        self.waiting.append((page, done))

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for page, done in waiting:
            if self.works:
                self.pages.append(page)
            done(self.works)


class JournalWorld(NamedWorld):
    """A node with a journal."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.store = PagesInMemory()
        self.keeping: Keeping = self.node.keep(self.store, lambda: self.now + 1e9)

    def settle(self) -> None:
        super().settle()
        while self.store.waiting and not self.store.silent:
            self.store.answer()
            super().settle()


class Keeper(Stage):
    """A hub at a node with a journal."""

    world: JournalWorld

    def __init__(self, seconds: float = 120.0, *, world: JournalWorld | None = None, **settings: Any) -> None:
        super().__init__(world or JournalWorld(hubs={"default": HubSettings(**settings)}), seconds)
        self.number = 0

    def recoverable(self, server: Any) -> None:
        server.instance = INSTANCE
        super().recoverable(server)

    @property
    def heirs(self) -> Heirs:
        return self.world.keeping.heirs

    @property
    def pages(self) -> list[bytes]:
        """What is stored."""
        self.world.settle()
        return self.world.store.pages

    def emit(self, to: Selection, payload: bytes, number: int = 0) -> None:
        """An emit of the app server, with the next number, or with that one."""
        self.number = number or self.number + 1
        self.world.execute(emit(to, payload, self.number))

    def take(self, batch: int) -> None:
        """A batch of the app server is carried out."""
        self.world.keeping.taken(self.world.hub(), SESSION, batch, lambda: None)

    def inherit(self, lost: Keeper, *, settle: bool = True) -> None:
        """Go on with the sockets of a lost node."""
        self.heirs.expect("lost")
        finished(self.heirs.read("lost", Pages(lost.pages)))
        if settle:
            self.heirs.handed_over("lost", HUB, INSTANCE, max(lost.number, self.number))


def emit(to: Selection, payload: bytes, number: int) -> Send:
    return Send(HUB, to, payload, source=INSTANCE, number=number)


def moves(client: Returning, to: Stage, **more: Any) -> None:
    """The client comes to another node."""
    client.stage = to
    client.come_back(**more)
