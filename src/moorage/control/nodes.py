"""`GET /api/v1/nodes`: the cluster's nodes and their app servers, for operators. The caller needs a token of
the REST API, whose audience is the request's URL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moorage import auth
from moorage.control.rest import Count
from moorage.control.rest_answers import error_answer, json_answer
from moorage.wire.authority import check_host
from moorage.wire.errors import PeerError

PATH: Final = "/api/v1/nodes"
NAME: Final = "nodes"
"""The operation's name in metrics and errors."""


def route(
    list_nodes: Callable[[], Sequence[object]],
    *,
    keys: auth.AccessKeys,
    settings: auth.AuthSettings,
    public_endpoint: str,
    clock: Callable[[], float],
    count: Count,
) -> Route:
    """The route, for GET and HEAD. The other arguments are as those of `rest.routes`."""

    async def answer(request: Request) -> Response:
        reason: str | None = None
        try:
            headers, query = request.headers, request.url.query
            base = public_endpoint.rstrip("/") or headers.get("host", "")
            auth.verify(
                auth.bearer(headers.get("authorization", "")),
                keys,
                auth.rest_audiences(base, PATH, query),
                clock(),
                settings.clock_skew,
            )
            check_host(headers.getlist("host"))
            response = json_answer({"nodes": list_nodes()}, headers={"Cache-Control": "no-store"})
        except PeerError as error:
            reason = error.reason.name
            response = error_answer(error, NAME)
        count(NAME, response.status_code, reason)
        return response

    return Route(PATH, answer)
