"""A session of the link without I/O: hello, resume, loss, requests, bounds."""

from __future__ import annotations

import pytest

from moorage.sdk.errors import (
    LinkRefused,
    MoorageError,
    QueueFull,
    RequestFailed,
    RequestTimeout,
    SessionLost,
    TooLarge,
)
from moorage.sdk.link.session import CONGESTED_BYTES, Answers, Session
from moorage.wire.errors import PeerError
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import To
from tests.sdk.service_peer import frames_of


class Heard(Answers):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.parts: list[object] = []
        self.ends: list[object] = []
        self.errors: list[MoorageError] = []

    def part(self, frame: object, source: int = 0, /) -> None:
        self.parts.append(frame)

    def end(self, frame: object) -> None:
        self.ends.append(frame)

    def failed(self, error: MoorageError) -> None:
        self.errors.append(error)


def hello(
    session: str = "s1", *, resumed: bool = False, received: int = 0, window: int = 1 << 20, revision: int = 1
) -> bytes:
    """A service's first message."""
    frame = v1.ServiceHello(
        revision, "test", session, resumed, received, window, 1 << 20, 5000, 5000, "app", "node"
    )
    return v1.encode_batch(0, 0, [v1.encode_frame(frame)])


def batch(number: int, *frames: v1.FromService, ack: int = 0) -> bytes:
    """A service's batch."""
    return v1.encode_batch(number, ack, [v1.encode_frame(frame) for frame in frames])


def emit(text: str, ref: int = 0) -> v1.Emit:
    """An emit to everybody."""
    return v1.Emit(ref, To("/"), 0, text.encode())


def texts(messages: list[bytes]) -> list[str]:
    """The payloads of emits, packets otherwise as numbers."""
    return [
        frame.payload.decode() if isinstance(frame, (v1.Emit, v1.Packet)) else type(frame).__name__
        for frame in frames_of(messages)
    ]


@pytest.fixture
def session() -> Session:
    made = Session(sdk="test")
    made.greeted(hello())
    return made


def test_the_first_hello() -> None:
    fresh = Session(sdk="test", window=1000)
    number, ack, frames = v1.decode_from_app(fresh.hello())
    assert (number, ack, frames) == (0, 0, [v1.AppHello(v1.REVISION, "test", "", 0, 1000, traces=True)])
    greeting = fresh.greeted(hello("s1", window=77))
    assert (greeting.again, greeting.resumed, greeting.lost) == ([], False, False)
    assert fresh.id == "s1"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x00",
        v1.encode_batch(0, 0, []),
        batch(0, v1.Drain(1.0)),
        hello()[:1] + b"\x01" + hello()[2:],
    ],
)
def test_what_is_no_hello(message: bytes) -> None:
    with pytest.raises(PeerError):
        Session(sdk="test").greeted(message)


def test_a_revision_that_never_was() -> None:
    with pytest.raises(LinkRefused, match="revision 0") as caught:
        Session(sdk="test").greeted(hello(revision=0))
    assert caught.value.reason == "link-version"


def test_frames_of_one_turn_leave_together(session: Session) -> None:
    session.queue(emit("a"))
    session.queue(emit("b"))
    (message,) = session.batches()
    assert texts([message]) == ["a", "b"]
    assert v1.decode_from_app(message).number == 1
    assert list(session.batches()) == []


def test_resume_repeats_what_did_not_arrive(session: Session) -> None:
    sent = []
    for text in "abc":
        session.queue(emit(text))
        sent += list(session.batches())
    session.queue(emit("d"))
    session.received(batch(1, v1.Drain(1.0)))
    (again,) = frames_of([session.hello()])
    assert isinstance(again, v1.AppHello)
    assert (again.session, again.received) == ("s1", 1)
    greeting = session.greeted(hello(resumed=True, received=1))
    assert (greeting.again, greeting.lost) == (sent[1:], False), "the very bytes"
    assert texts(list(session.batches())) == ["d"]


def test_a_lost_session(session: Session) -> None:
    """What never left goes to the next session, as far as it names rooms; the rest belongs to the dead."""
    heard = Heard()
    session.queue(emit("left"))
    list(session.batches())
    session.received(batch(1, v1.Drain(1.0)))
    session.ask(lambda ref: emit("asked", ref), heard, 0.0, None)
    session.queue(emit("kept"))
    session.queue(v1.Packet(3, b"42[]"))
    session.queue(v1.Close(3))
    session.queue(v1.Tell(0, "/", 0, b"42[]"))
    session.queue(v1.Join(0, To("/"), ("room",)))
    session.queue(emit("kept too"))
    greeting = session.greeted(hello("s2"))
    assert (greeting.again, greeting.resumed, greeting.lost) == ([], False, True)
    assert [type(error) for error in heard.errors] == [SessionLost]
    (message,) = session.batches()
    assert texts([message]) == ["kept", "Tell", "kept too"]
    assert v1.decode_from_app(message).number == 1, "numbers start again"
    assert session.received(batch(1, v1.Drain(2.0))) == [v1.Drain(2.0)]


def test_forgotten_before_the_new_hello(session: Session) -> None:
    session.forget("too long")
    assert session.id == ""
    assert not session.greeted(hello("s2")).lost, "said once"


def test_requests(session: Session) -> None:
    heard = Heard()
    ref = session.ask(lambda ref: v1.Fetch(ref, To("/"), 1000), heard, 0.0, 5.0)
    other = session.ask(v1.List, heard, 0.0, 5.0)
    assert (ref, other) == (1, 2)
    row = v1.Data(ref, "server", ())
    left = session.received(batch(1, row, v1.Drain(1.0), v1.Done(ref, 3, ("x",)), v1.Servers(other, ())))
    assert left == [v1.Drain(1.0)]
    assert (heard.parts, heard.ends) == ([row], [v1.Done(ref, 3, ("x",)), v1.Servers(other, ())])
    assert session.received(batch(2, v1.Done(ref, 3))) == [], "nobody waits for it any more"


