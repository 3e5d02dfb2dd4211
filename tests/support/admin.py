"""A caller of the Admin API."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, NamedTuple
from urllib.parse import urlencode

TIMEOUT = 30.0


class Answer(NamedTuple):
    """`json` is None for an empty body."""

    status: int
    headers: dict[str, str]
    json: Any


class Admin:
    """Calls the service at `url` with `key`, or without one."""

    def __init__(self, url: str, key: str = "") -> None:
        self.url = url
        self.key = key

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request. `path` below `/api/v1`, or absolute with two slashes before it. A `body` is sent as
        JSON unless it is bytes."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key:
            sent.setdefault("authorization", f"Bearer {self.key}")
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("content-type", "application/json")
        url = self.url + (path[1:] if path.startswith("//") else f"/api/v1{path}")
        request = urllib.request.Request(url, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return _answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, error.read())

    def get(self, path: str, **query: object) -> Any:
        """The JSON of a GET that succeeds."""
        answer = self.call("GET", f"{path}?{urlencode(query)}" if query else path)
        assert answer.status == 200, answer
        return answer.json

    def post(self, path: str, status: int = 200, **body: object) -> Any:
        """The JSON of a POST that is answered with `status`."""
        answer = self.call("POST", path, body)
        assert answer.status == status, answer
        return answer.json


def _answer(status: int, headers: Any, body: bytes) -> Answer:
    return Answer(
        status, {name.lower(): value for name, value in headers.items()}, json.loads(body or b"null")
    )
