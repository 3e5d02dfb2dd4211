"""Clients that move between app servers: what this one says of a client that leaves, and how it takes one. No
I/O.

A client leaves in three steps: its ordered handlers end, its other handlers end, its state is sent. Until the
service says who serves it, it is this app server's client, and its sockets stay in the tables."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, NamedTuple

import orjson

from moorage.sdk.clients.clients import Client, ClientT, ClientTable
from moorage.sdk.clients.facts import facts_json
from moorage.sdk.clients.members import Member, Parting, Stage
from moorage.sdk.clients.packets import Ack, PacketReader, complete
from moorage.sdk.errors import UsageError
from moorage.sdk.exchange.manager import SocketManager
from moorage.sdk.link.planner import slot_of
from moorage.sdk.link.session import End
from moorage.wire.moorage.v1 import (
    Adopt,
    Arriving,
    Done,
    Freeze,
    FromApp,
    Leaving,
    Open,
    Refused,
    Released,
    Resume,
    State,
)

HANDED_OVER: Final = "moorage.handed_over"
"""In the environment of a client that another app server has served."""
HAND_OVER_REVISION: Final = 5
"""Revision of the link protocol from which clients can be handed over."""
HAND_OVER_SECONDS: Final = 300.0
"""Seconds to wait for the service's answer. Many clients take some seconds, slow handlers ten more."""
_UNAVAILABLE: Final = 503

_log = logging.getLogger("moorage.sdk")


class HandedOver(NamedTuple):
    """How a hand-over has ended."""

    moved: int
    """Number of clients that this app server does not serve any more."""
    missing: tuple[str, ...]
    """The connections that no other app server has taken, and nodes that did not answer."""


def handed_over(end: End) -> HandedOver:
    """The answer to `HandOver`."""
    assert isinstance(end, Done)
    return HandedOver(end.count, end.missing)


def check_revision(revision: int) -> None:
    """Raises `UsageError` if the service cannot hand clients over."""
    if revision < HAND_OVER_REVISION:
        raise UsageError("this version of the service cannot hand clients over")


