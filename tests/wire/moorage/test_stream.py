"""The resumable stream: the scenarios of the vectors, and two ends over a link that breaks anywhere."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from moorage.wire.errors import PeerError
from moorage.wire.moorage import stream
from moorage.wire.moorage.stream import BATCH_BYTES, Incoming, Outgoing
from moorage.wire.moorage.v1 import Packet, decode_from_app, decode_from_service, encode_batch, encode_frame
from moorage.wire.reasons import LINK_BAD_FRAME
from tests.support.examples import times
from tests.support.link_vectors import VECTORS, octets

# -- the vectors ---------------------------------------------------------------------------------------------


class OneEnd:
    """Runs the steps of a scenario; each returns its result for a comparison."""

    def __init__(self, window: dict[str, int]) -> None:
        self.outgoing = Outgoing(window["out"])
        self.incoming = Incoming(window["in"])

    def step(self, step: dict[str, Any]) -> None:
        """Raises AssertionError if the outcome differs."""
        if not step.get("refused"):
            self._do(step)
            return
        before = self._look()
        with pytest.raises(PeerError) as caught:
            self._do(step)
        assert caught.value.reason is LINK_BAD_FRAME
        assert self._look() == before

    def _do(self, step: dict[str, Any]) -> None:
        match step:
            case {"do": "queue", "frame": frame}:
                for _ in range(step.get("times", 1)):
                    self.outgoing.queue(octets(frame))
            case {"do": "take", "ack": ack, "batch": batch}:
                assert self.outgoing.take(ack) == (None if batch is None else octets(batch))
            case {"do": "taken", "ack": ack}:
                self.outgoing.taken(ack)
            case {"do": "arrived", "number": number, "size": size}:
                assert self.incoming.arrived(number, size) == step["new"]
            case {"do": "take_all"}:
                self.incoming.take_all()
            case {"do": "told", "ack": ack}:
                assert self.incoming.told() == ack
            case {"do": "cut"}:
                pass
            case {"do": "resume", "received": received}:
                assert self.outgoing.resume(received) == list(map(octets, step["batches"]))
            case {"do": "state", **expected}:
                seen = self._look()
                assert {name: seen[name] for name in expected} == expected
            case _:
                raise AssertionError(step)

    def _look(self) -> dict[str, Any]:
        sending = ("waiting", "in_flight", "blocked", "last")
        receiving = ("received", "ack", "has_news", "is_due")
        return {name: getattr(self.outgoing, name) for name in sending} | {
            name: getattr(self.incoming, name) for name in receiving
        }


@pytest.mark.parametrize("scenario", VECTORS["stream"], ids=lambda row: row["name"])
def test_a_scenario(scenario: dict[str, Any]) -> None:
    end = OneEnd(scenario["window"])
    for number, step in enumerate(scenario["steps"]):
        try:
            end.step(step)
        except (AssertionError, KeyError) as error:
            raise AssertionError(f"step {number}, {step['do']}: {error}") from error


# -- by hand -------------------------------------------------------------------------------------------------


def test_a_gap_names_both_numbers() -> None:
    incoming = Incoming(100)
    incoming.arrived(1, 5)
    with pytest.raises(PeerError, match="batch 5 after 1") as caught:
        incoming.arrived(5, 5)
    assert caught.value.reason is LINK_BAD_FRAME


def test_an_ack_of_an_unsent_batch_names_both_numbers() -> None:
    outgoing = Outgoing(100)
    outgoing.queue(b"\x91\x01")
    outgoing.take(0)
    with pytest.raises(PeerError, match="ack 2 of 1"):
        outgoing.taken(2)
    with pytest.raises(PeerError, match="ack 2 of 1"):
        outgoing.resume(2)
    outgoing.taken(1)
    with pytest.raises(PeerError, match="received 0, but took 1"):
        outgoing.resume(0)


def test_an_outgoing_stream_tells_what_is_unsent_and_what_is_acknowledged() -> None:
    outgoing = Outgoing(100)
    for frame in (b"one", b"two"):
        outgoing.queue(frame)
    assert outgoing.unsent() == [b"one", b"two"]
    outgoing.take(0)
    assert (outgoing.unsent(), outgoing.acknowledged, len(outgoing.kept)) == ([], 0, 1)
    outgoing.taken(1)
    assert (outgoing.acknowledged, outgoing.kept) == (1, ())


def test_batches_may_be_taken_one_by_one() -> None:
    incoming = Incoming(100)
    for number in (1, 2):
        assert incoming.arrived(number, 10)
    assert (incoming.ack, incoming.untaken) == (0, 20)
    incoming.take(1, 10)
    assert (incoming.ack, incoming.untaken) == (1, 10)


def test_a_window_may_change_with_a_resume() -> None:
    outgoing = Outgoing(10)
    outgoing.queue(b"x" * 20)
    outgoing.take(0)
    assert outgoing.blocked
    outgoing.window = 1000
    outgoing.resume(0)
    assert not outgoing.blocked


def test_a_million_frames_in_batches_of_the_size() -> None:
    """No batch exceeds the limit, and the time does not grow with the queue."""
    frame = encode_frame(Packet(1, b"x" * 100))
    outgoing = Outgoing(2**40)
    for _ in range(100_000):
        outgoing.queue(frame)
    sizes = []
    while batch := outgoing.take(0):
        sizes.append(len(batch))
    assert outgoing.waiting == 0
    assert sum(sizes) == outgoing.in_flight
    assert all(BATCH_BYTES - len(frame) < size <= BATCH_BYTES + 24 for size in sizes[:-1])
    outgoing.taken(outgoing.last)
    assert outgoing.in_flight == 0


@pytest.mark.parametrize("size", [BATCH_BYTES - 1, BATCH_BYTES, BATCH_BYTES + 1, 4 * BATCH_BYTES])
def test_a_frame_below_max_batch_never_makes_a_larger_batch(size: int) -> None:
    """For any queue around it. Such a batch would be refused, and repeated after each resume."""
    outgoing = Outgoing(2**40)
    for frame in (b"a" * (BATCH_BYTES - 1), b"b" * size, b"c" * BATCH_BYTES, b"d"):
        outgoing.queue(frame)
    while batch := outgoing.take(2**53 - 1):
        assert len(batch) <= max(size, BATCH_BYTES) + 32


# -- two ends ------------------------------------------------------------------------------------------------


class End:
    """One end: its sent and received frames, and the batches in transit to it."""

    def __init__(self, name: str, takes: int, other_takes: int) -> None:
        self.outgoing = Outgoing(other_takes)
        self.incoming = Incoming(takes)
        self.decode = decode_from_service if name == "app" else decode_from_app
        self.coming: deque[bytes] = deque()
        self.queued: list[int] = []
        self.read: list[int] = []
        self.got: list[int] = []
        self.largest = 0

    def queue(self, sizes: list[int]) -> None:
        for size in sizes:
            number = len(self.queued)
            self.queued.append(number)
            self.outgoing.queue(encode_frame(Packet(number, b"x" * size)))

    def send(self, other: End) -> None:
        """Send everything that the credit allows, or an ack alone if it is due."""
        while batch := self.outgoing.take(self.incoming.ack):
            self.incoming.told()
            self.largest = max(self.largest, len(batch))
            other.coming.append(batch)
        if self.incoming.is_due:
            self.send_ack(other)

    def send_ack(self, other: End) -> None:
        other.coming.append(encode_batch(0, self.incoming.told(), []))

    def receive(self) -> None:
        data = self.coming.popleft()
        batch = self.decode(data)
        self.outgoing.taken(batch.ack)
        if batch.number and self.incoming.arrived(batch.number, len(data)):
            assert all(isinstance(frame, Packet) for frame in batch.frames)
            self.read += [frame.client for frame in batch.frames if isinstance(frame, Packet)]

    def take(self) -> None:
        """Pass everything that was read to the application."""
        self.incoming.take_all()
        self.got += self.read
        self.read.clear()

    def resume(self, other: End) -> None:
        """After the hellos, send again everything that the other end has not read."""
        other.coming.extend(self.outgoing.resume(other.incoming.received))


WHICH = st.booleans()


class Link(RuleBasedStateMachine):
    """Two ends, an ordered link that may break, and a slow application."""

    @initialize(takes=st.tuples(st.integers(1, 400), st.integers(1, 400)))
    def start(self, takes: tuple[int, int]) -> None:
        """Open the link, with small windows so that credit matters."""
        app, service = End("app", *takes), End("service", *reversed(takes))
        self.ends = (app, service)
        self.up = True

    def pair(self, second: bool) -> tuple[End, End]:
        """An end and the other one."""
        return self.ends[second], self.ends[not second]

    @rule(second=WHICH, sizes=st.lists(st.integers(0, 120), min_size=1, max_size=8))
    def queue(self, second: bool, sizes: list[int]) -> None:
        """Queue a frame, also while the link is down."""
        self.ends[second].queue(sizes)

    @precondition(lambda self: self.up)
    @rule(second=WHICH)
    def send(self, second: bool) -> None:
        """End a turn."""
        end, other = self.pair(second)
        end.send(other)

    @precondition(lambda self: self.up)
    @rule(second=WHICH)
    def send_ack(self, second: bool) -> None:
        """End a second."""
        end, other = self.pair(second)
        end.send_ack(other)

    @rule(second=WHICH, most=st.integers(1, 5))
    def receive(self, second: bool, most: int) -> None:
        """Deliver some batches in transit."""
        for _ in range(min(most, len(self.ends[second].coming))):
            self.ends[second].receive()

    @rule(second=WHICH)
    def take(self, second: bool) -> None:
        """Let the application take everything."""
        self.ends[second].take()

    @rule()
    def cut(self) -> None:
        """Break the link and lose all batches in transit."""
        self.up = False
        for end in self.ends:
            end.coming.clear()

    @precondition(lambda self: not self.up)
    @rule()
    def resume(self) -> None:
        """Open a new link; the app server's hello comes first."""
        app, service = self.ends
        self.up = True
        service.resume(app)
        app.resume(service)

    @invariant()
    def in_order_and_once(self) -> None:
        """The received frames are a prefix of the queued ones."""
        for end, other in (self.ends, self.ends[::-1]) if hasattr(self, "ends") else ():
            came = other.got + other.read
            assert came == end.queued[: len(came)]

    @invariant()
    def within_credit(self) -> None:
        """At most a window and one batch are in flight, and the sums are correct."""
        for end in getattr(self, "ends", ()):
            kept = end.outgoing._kept
            assert end.outgoing.in_flight == sum(map(len, kept))
            assert end.outgoing.in_flight < end.outgoing.window + end.largest or not kept
            assert end.outgoing.waiting == sum(map(len, end.outgoing._waiting))

    @invariant()
    def nobody_waits_for_the_clock(self) -> None:
        """If no batch is in transit and the credit is used up, an acknowledgement is due."""
        if not getattr(self, "up", False) or any(end.coming for end in self.ends):
            return
        for end, other in (self.ends, self.ends[::-1]):
            if end.outgoing.blocked and other.incoming.ack == other.incoming.received:
                assert other.incoming.is_due

    def teardown(self) -> None:
        """Without further breaks everything arrives and nothing is kept."""
        if not hasattr(self, "ends"):
            return
        if not self.up:
            self.resume()
        for _ in range(10_000):
            for end, other in (self.ends, self.ends[::-1]):
                while end.coming:
                    end.receive()
                end.take()
                end.send(other)
            if not any(end.coming for end in self.ends):
                break
        for end, other in (self.ends, self.ends[::-1]):
            assert other.got == end.queued
            other.send_ack(end)
            end.receive()
            assert end.outgoing.in_flight == end.outgoing.waiting == 0
            assert not end.outgoing._kept and not end.outgoing._waiting


@pytest.mark.parametrize("batch_bytes", [60, BATCH_BYTES])
def test_no_sequence_of_steps_loses_repeats_or_reorders_batches(
    monkeypatch: pytest.MonkeyPatch, batch_bytes: int
) -> None:
    monkeypatch.setattr(stream, "BATCH_BYTES", batch_bytes)
    run_machine(Link, settings=settings(max_examples=times(1), stateful_step_count=40))
