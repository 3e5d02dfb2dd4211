"""The argument `connection_state_recovery`. `contract/test_recovery.py` shows what it does."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.sdk import UsageError
from moorage.sdk.link.recovery import OFF, Recovery, recovery_of


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (None, OFF),
        ({}, Recovery(120_000)),
        ({"max_disconnection_duration": 1.5, "skip_middlewares": True, "quiet": True}, Recovery(1500, True)),
        ({"max_disconnection_duration": 0.0001}, Recovery(1)),
    ],
)
def test_what_is_asked(given: Any, asked: Recovery) -> None:
    assert recovery_of(given) == asked


@pytest.mark.parametrize(
    "given",
    [
        True,
        {"max_disconnection_duration": 0},
        {"max_disconnection_duration": "1"},
        {"max_disconnection_duration": True},
        {"max_disconnection_duration": float("nan")},
        {"maxDisconnectionDuration": 1},
    ],
)
def test_an_argument_that_cannot_be(given: Any) -> None:
    with pytest.raises(UsageError, match=r"disconnection_duration|connection_state_recovery"):
        recovery_of(given)
