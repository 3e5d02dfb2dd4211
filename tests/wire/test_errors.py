"""The type of an error tells the side at fault, its value the reason."""

from __future__ import annotations

import pytest

from moorage.wire.errors import MoorageError, PeerError, UsageError
from moorage.wire.reasons import BAD_PACKET, CATALOGUE, Reason


def test_peer_errors_and_usage_errors_are_distinct() -> None:
    assert issubclass(PeerError, MoorageError)
    assert issubclass(UsageError, MoorageError)
    assert not issubclass(PeerError, UsageError)
    assert not issubclass(UsageError, PeerError)


def test_with_detail() -> None:
    error = PeerError(BAD_PACKET, "type")
    assert error.reason is BAD_PACKET
    assert error.detail == "type"
    assert error.message == "not an Engine.IO packet: type"
    assert str(error) == "2001 bad-packet: type"


@pytest.mark.parametrize("reason", CATALOGUE.values(), ids=str)
def test_without_detail_the_message_is_the_text(reason: Reason) -> None:
    error = PeerError(reason)
    assert error.message == reason.text
    assert str(error) == f"{reason.number} {reason.name}: {reason.text}"
