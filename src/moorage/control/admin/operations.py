"""What an operation of the Admin API is, and a table of operations. Requests are dispatched from it, and the
OpenAPI document is made from it. `table` has the rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec

from moorage.control.admin.access.callers import Caller
from moorage.control.admin.access.keys import Role
from moorage.wire.errors import PeerError
from moorage.wire.inspect.forms import Question
from moorage.wire.reasons import API_BAD_METHOD, API_BAD_PATH

BASE: Final = "/api/v1"


class Call(NamedTuple):
    """One request, checked and decoded."""

    operation: str
    """The operation's name."""
    caller: Caller
    query: Any
    """The operation's `query` struct."""
    body: Any
    """The operation's `body` struct; None without one."""
    name: str
    """What stands for `{...}` in the path."""


class Operation(NamedTuple):
    """One row."""

    name: str
    """In errors, metrics and the OpenAPI document."""
    method: str
    path: str
    """Below `BASE`; may hold one `{parameter}`."""
    role: Role
    summary: str
    handle: Callable[[Call], Awaitable[Any]]
    """Returns a struct of type `answer`, or a `Response`, such as a stream. May raise `PeerError`."""
    answer: type[msgspec.Struct]
    query: type[msgspec.Struct] = Question
    body: type[msgspec.Struct] | None = None
    status: int = 200
    media: str = "application/json"
    """Content type of the answer. For any other one, `handle` returns the response."""
    access_token: bool = False
    """True if a token of the REST API is accepted, too."""

    @property
    def is_json(self) -> bool:
        """True if the answer is JSON."""
        return self.media == "application/json"


class Table:
    """All operations, by path and method."""

    def __init__(self, *operations: Operation) -> None:
        self.operations = operations
        self._paths = [(tuple(row.path.split("/")[1:]), row) for row in operations]

    def find(self, method: str, path: str) -> tuple[Operation, str]:
        """The operation of a request, and the text of its path's parameter. `path` is as on the request line.
        HEAD is GET. Raises `PeerError` (api-bad-path, api-bad-method)."""
        parts = path.removeprefix(BASE).split("/")[1:]
        methods: list[str] = []
        for template, operation in self._paths:
            if len(template) == len(parts) and all(
                wanted == given or (wanted[0] == "{" and given)
                for wanted, given in zip(template, parts, strict=True)
            ):
                if operation.method == ("GET" if method == "HEAD" else method):
                    names = [given for wanted, given in zip(template, parts, strict=True) if wanted[0] == "{"]
                    return operation, unquote(names[0], errors="replace") if names else ""
                methods.append(operation.method)
        if methods:
            raise PeerError(API_BAD_METHOD, f"takes {', '.join(methods)}")
        raise PeerError(API_BAD_PATH)
