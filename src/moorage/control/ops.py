"""Endpoints for operators' tools: liveness, readiness and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_HEADERS: Final = {"Cache-Control": "no-store"}
# Every scraper reads this version of the text format. No metric name needs a newer one.
_SCRAPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def routes(*, not_ready: Callable[[], str], metrics: Callable[[], bytes] | None) -> list[Route]:
    """`/healthz`, `/readyz` and, unless `metrics` is `None`, `/metrics`; GET and HEAD.

    `not_ready` returns why no new client should be sent here (such as "starting"), or "". `metrics`
    returns the body of a scrape. The handlers are coroutines, so that both are called on the event loop,
    where the counters are written."""

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers=_HEADERS)

    async def ready(_request: Request) -> Response:
        why = not_ready()
        if why:
            return JSONResponse({"status": "unavailable", "reason": why}, 503, headers=_HEADERS)
        return JSONResponse({"status": "ok"}, headers=_HEADERS)

    found = [Route("/healthz", live), Route("/readyz", ready)]
    if metrics is not None:
        scrape = metrics

        async def show(_request: Request) -> Response:
            return Response(scrape(), headers={**_HEADERS, "Content-Type": _SCRAPE})

        found.append(Route("/metrics", show))
    return found
