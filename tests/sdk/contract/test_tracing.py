"""A trace of the service goes on in the handler of its event, in both SDKs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from moorage.wire.moorage import v1
from tests.sdk.contract.executors import Case

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
EXPORTER = InMemorySpanExporter()


@pytest.fixture(scope="module", autouse=True)
def provider() -> None:
    """OpenTelemetry takes one provider for each process, so the tests of a process share it."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())
    found = trace.get_tracer_provider()
    assert isinstance(found, TracerProvider)
    found.add_span_processor(SimpleSpanProcessor(EXPORTER))


@pytest.fixture(autouse=True)
def nothing_before() -> Iterator[None]:
    EXPORTER.clear()
    yield
    EXPORTER.clear()


async def say(case: Case, packet: bytes, ref: int = 7, client: int = 1) -> None:
    """An event of a sampled trace."""
    await case.peer.send(v1.Trace(ref, client, PARENT, "vendor=1"), v1.Packet(client, packet))


def one_span() -> ReadableSpan:
    (span,) = EXPORTER.get_finished_spans()
    return span


async def test_the_hello_offers_to_continue_traces(case: Case) -> None:
    assert (await case.peer.hello()).traces is True


@pytest.mark.parametrize("options", [{}, {"async_handlers": False}])
async def test_the_handler_runs_in_a_span_of_the_trace(case: Case) -> None:
    def handle(sid: str, text: str) -> str:
        case.heard(trace.get_current_span().get_span_context())
        return text

    case.sio.on("a", handle)
    await say(case, b'421["a","b"]')
    assert await case.packet() == b'431["b"]'
    assert await case.peer.frame(v1.Traced) == v1.Traced(7)
    (inside,) = await case.next()
    span = one_span()
    assert span.context == inside
    assert span.name == "process a"
    assert span.parent is not None
    assert format(span.context.trace_id, "032x") == TRACE_ID
    assert format(span.parent.span_id, "016x") == "b7ad6b7169203331"
    assert span.context.trace_state.get("vendor") == "1"
    attributes: Any = span.attributes
    assert attributes["messaging.destination.name"] == "/"
    assert attributes["moorage.socket.id"] == case.sid


@pytest.mark.parametrize("executor", ["asyncio"], indirect=True)
async def test_a_coroutine_runs_in_the_span_to_its_end(case: Case) -> None:
    async def handle(sid: str) -> None:
        import asyncio  # noqa: PLC0415

        await asyncio.sleep(0)
        case.heard(trace.get_current_span().get_span_context())

    case.sio.on("a", handle)
    await say(case, b'42["a"]')
    assert await case.peer.frame(v1.Traced) == v1.Traced(7)
    (inside,) = await case.next()
    assert one_span().context == inside


async def test_a_handler_that_raises_fails_its_span(case: Case) -> None:
    def handle(sid: str) -> None:
        raise ValueError("no")

    case.sio.on("a", handle)
    await say(case, b'42["a"]')
    assert await case.peer.frame(v1.Traced) == v1.Traced(7, True)
    span = one_span()
    assert span.status.status_code is trace.StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]


async def test_the_next_event_belongs_to_no_trace(case: Case) -> None:
    case.sio.on("a", lambda sid: case.heard(trace.get_current_span().get_span_context().is_valid))
    await say(case, b'42["a"]')
    await case.say(1, b'42["a"]')
    assert sorted(await case.next(2)) == [False, True]


@pytest.mark.parametrize("packet", [b'42["nobody listens"]', b'42/elsewhere,["a"]'])
async def test_an_event_without_a_handler_is_answered(case: Case, packet: bytes) -> None:
    await say(case, packet)
    assert await case.peer.frame(v1.Traced) == v1.Traced(7)


async def test_a_trace_of_nobody_changes_nothing(case: Case) -> None:
    case.sio.on("a", case.heard)
    await case.peer.send(v1.Trace(1, 99, PARENT))
    await case.peer.send(v1.Trace(2, 1, "no traceparent"), v1.Packet(1, b'42["a"]'))
    assert await case.peer.frame(v1.Traced) == v1.Traced(2)
    assert one_span().parent is None


async def test_the_name_of_an_event_is_cut(case: Case) -> None:
    case.sio.on("a" * 1_000, lambda sid: None)
    await say(case, b'42["%b"]' % (b"a" * 1_000))
    assert await case.peer.frame(v1.Traced) == v1.Traced(7)
    assert one_span().name == "process " + "a" * 128