class Movers(Generic[ClientT]):
    """The part of a dispatcher that handles clients that move."""

    _sio: Any
    _table: ClientTable[ClientT]
    _manager: SocketManager
    _reader: PacketReader

    def __init__(self) -> None:
        self._late: dict[int, dict[str, Member]] = {}
        """Sockets of clients that another app server serves, and whose acks may still come."""

    # -- the executor's part --------------------------------------------------------------------------------

    @abstractmethod
    def _make(self, frame: Open) -> ClientT:
        """A client, which is in no table yet."""

    @abstractmethod
    def _transmit(self, client: ClientT, frame: FromApp) -> None:
        """Send a frame about this client."""

    @abstractmethod
    def _in_order(self, client: ClientT, job: Callable[[], Any]) -> None:
        """Run `job` after all earlier jobs of the client."""

    @abstractmethod
    def _is_running(self, client: ClientT) -> bool:
        """A handler of the client runs."""

    @abstractmethod
    def _arrive(self, client: ClientT, member: Member) -> Any:
        """Job: run the connect handler of a socket that another app server has served."""

    @abstractmethod
    def _late_ack(self, member: Member, ack: Ack) -> None:
        """An ack for a socket that another app server serves now."""

    # -- clients that leave --------------------------------------------------------------------------------

    def freeze(self, frame: Freeze) -> None:
        """Send the client's state when its handlers have ended."""
        client = self._table.by_number.get(frame.client)
        if client is not None:
            client.parting = Parting.QUEUE
            self._in_order(client, partial(self._queue_ended, client))

    def _queue_ended(self, client: ClientT) -> None:
        if client.parting is Parting.QUEUE:
            client.parting = Parting.HANDLERS
            self.handler_ended(client)

    def handler_ended(self, client: ClientT) -> None:
        """A handler has ended, perhaps the last one of a client that leaves."""
        if self._may_leave(client) and not client.gone:
            self._transmit(client, self._state(client))

    def _may_leave(self, client: ClientT) -> bool:
        """True for the one caller that sends the client's state."""
        if client.parting is not Parting.HANDLERS or self._is_running(client):
            return False
        client.parting = Parting.SAID
        return True

    def _state(self, client: ClientT) -> State:
        with self._manager.lock:
            members = [one for one in client.members.values() if one.stage is Stage.CONNECTED]
            return State(client.number, tuple(_leaving(client, member) for member in members))

    def resume(self, frame: Resume) -> None:
        """No other app server has taken the client."""
        client = self._table.by_number.get(frame.client)
        if client is not None:
            client.parting = Parting.NO

    def released(self, frame: Released) -> None:
        """Another app server serves the client: it ends here without an event."""
        client = self._table.by_number.pop(frame.client, None)
        if client is None:
            return
        late = {}
        for namespace, member in list(client.members.items()):
            waiting = dict(member.waiting)
            self._manager.remove(member)
            member.waiting.update(waiting)
            if waiting:
                late[namespace] = member
        if late:
            self._late[frame.client] = late
        self._table.remove(client)

    def _late_packet(self, number: int, payload: bytes) -> None:
        late = self._late.get(number)
        if late is None:
            return
        for packet in complete(_Pieces(), payload):
            plan = self._reader.read(packet)
            known = late.get(plan.namespace)
            if isinstance(plan, Ack) and known is not None:
                self._late_ack(known, plan)
        if not any(member.waiting for member in late.values()):
            del self._late[number]

    def _forget_late(self, slot: int | None) -> None:
        """No more acks come from the session with this slot, or from any."""
        for number in [number for number in self._late if slot in {None, slot_of(number)}]:
            del self._late[number]

    # -- clients that arrive -------------------------------------------------------------------------------

    def adopt(self, frame: Adopt) -> None:
        """Take a client of another app server. Its connect handlers run; they cannot tell it apart from a new
        client but for `HANDED_OVER`."""
        client = self._make(Open(frame.client, frame.id, frame.user, frame.handshake))
        if not all(self._serves(one.namespace) for one in frame.sockets):
            _log.warning("a client's hand-over is refused: this app server lacks one of its namespaces")
            self._transmit(client, Refused(client.number, _UNAVAILABLE, ""))
            return
        if frame.sockets:
            # Without any, its next connect is an ordinary one.
            client.environ[HANDED_OVER] = True
        client.upgraded = frame.transport == "websocket"
        opened = self._table.take(client)
        members = [self._member(client, one) for one in frame.sockets]
        self._transmit(client, opened)
        engine: Any = self._table
        self._in_order(client, lambda: engine.handlers["connect"](client.sid, client.environ))
        for member in members:
            self._in_order(client, partial(self._arrive, client, member))

    def _serves(self, namespace: str) -> bool:
        sio = self._sio
        known = sio.namespaces == "*" or namespace in (sio.namespaces or ())
        return known or namespace in sio.handlers or namespace in sio.namespace_handlers

    def _member(self, client: ClientT, row: Arriving) -> Member:
        facts = _facts(row.data)
        member = Member(row.sid, row.namespace, client, facts.get("auth"))
        member.stage = Stage.CONNECTED
        member.last_ack = row.acks
        if facts.get("data"):
            client.session[row.namespace] = facts["data"]
        with self._manager.lock:
            self._manager.members.add(member)
            self._manager.members.enter(member, row.rooms)
        return member


class _Pieces:
    """The pieces of an ack, where it has no client any more."""

    def __init__(self) -> None:
        self.incoming: list[bytes] = []


def _leaving(client: Client, member: Member) -> Leaving:
    facts = facts_json(client.session.get(member.namespace), member.auth)
    return Leaving(member.namespace, member.sid, facts, member.last_ack, tuple(member.waiting))


def _facts(data: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(data or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
