"""Which sessions one app server has, at which nodes of the service, and what each of them is told. No I/O.
`Planner` decides, and `sdk.aio.fleet` dials, sends and drops.

The first session is at the node that the connection string leads to. That node lists the others, and the app
server has a session at each node of the list that it should cover. One session is the *home*: its node
forwards the app server's commands to the nodes where the app server has no session (section 5 of
docs/reference/link-protocol.md). The Node.js SDK has the same rules in `planner.ts`."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, Final, NamedTuple

from moorage.wire.moorage import v1
from moorage.wire.moorage.coverage import NodeRow
from moorage.wire.moorage.v1 import FromApp, FromService

SLOT_BITS: Final = 53
"""Numbers of the protocol are smaller than two to this power."""
OF_SESSION: Final = 2**SLOT_BITS - 1
"""Mask for the part of a number that the session's node knows."""


class Aim(Enum):
    """Which sessions get a frame."""

    ALL = 1
    HOME = 2
    CLIENT = 3
    """The session of the frame's client."""
    ASKED = 4
    """The session in which the question came that the frame answers."""


_AIMS: Final[dict[type[Any], Aim]] = {
    v1.Packet: Aim.CLIENT,
    v1.Opened: Aim.CLIENT,
    v1.Refused: Aim.CLIENT,
    v1.Close: Aim.CLIENT,
    v1.Enter: Aim.CLIENT,
    v1.Exit: Aim.CLIENT,
    v1.State: Aim.CLIENT,
    v1.Reply: Aim.ASKED,
    v1.Facts: Aim.ASKED,
    v1.Tell: Aim.HOME,
    v1.List: Aim.HOME,
}

_OF_CLIENT: Final = frozenset(
    (
        *(v1.Packet, v1.Open, v1.Closed, v1.Left, v1.Upgraded, v1.Moved),
        *(v1.Recover, v1.Parked, v1.Back, v1.Trace),
        *(v1.Freeze, v1.Adopt, v1.Released, v1.Resume),
    )
)
_QUESTIONS: Final = frozenset({v1.Told, v1.Query})


def aim_of(frame: FromApp) -> Aim:
    """Which sessions get the frame."""
    return _AIMS.get(type(frame), Aim.ALL)


def slot_of(number: int) -> int:
    """The slot of the session that a client's number, or the number of a question, belongs to."""
    return number >> SLOT_BITS


def outward(frame: Any, aim: Aim) -> int:
    """Give the frame the number that its session knows. Returns the session's slot."""
    if aim is Aim.CLIENT:
        slot = slot_of(frame.client)
        frame.client &= OF_SESSION
    else:
        slot = slot_of(frame.ref)
        frame.ref &= OF_SESSION
    return slot


def inward(frames: Iterable[FromService], slot: int) -> None:
    """Give the frames of a session numbers that no other session has."""
    base = slot << SLOT_BITS
    for frame in frames:
        kind = type(frame)
        if kind in _OF_CLIENT:
            frame.client += base  # type: ignore[union-attr]
            if kind is v1.Back:
                frame.was += base  # type: ignore[union-attr]
        elif kind in _QUESTIONS and frame.ref:  # type: ignore[union-attr]
            frame.ref += base  # type: ignore[union-attr]


class NodeView:
    """A node as one app server sees it. The first session has slot 0; no slot is used twice."""

    __slots__ = ("alive", "listed", "name", "node", "slot", "up", "url", "version")

    def __init__(self, slot: int, node: str = "", name: str = "", url: str = "") -> None:
        self.slot = slot
        self.node = node
        """Its incarnation; "" until a node has answered."""
        self.name = name
        """For people."""
        self.url = url
        """Where to dial; "" for the connection string's endpoint."""
        self.alive = False
        """True if the app server has a session there."""
        self.up = False
        """True if the session's link is up."""
        self.version = 0
        self.listed: tuple[NodeRow, ...] = ()
        """The session's last list of nodes."""


class Order(NamedTuple):
    """A frame for one session."""

    view: NodeView
    frame: v1.Cover


class Steps(NamedTuple):
    """What the fleet has to do now."""

    dial: list[NodeRow]
    drop: list[NodeView]
    gone: list[NodeView]
    """Those of `drop` that are gone."""
    """Nodes that are gone, or need not be covered any more."""


