"""The link to one node of several, as the other links of its app server see it."""

from __future__ import annotations

from typing import Protocol

from moorage.sdk.aio.link import Link
from moorage.sdk.link.planner import NodeView, inward
from moorage.sdk.link.ports import FleetReceiver
from moorage.wire.connection_string import ConnectionString
from moorage.wire.moorage.v1 import FromService, ServiceHello


class LinksOwner(Protocol):
    """What decides about all links of an app server."""

    receiver: FleetReceiver

    def where(self, node_link: NodeLink) -> tuple[ConnectionString, str]:
        """Where a link dials: the address, and the node that must answer ("" for any)."""
        ...

    def greeted(self, node_link: NodeLink, hello: ServiceHello, *, new: bool) -> None:
        """A link is up, with a new session or with its former one."""
        ...

    def lost(self, node_link: NodeLink, why: str) -> None:
        """A session is over."""
        ...

    def event(self, node_link: NodeLink, name: str, error: Exception | None) -> None:
        """A link was lost, came back, or failed for good."""
        ...


class NodeLink:
    """The link to one node, as its `Receiver` and its `Owner`."""

    def __init__(self, owner: LinksOwner, view: NodeView) -> None:
        self._owner = owner
        self._receiver = owner.receiver
        self.view = view
        self.link: Link
        """Set by the owner."""

    def received(self, frames: list[FromService]) -> None:
        """One batch."""
        if self.view.slot:
            inward(frames, self.view.slot)
        self._receiver.received(frames)

    def session_lost(self, why: str) -> None:
        """The session is over."""
        self._owner.lost(self, why)

    def link_event(self, name: str, error: Exception | None) -> None:
        """The link was lost, came back, or failed."""
        self._owner.event(self, name, error)

    def where(self) -> tuple[ConnectionString, str]:
        """Where to dial."""
        return self._owner.where(self)

    def greeted(self, hello: ServiceHello, *, new: bool) -> None:
        """The link is up."""
        self._owner.greeted(self, hello, new=new)
