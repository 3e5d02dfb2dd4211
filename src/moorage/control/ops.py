"""Endpoints for operators' tools: liveness, readiness and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_HEADERS: Final = {"Cache-Control": "no-store"}
# Every scraper reads this version of the text format. No metric name needs a newer one.
_SCRAPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Siblings(Protocol):
    """All workers of the machine, this one included."""

    def states(self) -> Mapping[str, str]:
        """The state of each worker by its node name: "ready", or why it is not."""

    async def scrape(self) -> bytes:
        """The metrics of all workers, each sample with the label `node`."""


def routes(
    *,
    not_ready: Callable[[], str],
    metrics: Callable[[], bytes] | None,
    siblings: Siblings | None = None,
) -> list[Route]:
    """`/healthz`, `/readyz` and, unless `metrics` is `None`, `/metrics`; GET and HEAD.

    `not_ready` returns why no new client should be sent here (such as "starting"), or "". `metrics`
    returns the body of a scrape. The handlers are coroutines, so that both are called on the event loop,
    where the counters are written. A worker has `siblings` and answers for all of them."""

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers=_HEADERS)

    async def ready(_request: Request) -> Response:
        why = not_ready()
        body: dict[str, Any] = {"status": "unavailable", "reason": why} if why else {"status": "ok"}
        if siblings is not None:
            body["workers"] = dict(siblings.states())
        return JSONResponse(body, 503 if why else 200, headers=_HEADERS)

    found = [Route("/healthz", live), Route("/readyz", ready)]
    if metrics is not None:
        scrape = metrics

        async def show(_request: Request) -> Response:
            body = scrape() if siblings is None else await siblings.scrape()
            return Response(body, headers={**_HEADERS, "Content-Type": _SCRAPE})

        found.append(Route("/metrics", show))
    return found
