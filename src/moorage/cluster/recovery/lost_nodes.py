"""Which node goes on with the sockets of one that is lost, and how it comes to know of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from hashlib import blake2b
from typing import Final, Protocol

from moorage import logs
from moorage.hub.journal.heirs import Heirs
from moorage.hub.journal.pages import Pages
from moorage.hub.turns import Intake, Job, Turns
from moorage.wire.errors import PeerError

RECENT_SECONDS: Final = 20.0
REMEMBERED: Final = 1_000
"""Maximum number of lost nodes whose heirs are remembered."""

log: Final = logs.get("recovery")


class StoreError(Exception):
    """The store does not answer, or refuses a request."""


class Journals(Protocol):
    """The journals of all nodes (`jetstream.JetStreamStore`)."""

    async def take_over(self, node: str) -> list[bytes] | None:
        """The pages of a lost node, which cannot write any more. None if another node has taken its journal
        over, or if there is none. Raises `StoreError`."""

    async def others(self) -> list[str]:
        """All nodes with a journal, but for this one. Raises `StoreError`."""


def heir_of(lost: str, nodes: Iterable[str]) -> str:
    """The node of these that goes on with the sockets of a lost one. All nodes choose alike."""
    return max(nodes, key=lambda node: blake2b(f"{lost} {node}".encode(), digest_size=8).digest())


class LostNodes:
    """The lost nodes, at one node. `peers` are the others that are there."""

    def __init__(
        self,
        journals: Journals,
        heirs: Heirs,
        turns: Turns,
        own: str,
        peers: Callable[[], Collection[str]],
    ) -> None:
        self._journals = journals
        self.heirs = heirs
        self._work = Intake(turns)
        self._own = own
        self._peers = peers
        self._tasks: set[asyncio.Task[None]] = set()
        self._recent: dict[str, float] = {}
        """Nodes that were lost a moment ago, and when."""
        self._heirs_of: dict[str, str] = {}
        """The heirs of lost nodes, this one among them; the latest loss last."""
        self._unstored: set[str] = set()
        """Nodes that cannot store anything. What happens there is in no journal."""
        heirs.is_alive = lambda node: node in peers()
        heirs.forsaken = _forsaken
        heirs.work = self._work.add

    def heard(self, node: str, *, unstored: bool) -> None:
        """A heartbeat of a node has arrived."""
        (self._unstored.add if unstored else self._unstored.discard)(node)

    def remove(self, node: str) -> None:
        """A node is gone."""
        unstored = node in self._unstored
        self._unstored.discard(node)
        self._recent[node] = asyncio.get_running_loop().time()
        heir = heir_of(node, (self._own, *self._peers()))
        self._heirs_of.pop(node, None)
        self._heirs_of[node] = heir
        if len(self._heirs_of) > REMEMBERED:
            del self._heirs_of[next(iter(self._heirs_of))]
        if heir == self._own:
            self.heirs.expect(node)
            if unstored:
                self._refuse(node)
                return
            task = asyncio.get_running_loop().create_task(self._take_over(node))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self.heirs.known(node)

    def heir(self, node: str) -> str:
        """The heir of a lost node; "" if this node does not know of the loss."""
        return self._heirs_of.get(node, "")

    def recent(self) -> list[str]:
        """Nodes that were lost so lately that their sockets may not be at their heirs yet."""
        old = asyncio.get_running_loop().time() - RECENT_SECONDS
        self._recent = {node: when for node, when in self._recent.items() if when > old}
        return list(self._recent)

    def _refuse(self, node: str) -> None:
        log.error(
            "the sockets of a lost node cannot be recovered", node=node, reason="it could not store anything"
        )
        self.heirs.give_up(node, unread=True)

    async def restart(self, *, complete: bool = True) -> list[str]:
        """This node was alone, and has started again: it goes on with what it had before. Not `complete`: it
        could not store anything at its end. Returns its former incarnations."""
        try:
            former = await self._journals.others()
        except StoreError as error:
            log.error("what was stored cannot be read", reason=str(error))
            return []
        for node in former:
            self.heirs.expect(node)
            await self._take_over(node, complete=complete)
        return former

    async def _take_over(self, node: str, *, complete: bool = True) -> None:
        try:
            pages = await self._journals.take_over(node)
            found = Pages(pages or ())
        except (StoreError, PeerError) as error:
            log.error("the sockets of a lost node cannot be recovered", node=node, reason=str(error))
            self.heirs.give_up(node, unread=True)
            return
        if pages is None:
            self.heirs.give_up(node, unread=False)
            return
        if not complete:
            self._refuse(node)
            return
        log.info("going on with the sockets of a lost node", node=node, pages=len(pages))
        self._work.add(self._reading(node, found))

    def _reading(self, node: str, pages: Pages) -> Job[None]:
        try:
            yield from self.heirs.read(node, pages)
        except PeerError as error:
            log.error("the sockets of a lost node cannot be recovered", node=node, reason=str(error))
            self.heirs.give_up(node, unread=True)


def _forsaken(node: str, hub: str, sockets: int) -> None:
    log.warning(
        "the sockets of a lost node end, because an app server has not handed over in time",
        lost=node,
        hub=hub,
        sockets=sockets,
    )
