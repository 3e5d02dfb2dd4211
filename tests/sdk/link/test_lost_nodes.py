"""What an app server tells about a lost node. `tests/scenarios/recovery/test_loss.py` has real nodes."""

from __future__ import annotations

import pytest

from moorage.sdk.link.lost_nodes import LostNodes, all_again, fitting
from moorage.sdk.link.planner import Planner
from moorage.sdk.link.session import Session
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import To

EMIT = v1.Emit(0, To("/"), 0, b'42["a"]', 3)


def greeted(*, keeps: bool = True, recovery: int = 1000) -> Session:
    """A session with a service."""
    session = Session(sdk="test")
    hello = v1.ServiceHello(
        v1.REVISION,
        "s",
        "session",
        False,
        0,
        1 << 20,
        1 << 20,
        1,
        1,
        "app",
        "a",
        recovery=recovery,
        keeps=keeps,
    )
    session.greeted(v1.encode_batch(0, 0, [v1.encode_frame(hello)]))
    return session


def decoded(frames: list[bytes]) -> list[v1.FromApp]:
    return v1.decode_from_app(v1.encode_batch(1, 0, frames)).frames


def test_what_was_not_acknowledged_and_what_was_not_sent() -> None:
    session, lost = greeted(), LostNodes()
    view = Planner().add()
    view.node = "a"
    packet = v1.Packet(7, b'42["b"]')
    for frame in (v1.Opened(7, 1, 1, 1), packet):
        session.queue(frame)
    assert list(session.batches())
    session.put(v1.encode_frame(v1.Again(EMIT)))
    session.put(v1.encode_frame(v1.Save("/", "sid", b"")))
    session.forget("the node is gone")
    lost.over(view, session)
    assert session.former is None
    assert decoded(lost.settle(view, "", 9)) == [
        v1.Unfinished("a", "session", 1, 1, packet),
        v1.Unfinished("a", "session", 2, 0, EMIT),
        v1.Settled("a", 0),
        v1.Save("/", "sid", b""),
    ]
    assert lost.recovers(view.slot)
    assert lost.settle(view, "", 9) == []


@pytest.mark.parametrize("alone", [True, False])
def test_what_was_sent_when_the_session_was_over(alone: bool) -> None:
    """It is not among what is handed over. If it is not in the next session either, nobody may think that it
    is carried out."""
    session, lost = greeted(), LostNodes()
    view = Planner().add()
    view.node = "a"
    for _ in range(2):
        session.queue(v1.Emit(0, To("/"), 0, b'42["a"]', 0))
    session.alone = alone
    session.forget("the node was away for too long")
    lost.over(view, session)
    told = decoded(lost.settle(view, "", 5))
    assert told[-1:] == ([v1.Settled("a", 2)] if alone else [])


@pytest.mark.parametrize(
    ("keeps", "but", "node"),
    [(False, "", "a"), (True, "a", "a"), (True, "", "")],
    ids=["memory", "lives", "never"],
)
def test_nothing_to_tell(keeps: bool, but: str, node: str) -> None:
    session, lost = greeted(keeps=keeps), LostNodes()
    view = Planner().add()
    view.node = node
    session.forget("the node is gone")
    lost.over(view, session)
    lost.over(view, session)
    assert lost.settle(view, but, 9) == []
    assert not lost.recovers(view.slot)


def test_an_app_server_without_recovery() -> None:
    session, lost = greeted(recovery=0), LostNodes()
    view = Planner().add()
    view.node = "a"
    session.forget("the node is gone")
    lost.over(view, session)
    assert decoded(lost.settle(view, "b", 0)) == [v1.Settled("a", 0)]
    assert not lost.recovers(view.slot)


def test_what_a_new_home_forwards() -> None:
    ask = v1.Ask(5, To("/"), 0, 1000, b'421["a"]', 4)
    given: list[v1.FromApp] = [v1.Again(EMIT), ask, v1.Emit(6, To("/"), 0, b"42[1]", 5), v1.Packet(1, b"2")]
    assert decoded(list(all_again(given))) == [
        v1.Again(EMIT),
        v1.Again(v1.Emit(0, To("/"), 0, b'421["a"]', 4)),
        v1.Again(v1.Emit(0, To("/"), 0, b"42[1]", 5)),
    ]


def test_nothing_follows_a_frame_that_does_not_fit() -> None:
    session = greeted()
    session.max_queue_bytes = 100
    put = []
    for frame in fitting(session, [b"x" * 60, b"y" * 60, b"z"]):
        session.put(frame)
        put.append(frame[:1])
    assert put == [b"x"]