def test_failures(session: Session) -> None:
    heard = Heard()
    ref = session.ask(v1.List, heard, 0.0, 5.0)
    failed = v1.Failed(ref, 4009, "link-bad-request", "no")
    nobodys = v1.Failed(0, 4009, "link-bad-request", "no")
    assert session.received(batch(1, failed, nobodys)) == [nobodys]
    (error,) = heard.errors
    assert isinstance(error, RequestFailed)
    assert (error.number, error.reason) == (4009, "link-bad-request")


def test_deadlines(session: Session) -> None:
    early, late, never = Heard(), Heard(), Heard()
    session.ask(v1.List, early, 10.0, 5.0)
    session.ask(v1.List, late, 10.0, 6.0)
    session.ask(v1.List, never, 10.0, None)
    session.expire(14.9)
    assert early.errors == []
    session.expire(15.0)
    assert [type(error) for error in early.errors] == [RequestTimeout]
    session.expire(1e9)
    assert (len(late.errors), len(never.errors)) == (1, 0)


def test_a_cancelled_request_is_not_answered(session: Session) -> None:
    heard = Heard()
    session.cancel(session.ask(v1.List, heard, 0.0, 5.0))
    assert session.received(batch(1, v1.Servers(1, ()))) == []
    session.expire(1e9)
    assert (heard.ends, heard.errors) == ([], [])


def test_bounds(session: Session) -> None:
    bounded = Session(sdk="test", max_queue_bytes=2000)
    bounded.greeted(hello())
    bounded.queue(emit("x" * 1900))
    with pytest.raises(QueueFull, match="max_queue_bytes is 2000"):
        bounded.queue(emit("y" * 100))
    bounded.max_queue_bytes = bounded.waiting
    bounded.queue(v1.Close(3))
    assert texts(list(bounded.batches())) == ["x" * 1900, "Close"], "who must go goes"
    with pytest.raises(TooLarge, match="in one packet"):
        session.queue(emit("x" * (1 << 20)))
    heard = Heard()
    with pytest.raises(TooLarge):
        session.ask(lambda ref: emit("x" * (1 << 20), ref), heard, 0.0, 5.0)
    session.expire(1e9)
    assert heard.errors == [], "it was never asked"


def test_credit() -> None:
    small = Session(sdk="test")
    small.greeted(hello(window=100))
    for _ in range(3):
        small.queue(emit("x" * 80))
        small.queue(emit("y" * 80))
        list(small.batches())
    assert small.waiting > 0
    assert small.in_flight >= 100
    small.received(v1.encode_batch(0, 1, []))
    (message,) = small.batches()
    assert texts([message]) == ["x" * 80, "y" * 80, "x" * 80, "y" * 80]


def test_congestion() -> None:
    session = Session(sdk="test")
    states = []
    for size in (CONGESTED_BYTES - 100, 100):
        session.queue(emit("x" * size))
        states.append(session.congested)
    assert states == [False, True]


def test_acknowledging() -> None:
    session = Session(sdk="test", window=1000)
    session.greeted(hello())
    session.received(batch(1, v1.Drain(1.0)))
    assert (session.ack_has_news, session.ack_is_due) == (False, False), "not taken yet"
    session.take_all()
    assert (session.ack_has_news, session.ack_is_due) == (True, False)
    assert session.empty_batch() == v1.encode_batch(0, 1, [])
    assert (session.ack_has_news, session.ack_is_due) == (False, False)
    session.received(batch(2, v1.Packet(1, b"x" * 300)))
    session.take_all()
    assert (session.ack_has_news, session.ack_is_due) == (True, True), "a quarter of the window"
    session.queue(emit("a"))
    (message,) = session.batches()
    assert v1.decode_from_app(message).ack == 2
    assert (session.ack_has_news, session.ack_is_due) == (False, False)


def test_repeated_and_missing_batches(session: Session) -> None:
    assert session.received(batch(1, v1.Drain(1.0))) == [v1.Drain(1.0)]
    assert session.received(batch(1, v1.Drain(1.0))) == []
    with pytest.raises(PeerError):
        session.received(batch(3, v1.Drain(1.0)))
    with pytest.raises(PeerError):
        session.received(batch(0, v1.Drain(1.0)))
    with pytest.raises(PeerError):
        session.received(v1.encode_batch(0, 9, []))


def test_emits_asks_and_selection_writes_are_numbered_by_one_counter() -> None:
    session = Session(sdk="test", instance="i1")
    (first,) = v1.decode_from_app(session.hello()).frames
    assert isinstance(first, v1.AppHello)
    assert first.instance == "i1"
    session.greeted(hello())
    to = v1.To("/")
    session.queue(v1.Emit(0, to, 0, b"a"))
    session.queue(v1.Packet(7, b"b"))
    session.ask(lambda ref: v1.Join(ref, to, ("r",)), Heard(), 0.0, None)
    session.queue(v1.Tell(0, "/", 0, b"c"))
    numbers = [getattr(frame, "number", None) for frame in frames_of(list(session.batches()))]
    assert numbers == [1, None, 2, 3]
    session.forget("gone")
    session.queue(v1.Emit(0, to, 0, b"d"))
    assert [getattr(frame, "number", None) for frame in frames_of(list(session.batches()))] == [4]
