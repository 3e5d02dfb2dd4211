"""Continues the service's traces of OpenTelemetry in the handlers of events. Only OpenTelemetry's API package
is used, and loaded with the first trace. If the app has no OpenTelemetry SDK, nothing is recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final

from moorage.sdk.errors import MoorageError
from moorage.wire.moorage.v1 import Trace, Traced

SCOPE: Final = "moorage"
MAX_NAME: Final = 128
"""Maximum characters of an event's name in a span."""


def can_trace() -> bool:
    """True if OpenTelemetry's API is installed."""
    try:
        return find_spec("opentelemetry.trace") is not None
    except ModuleNotFoundError:
        return False


class HandlerSpan:
    """The span of the handler of one event. `answer` takes the frame that tells the service that the handler
    has ended."""

    __slots__ = ("_answer", "_context", "_ref", "_span")

    def __init__(
        self, trace: Trace, event: object, namespace: str, sid: str, answer: Callable[[Traced], object]
    ) -> None:
        # Only an app with traces pays for loading them.
        from opentelemetry import trace as api  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        # The name is a client's text, of any length.
        name = str(event)[:MAX_NAME]
        carrier = {"traceparent": trace.parent, "tracestate": trace.state}
        parent = TraceContextTextMapPropagator().extract(carrier)
        self._ref = trace.ref
        self._answer = answer
        self._span = api.get_tracer(SCOPE).start_span(
            f"process {name}",
            context=parent,
            kind=api.SpanKind.CONSUMER,
            attributes={
                "messaging.system": "socket.io",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": namespace,
                "moorage.event": name,
                "moorage.socket.id": sid,
            },
        )
        self._context = api.set_span_in_context(self._span)

    def enter(self) -> Any:
        """Make it the current span of the code that runs next, in this task or thread. Pass the returned
        value to `leave`."""
        from opentelemetry import context  # noqa: PLC0415

        return context.attach(self._context)

    def leave(self, token: Any) -> None:
        """It is not the current span any more."""
        from opentelemetry import context  # noqa: PLC0415

        context.detach(token)

    def end(self, error: BaseException | None = None) -> None:
        """The handler has ended, with this exception if it failed."""
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

        if error is not None:
            self._span.record_exception(error)
            self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        self._span.end()
        with contextlib.suppress(MoorageError):  # the link is lost, and with it the service's span
            self._answer(Traced(self._ref, error is not None))
