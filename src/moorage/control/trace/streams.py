"""All streams of one node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from starlette import types
from starlette.responses import StreamingResponse

from moorage.control.admin.access.callers import Caller
from moorage.control.admin.access.keys import Role
from moorage.control.admin.operations import Call, Operation
from moorage.control.trace.query import TraceQuery
from moorage.control.trace.stream import Stream
from moorage.wire.errors import PeerError
from moorage.wire.inspect.forms import Question
from moorage.wire.reasons import (
    ADMIN_KEYS_CHANGED,
    ADMIN_PAYLOADS_OFF,
    ADMIN_ROLE,
    ADMIN_TOO_MANY_TRACES,
    DRAINING,
    Reason,
)
from moorage.wire.trace.messages import Traced
from moorage.wire.trace.scope import Scope

MAX_STREAMS: Final = 100
"""Maximum streams of one node."""

Note = Callable[[Caller, str, dict[str, Any], str], object]
"""Writes to the audit log: who, what, for whom, and the outcome (`control.admin.audit`)."""


class Events(Question, frozen=True):
    """Server-sent events `packet`, `state`, `watching`, `dropped` and `end`; each has JSON in one line."""


class Traces(Protocol):
    """The traces of the cluster (`cluster.trace.traces.Traces`)."""

    def open(self, scope: Scope, take: Callable[[Traced], object]) -> str:
        """Begin a watch on all nodes, and return its id."""

    def close(self, watch_id: str) -> None:
        """End a watch everywhere."""


class Streams:
    """`payloads` is the setting `admin.trace_payloads`, `clock` gives epoch seconds."""

    def __init__(self, traces: Traces, *, payloads: bool, clock: Callable[[], float]) -> None:
        self._traces = traces
        self._payloads = payloads
        self._clock = clock
        self._streams: dict[str, Stream] = {}
        self._note: Note = lambda *_: None
        self._over: Reason | None = None
        """The reason why no stream may begin any more; None if streams may begin."""

    def __len__(self) -> int:
        """Number of streams."""
        return len(self._streams)

    def operation(self, note: Note) -> Operation:
        """The row of the Admin API. `note` is told of each trace that shows payloads."""
        self._note = note
        summary = "Packets while they pass, as server-sent events"
        row = Operation("trace", "GET", "/trace", Role.READ, summary, self._open, Events, TraceQuery)
        return row._replace(media="text/event-stream")

    async def _open(self, call: Call) -> StreamingResponse:
        """Begin a stream. Raises `PeerError`."""
        query: TraceQuery = call.query
        refusal = self._refusal(call.caller, payload=query.payload)
        if query.payload:
            outcome = "done" if refusal is None else refusal.reason.name
            self._note(call.caller, call.operation, query.shown, outcome)
        if refusal is not None:
            raise refusal
        stream = Stream(self._clock, call.caller.expires)
        watch_id = self._traces.open(query.scope, stream.take)
        self._streams[watch_id] = stream
        return _Response(stream, lambda: self._close(watch_id))

    def _refusal(self, caller: Caller, *, payload: bool) -> PeerError | None:
        if payload and caller.role < Role.OPERATE:
            return PeerError(ADMIN_ROLE, "payloads need the role operate")
        if payload and not self._payloads:
            return PeerError(ADMIN_PAYLOADS_OFF)
        if self._over is not None:
            return PeerError(self._over)
        if len(self._streams) >= MAX_STREAMS:
            return PeerError(ADMIN_TOO_MANY_TRACES, f"at most {MAX_STREAMS}")
        return None

    def _close(self, watch_id: str) -> None:
        if self._streams.pop(watch_id, None) is not None:
            self._traces.close(watch_id)

    def keys_changed(self) -> None:
        """End all streams at a change of keys: no reader has shown one of the new ones."""
        self._end_all(ADMIN_KEYS_CHANGED)

    def _end_all(self, reason: Reason) -> None:
        for stream in self._streams.values():
            stream.end(PeerError(reason))

    def stop(self) -> None:
        """The node drains: end all streams, and begin none."""
        self._over = DRAINING
        self._end_all(DRAINING)


class _Response(StreamingResponse):
    """Calls `over` once the stream has ended, at either side."""

    def __init__(self, stream: Stream, over: Callable[[], Any]) -> None:
        # Proxies that would collect the answer before they pass it on know this header.
        super().__init__(stream.chunks(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._over = over

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """Send the answer."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._over()
