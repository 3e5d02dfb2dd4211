"""Sends frames and requests over several links: to all nodes, to the home, or to the node of one client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from moorage.sdk.aio.link import Link
from moorage.sdk.aio.node_link import NodeLink
from moorage.sdk.errors import SessionLost
from moorage.sdk.link.merged import Merged
from moorage.sdk.link.planner import Aim, Planner, aim_of, outward
from moorage.sdk.link.session import Answers, Counts, End, TakesPart, Waiter
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import FromApp

_GONE: Final = "the session of this client's node is over"

_log = logging.getLogger("moorage.sdk")

Make = Callable[[int], FromApp]
"""Makes the frame of a request from its ref."""


class Requesting(Protocol):
    """`Link.request`, and `SeveralLinks.request`."""

    def __call__(
        self, make: Make, *, timeout: float | None, part: TakesPart | None = None
    ) -> Awaitable[End]: ...


class SeveralLinks:
    """`send`, `ask` and `request` of `Link`, over all links of an app server. `links` has them by their slot,
    and changes while nodes come and go."""

    def __init__(self, planner: Planner, links: dict[int, NodeLink], counts: Counts) -> None:
        self._planner = planner
        self._links = links
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self.home: Link
        """The link to the home; set by the owner."""

    def alive(self) -> list[NodeLink]:
        """The links with a session. Without any, the one that looks for a node keeps what is to be sent."""
        views = self._planner.alive or [self._planner.anchor]
        return [self._links[view.slot] for view in views]

    def send(self, frame: FromApp) -> None:
        """Queue one frame. One for a client whose session is over is dropped."""
        aim = aim_of(frame)
        if aim is Aim.ALL:
            self._send_all(frame)
        elif aim is Aim.HOME:
            self.home.send(frame)
        else:
            node_link = self._links.get(outward(frame, aim))
            if node_link is not None and node_link.view.alive:
                node_link.link.send(frame)

    def _send_all(self, frame: FromApp) -> list[NodeLink]:
        """Queue the frame in all sessions, and return these. A session whose queue is full is given up,
        unless all are full. Raises `QueueFull`, `TooLarge`, and what ended the links."""
        links = self.alive()
        if self.home.closed:
            self.home.send(frame)  # raises, or does nothing
            return []
        if type(frame) in v1.COUNTED:
            self._counts.number += 1
            frame.number = self._counts.number  # type: ignore[union-attr]
        data = v1.encode_frame(frame)
        size = len(data)
        for node_link in links:
            if size > node_link.link.session.largest:
                raise node_link.link.session.too_large(size)
        full = [node_link for node_link in links if not node_link.link.session.fits(size)]
        if full and type(frame) is not v1.Drain:
            if len(full) == len(links):
                raise full[0].link.session.full()
            for node_link in full:
                _log.warning(
                    "node %s is slower than the others, and its queue is full: a new session begins there",
                    node_link.view.name,
                )
                node_link.link.restart("its queue is full")
            links = self.alive()
        for node_link in links:
            node_link.link.put(data)
        return links

    def ask(self, make: Make, answers: Answers, timeout: float | None) -> int:
        """Queue a request, and put the answers of the nodes together. `timeout`: maximum seconds to wait for
        each of them."""
        frame = make(0)
        aim = aim_of(frame)
        if aim is Aim.HOME or self.home.closed:
            return self.home.ask(make, answers, timeout)
        if aim is not Aim.ALL:
            node_link = self._links.get(outward(frame, aim))
            if node_link is None or not node_link.view.alive:
                raise SessionLost(_GONE)
            return node_link.link.ask(lambda ref: _with_ref(frame, ref), answers, timeout)
        self._counts.ref = ref = self._counts.ref + 1
        links = self._send_all(_with_ref(frame, ref))
        merged, now = Merged(ref, answers, len(links)), self._loop.time()
        for node_link in links:
            view = node_link.view
            node_link.link.session.expect(ref, merged.leaf(view.slot, view.name or view.node), now, timeout)
        return ref

    async def request(self, make: Make, *, timeout: float | None, part: TakesPart | None = None) -> End:
        """Send a request, and wait for the end of all answers."""
        future: asyncio.Future[End] = self._loop.create_future()
        ref = self.ask(make, Waiter(future, part), timeout)
        try:
            return await future
        finally:
            for node_link in self._links.values():
                node_link.link.session.cancel(ref)


def _with_ref(frame: Any, ref: int) -> Any:
    frame.ref = ref
    return frame
