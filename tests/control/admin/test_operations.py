"""A request finds its operation by method and path."""

from __future__ import annotations

import pytest

from moorage.control.admin.access.keys import Role
from moorage.control.admin.operations import Call, Operation, Table
from moorage.wire.errors import PeerError
from moorage.wire.inspect.forms import Rows
from moorage.wire.reasons import API_BAD_METHOD, API_BAD_PATH, Reason


async def nothing(_call: Call) -> Rows:
    return Rows()


TABLE = Table(
    Operation("list", "GET", "/things", Role.READ, "", nothing, Rows),
    Operation("make", "POST", "/things", Role.OPERATE, "", nothing, Rows),
    Operation("one", "GET", "/things/{id}", Role.READ, "", nothing, Rows),
    Operation("act", "POST", "/things/{id}/act", Role.OPERATE, "", nothing, Rows),
)


@pytest.mark.parametrize(
    ("method", "path", "name", "given"),
    [
        ("GET", "/api/v1/things", "list", ""),
        ("HEAD", "/api/v1/things", "list", ""),
        ("POST", "/api/v1/things", "make", ""),
        ("GET", "/api/v1/things/a%2Fb", "one", "a/b"),
        ("GET", "/api/v1/things/%ff", "one", "\ufffd"),
        ("POST", "/api/v1/things/x/act", "act", "x"),
    ],
)
def test_found(method: str, path: str, name: str, given: str) -> None:
    operation, parameter = TABLE.find(method, path)
    assert (operation.name, parameter) == (name, given)


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("GET", "/api/v1/", API_BAD_PATH),
        ("GET", "/api/v1/thing", API_BAD_PATH),
        ("GET", "/api/v1/things/", API_BAD_PATH),
        ("GET", "/api/v1//things", API_BAD_PATH),
        ("GET", "/api/v1/things/../things", API_BAD_PATH),
        ("GET", "/api/v1/%74hings", API_BAD_PATH),
        ("DELETE", "/api/v1/things", API_BAD_METHOD),
        ("HEAD", "/api/v1/things/x/act", API_BAD_METHOD),
        ("get", "/api/v1/things", API_BAD_METHOD),
    ],
)
def test_not_found(method: str, path: str, reason: Reason) -> None:
    with pytest.raises(PeerError) as refused:
        TABLE.find(method, path)
    assert refused.value.reason is reason


def test_the_methods_are_named() -> None:
    with pytest.raises(PeerError, match="takes GET, POST"):
        TABLE.find("PUT", "/api/v1/things")
