"""Which events are sampled, what crosses the link, and how each span ends."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from moorage.edge.moorage.tracing import MAX_OPEN, OPEN_SECONDS, Attributes, Traces
from moorage.wire.moorage import v1
from tests.edge.moorage.rig import App, Rig, say


class FakeSpan:
    """A span that notes its end."""

    state = "vendor=1"

    def __init__(self, number: int) -> None:
        self.parent = f"00-{number}"
        self.outcomes: list[str] = []

    def end(self, outcome: str) -> None:
        self.outcomes.append(outcome)


class FakeSpans:
    """Notes every span."""

    def __init__(self, ratio: float = 1.0) -> None:
        self.ratio = ratio
        self.begun: list[tuple[str, dict[str, str | int], FakeSpan]] = []
        self._shared: Attributes = {}

    def sharing(self, attributes: Attributes) -> FakeSpans:
        """Its spans are noted here, too."""
        self._shared = attributes
        return self

    def begin(self, describe: Callable[[], tuple[str, Attributes]]) -> FakeSpan:
        span = FakeSpan(len(self.begun))
        event, attributes = describe()
        self.begun.append((event, {**self._shared, **attributes}, span))
        return span

    @property
    def outcomes(self) -> list[list[str]]:
        """How each span ended."""
        return [span.outcomes for _, _, span in self.begun]


def traced(spans: FakeSpans, *, traces: bool = True, revision: int = v1.REVISION) -> tuple[Rig, App]:
    """An app server of a service that samples."""
    rig = Rig()
    rig.sessions.spans = spans
    app = App(rig, "s1")
    app.traces = traces
    return rig, app.dial(revision=revision)


@pytest.mark.parametrize("ratio", [1e-17, 5e-324])
def test_a_ratio_may_be_tiny(ratio: float) -> None:
    spans = FakeSpans(ratio)
    rig, app = traced(spans)
    number, connection = app.client()
    say(rig, connection, b'42["a"]')
    assert app.heard() == [v1.Packet(number, b'42["a"]')]


def test_the_context_goes_before_its_event() -> None:
    spans = FakeSpans()
    rig, app = traced(spans)
    number, connection = app.client("/chat", user_id="ada")
    say(rig, connection, b'42/chat,7["hello",1]')
    assert app.heard() == [
        v1.Trace(1, number, "00-0", "vendor=1"),
        v1.Packet(number, b'42/chat,7["hello",1]'),
    ]
    ((event, attributes, _),) = spans.begun
    assert event == "hello"
    assert attributes["moorage.hub"] == rig.hub_name
    assert attributes["messaging.destination.name"] == "/chat"
    assert attributes["moorage.connection.id"] == connection.id
    assert attributes["moorage.app_server.id"] == "s1"
    assert attributes["moorage.node.id"] == "n1"
    assert attributes["moorage.ack"] == "yes"
    assert attributes["user.id"] == "ada"
    app.say(v1.Traced(1))
    app.say(v1.Traced(1), v1.Traced(99))
    assert spans.outcomes == [["handled"]]


def test_a_handler_that_failed() -> None:
    spans = FakeSpans()
    rig, app = traced(spans)
    _, connection = app.client("/")
    say(rig, connection, b'42["a"]')
    assert spans.begun[0][1]["moorage.ack"] == "no"
    assert "user.id" not in spans.begun[0][1]
    app.say(v1.Traced(1, True))
    assert spans.outcomes == [["failed"]]


def test_binary_events_are_sampled_and_acks_are_not() -> None:
    spans = FakeSpans()
    rig, app = traced(spans)
    _, connection = app.client("/")
    say(rig, connection, b"431[]", b'451-["file",{"_placeholder":true,"num":0}]')
    rig.world.node.receive_binary(connection, b"\x00")
    assert [event for event, _, _ in spans.begun] == ["file"]
    kinds = [type(frame) for frame in app.heard()]
    assert kinds == [v1.Packet, v1.Trace, v1.Packet]


@pytest.mark.parametrize(("traces", "revision"), [(False, v1.REVISION), (True, 5)])
def test_an_app_server_that_does_not_ask_gets_no_traces(traces: bool, revision: int) -> None:
    spans = FakeSpans()
    rig, app = traced(spans, traces=traces, revision=revision)
    _, connection = app.client("/")
    say(rig, connection, b'42["a"]')
    assert [type(frame) for frame in app.heard()] == [v1.Packet]
    app.say(v1.Traced(1))
    assert app.heard(v1.Failed) == []
    assert spans.begun == []


def test_a_part_of_the_events_is_sampled() -> None:
    spans = FakeSpans(0.1)
    rig, app = traced(spans)
    (link,) = [server.link for server in rig.hub.servers.all()]
    assert isinstance(link, Traces)
    link._random = random.Random(7).random
    _, connection = app.client("/")
    for _ in range(2_000):
        say(rig, connection, b'42["a"]')
        app.heard()
    assert 150 < len(spans.begun) < 250


def test_spans_end_when_the_app_server_is_lost() -> None:
    spans = FakeSpans()
    rig, app = traced(spans)
    _, connection = app.client("/")
    say(rig, connection, b'42["a"]')
    app.cut()
    rig.after(rig.world.links.grace + 1)
    assert spans.outcomes == [["lost"]]


def test_spans_end_after_a_minute() -> None:
    spans = FakeSpans()
    rig, app = traced(spans)
    _, connection = app.client("/")
    say(rig, connection, b'42["a"]')
    rig.after(1.0)
    say(rig, connection, b'42["b"]')
    traces = rig.sessions._traces[app.server]
    traces.tick(rig.world.now + OPEN_SECONDS - 0.5)
    assert spans.outcomes == [["timeout"], []]


def test_the_number_of_open_spans_is_limited() -> None:
    spans = FakeSpans()
    rig, app = traced(spans)
    _, connection = app.client("/")
    for _ in range(MAX_OPEN + 5):
        say(rig, connection, b'42["a"]')
        app.heard()
    assert len(spans.begun) == MAX_OPEN


def test_a_long_event_is_described_by_its_beginning() -> None:
    spans = FakeSpans()
    rig, app = traced(spans)
    _, connection = app.client("/chat")
    packet = b'42/chat,["note","' + b"x" * 20_000 + b'"]'
    say(rig, connection, packet)
    ((event, attributes, _),) = spans.begun
    assert (event, attributes["messaging.message.envelope.size"]) == ("note", len(packet))


def test_an_event_without_a_name() -> None:
    spans = FakeSpans()
    rig, app = traced(spans)
    _, connection = app.client("/")
    say(rig, connection, b"42[]")
    assert [event for event, _, _ in spans.begun] == [""]
