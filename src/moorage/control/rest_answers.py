"""Answers of the data-plane API in the form that Azure's SDKs read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from moorage.wire.commands import Outcome
from moorage.wire.errors import PeerError

_JSON: Final = "application/json; charset=utf-8"
_TOKEN_REASONS: Final = range(3000, 3100)


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`value` as JSON."""
    return Response(msgspec.json.encode(value), status, headers, media_type=_JSON)


def error_answer(error: PeerError, target: str) -> Response:
    """A refusal: the documented body, with the reason's name and number. `target` is the operation's name."""
    reason = error.reason
    headers = {"x-ms-error-code": reason.name}
    if reason.number in _TOKEN_REASONS:
        headers["www-authenticate"] = "Bearer"  # RFC 9110, 11.6.1: a 401 names the scheme
    body = {
        "code": reason.name,
        "message": error.message,
        "target": target,
        "details": [],
        "inner": {"code": str(reason.number), "inner": None},
    }
    return json_answer(body, reason.http, headers)


def page_answer(outcome: Outcome, following: dict[str, list[str]] | None, url: str) -> Response:
    """One page of a group's connections. `following` is the query of the next page, None after the last one.
    `url` is the list's absolute URL without query."""
    rows = [{"connectionId": member.connection_id, "userId": member.user_id} for member in outcome.members]
    link = None if following is None else f"{url}?{urlencode(following, doseq=True)}"
    return json_answer({"value": rows, "nextLink": link})