class Planner:
    """The nodes of the service, as one app server sees them."""

    def __init__(self) -> None:
        self.views: dict[int, NodeView] = {}
        self.home: NodeView | None = None
        """The session at whose node commands for other nodes are forwarded."""
        self.term = 0
        self._several = False
        """True if a node has listed the nodes, so the service is a cluster."""
        self._first = True
        """True if there was no session yet."""
        self._slots = 0

    def add(self, row: NodeRow | None = None) -> NodeView:
        """Begin with a node of the list; without one, with the node to which the connection string leads."""
        view = NodeView(self._slots) if row is None else NodeView(self._slots, row.id, row.name, row.url)
        self._slots += 1
        self.views[view.slot] = view
        return view

    def remove(self, view: NodeView) -> None:
        """The node is not dialled any more. Its session has been lost before."""
        self.views.pop(view.slot, None)

    @property
    def alive(self) -> list[NodeView]:
        """The nodes with a session."""
        return [view for view in self.views.values() if view.alive]

    @property
    def up(self) -> bool:
        """True if at least one link is up."""
        return any(view.up for view in self.views.values())

    @property
    def anchor(self) -> NodeView:
        """The node whose link looks for any node at all while no link is up."""
        return self.home or next(iter(self.views.values()))

    @property
    def covered(self) -> bool:
        """True if there is a session at every node that should be covered."""
        nodes = {view.node for view in self.views.values() if view.alive}
        return self.home is None or all(row.id in nodes for row in self.home.listed if row.cover)

    def twin(self, view: NodeView, node: str) -> NodeView | None:
        """Another view for the same node."""
        others = (other for other in self.views.values() if other is not view and other.node == node)
        return next(others, None)

    # -- what happens -------------------------------------------------------------------------------

    def greeted(self, view: NodeView, node: str, *, new: bool) -> list[Order]:
        """A link is up: the session is resumed, or new. Nothing but these frames may go to a new session
        first."""
        view.node, view.up = node, True
        if not new:
            return []
        view.alive, view.version, view.listed = True, 0, ()
        if self.home is None:
            self.home = view
        orders = self._orders(fenced=view)
        self._first = False
        return orders

    def down(self, view: NodeView) -> None:
        """Its link broke."""
        view.up = False

    def lost(self, view: NodeView) -> list[Order]:
        """Its session is over."""
        if not view.alive:
            return []
        view.alive = view.up = False
        if view is self.home:
            rest = self.alive
            self.home = next((other for other in rest if other.up), rest[0] if rest else None)
        return self._orders() if self.home is not None else []

    def listed(self, view: NodeView, frame: v1.Nodes) -> None:
        """A node has told which nodes there are."""
        if frame.version < view.version:
            return
        view.version, view.listed = frame.version, frame.rows
        self._several = True
        rows = {row.id: row for row in frame.rows}
        for other in self.views.values():
            row = rows.get(other.node)
            if row is not None:
                other.name, other.url = row.name, row.url

    def _orders(self, fenced: NodeView | None = None) -> list[Order]:
        alive = self.alive
        alone = len(alive) == 1 and fenced is not None
        if alone and (self._first or not self._several):
            return []  # it is the home of everything anyway
        self.term += 1
        nodes = tuple(view.node for view in alive)
        # A session without others has no home that could mark it. But its node must know of it: what a lost
        # home has forwarded may still be under way, and must not come behind what this session sends.
        fenced = None if alone else fenced
        return [Order(view, v1.Cover(self.term, view is self.home, view is fenced, nodes)) for view in alive]

    # -- what follows -------------------------------------------------------------------------------

    def steps(self) -> Steps:
        """The nodes to dial, and those to drop. A node is gone if its link is down and another one does
        not list it any more."""
        home = self.home
        if home is None:
            return Steps([], [], [])
        known = {view.node for view in self.views.values()}
        # The home marks a new session; without it the session would wait for nothing.
        dial = [row for row in home.listed if row.cover and row.id not in known] if home.up else []
        unwanted = {row.id for row in home.listed if not row.cover}
        lists = [view.listed for view in self.views.values() if view.up and view.listed]
        there = {row.id for rows in lists for row in rows}
        views = self.views.values()
        gone = [view for view in views if lists and not view.up and view.node not in there]
        drop = [
            view for view in views if view in gone or (home.up and view is not home and view.node in unwanted)
        ]
        return Steps(dial, drop, gone)
