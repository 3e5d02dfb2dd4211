"""What an app server tells the remaining nodes about a lost one: frames that the lost node may not have
carried out. One of the remaining nodes goes on with its clients' sockets. In the Node.js SDK:
`link/fleet.ts`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Final, NamedTuple

import msgspec

from moorage.sdk.link.planner import NodeView
from moorage.sdk.link.session import Session
from moorage.wire.moorage import v1
from moorage.wire.moorage.raw_batch import decode_frame_from_app
from moorage.wire.moorage.stream import Outgoing
from moorage.wire.moorage.v1 import FromApp

_UNFINISHED: Final = (v1.Packet, v1.Emit, v1.Join, v1.Leave, v1.Disconnect, v1.Enter, v1.Exit, v1.Close)


class Former(NamedTuple):
    """A session that is over."""

    node: str
    id: str
    out: Outgoing
    number: int
    """Of the latest counted frame when it was over."""
    alone: bool
    """True if what was sent since is queued for the next session."""
    recovers: bool


class LostNodes:
    """Sessions that are over, until it is known whether their nodes are lost, and lost nodes. By the slots of
    links."""

    def __init__(self) -> None:
        self._over: dict[int, Former] = {}
        self._recovering: set[int] = set()

    def over(self, view: NodeView, session: Session) -> None:
        """A session is over."""
        former, hello = session.former, session.hello_of_service
        session.former = None
        if former is not None and hello is not None and hello.keeps:
            self._over[view.slot] = Former(view.node, *former, hello.recovery > 0)

    def recovers(self, slot: int) -> bool:
        """True if the clients of a lost node may come back to their sockets."""
        return slot in self._recovering

    def settle(self, view: NodeView, but: str, number: int) -> list[bytes]:
        """The node of a session that is over is lost, unless it is `but`. Returns the frames that tell the
        others. `number` is that of the latest counted frame."""
        former = self._over.pop(view.slot, None)
        if former is None or former.node in ("", but):
            return []
        if former.number != number and not former.alone:
            # What was sent in between is missing for the lost node's sockets. Nobody may go on with them.
            return []
        if former.recovers:
            self._recovering.add(view.slot)
        untaken = _untaken(former.out)
        frames: list[FromApp] = [
            v1.Unfinished(former.node, former.id, batch, place, frame)
            for batch, place, frame in untaken
            if isinstance(frame, _UNFINISHED)
        ]
        # The heir takes data of sockets that it knows: it does when it has taken `Settled`.
        saved = [frame for _, _, frame in untaken if isinstance(frame, v1.Save)]
        return [v1.encode_frame(frame) for frame in (*frames, v1.Settled(former.node, former.number), *saved)]


def _untaken(out: Outgoing) -> list[tuple[int, int, FromApp]]:
    found: list[tuple[int, int, FromApp]] = []
    for data in out.kept:
        batch = v1.decode_from_app(data)
        found += [(batch.number, place, _plain(frame)) for place, frame in enumerate(batch.frames)]
    for place, raw in enumerate(out.unsent()):
        found.append((out.last + 1, place, _plain(decode_frame_from_app(msgspec.Raw(raw)))))
    return found


def _plain(frame: FromApp) -> FromApp:
    return frame.frame if isinstance(frame, v1.Again) else frame


def fitting(session: Session, frames: Iterable[bytes]) -> Iterator[bytes]:
    """The frames up to the first one for which the session's queue has no room. Its node cannot go on with
    the sockets then, so nothing may follow what it has not got."""
    return takewhile(lambda frame: session.fits(len(frame)), frames)


def all_again(frames: Iterable[FromApp]) -> Iterator[bytes]:
    """Frames for a new home in place of those that the old one had not taken."""
    for frame in frames:
        made = again(frame)
        if made is not None:
            yield v1.encode_frame(made)


def again(frame: FromApp) -> v1.Again | None:
    """One of these frames. No caller waits for its answer any more: the old home counts as missing."""
    if isinstance(frame, v1.Again):
        return frame
    if isinstance(frame, v1.Ask):
        return v1.Again(v1.Emit(0, frame.to, frame.flags, frame.payload, frame.number))
    if isinstance(frame, (v1.Emit, v1.Join, v1.Leave, v1.Disconnect)):
        frame.ref = 0
        return v1.Again(frame)
    return None
