"""Arguments of emits and requests as frames have them."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.sdk.exchange.targets import arguments_of, milliseconds, target
from moorage.wire.errors import UsageError
from moorage.wire.moorage.v1 import To


@pytest.mark.parametrize(
    ("data", "arguments"), [(None, []), ((), []), ((1, 2), [1, 2]), ([1, 2], [[1, 2]]), (0, [0])]
)
def test_the_data_of_an_emit(data: Any, arguments: list[Any]) -> None:
    assert arguments_of(data) == arguments


def test_whom_an_emit_goes_to() -> None:
    assert target("/", None, None) == To("/", (), ())
    assert target("/a", "x", ["y", 7]) == To("/a", ("x",), ("y", "7"))
    nobody = target("/", [], None)
    assert len(nobody.rooms) == 1
    assert len(nobody.rooms[0]) > 20


def test_a_namespace_that_is_not_text() -> None:
    with pytest.raises(UsageError, match="NoneType"):
        target(None, None, None)  # type: ignore[arg-type]


def test_timeouts() -> None:
    assert [milliseconds(seconds) for seconds in (0.0001, 1.5, 86_399)] == [1, 1500, 86_399_000]
    for seconds in (0, -1, 86_400, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="timeout"):
            milliseconds(seconds)
