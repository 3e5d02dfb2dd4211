"""Routes that give a page the address of a hub and a token for its user.

    app.add_route("/negotiate", starlette_negotiate(who, hub="chat", connection_string=...))
    app.add_url_rule("/negotiate", view_func=flask_negotiate(who, hub="chat", connection_string=...))

`who(request)` returns arguments of `client_token`, such as `{"user_id": "ada", "ttl": 300}`, or None for a
token without a user. It may raise an HTTP error instead (`HTTPException`, `flask.abort(401)`). The answer is
JSON, `{"endpoint": ..., "path": ..., "token": ...}`, as with `negotiate` of the Node.js SDK.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from moorage.sdk.link.tokens import ClientAccess, client_access
from moorage.wire.connection_string import check_hub, parse

TokenOptions = Mapping[str, Any] | None
StarletteRoute = Callable[[Any], Awaitable[Any]]


def starlette_negotiate(
    who: Callable[[Any], TokenOptions | Awaitable[TokenOptions]], *, hub: str, connection_string: str
) -> StarletteRoute:
    """An endpoint of Starlette or FastAPI. `who` gets the request and may be a coroutine function."""
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import JSONResponse, Response  # noqa: PLC0415

    make = _maker(hub, connection_string)

    async def negotiate(request: Request) -> Response:
        options = who(request)
        if inspect.isawaitable(options):
            options = await options
        return JSONResponse(make(options), headers=_HEADERS)

    return negotiate


def flask_negotiate(
    who: Callable[[Any], TokenOptions], *, hub: str, connection_string: str
) -> Callable[[], Any]:
    """A view of Flask. `who` gets `flask.request`."""
    import flask  # noqa: PLC0415

    make = _maker(hub, connection_string)

    def negotiate() -> flask.Response:
        answer = flask.jsonify(make(who(flask.request)))
        answer.headers.update(_HEADERS)
        return answer

    return negotiate


_HEADERS = {"Cache-Control": "no-store"}


def _maker(hub: str, connection_string: str) -> Callable[[TokenOptions], ClientAccess]:
    # Wrong arguments raise at the start, not at the first request.
    check_hub(hub)
    parse(connection_string)
    return lambda options: client_access(connection_string, hub=hub, **(options or {}))
