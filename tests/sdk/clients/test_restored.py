"""A socket that goes on: its rooms and its session."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.sdk.clients.restored import Restored, data_of


def test_its_rooms_may_change() -> None:
    restored = Restored("sid", ("a", "b"), b"")
    restored.moved(False, ("a", "x"))
    restored.moved(True, ("c", "b"))
    assert list(restored.rooms) == ["b", "c"]


@pytest.mark.parametrize(("data", "session"), [(b"", {}), (b'{"a":[1]}', {"a": [1]}), (b"{", {})])
def test_its_session(data: bytes, session: Any) -> None:
    assert Restored("sid", (), data).session() == session


def test_what_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    assert data_of("sid", {}) == b""
    assert data_of("sid", {"a": 1}) == b'{"a":1}'
    assert data_of("sid", {"a": [{1, 2}], "b": 2}) == b'{"a":[null],"b":2}'
    assert (
        "the session of socket sid is kept without session.a[0]: set is not JSON serialisable" in caplog.text
    )
