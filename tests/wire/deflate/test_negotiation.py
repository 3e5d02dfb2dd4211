"""Offers of permessage-deflate, and the answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.wire.deflate.negotiation import ANSWER, MAX_HEADER, negotiate


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate",
        "permessage-deflate;server_no_context_takeover;client_no_context_takeover; client_max_window_bits=12",
        "x-webkit-deflate-frame, permessage-deflate",
        "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        'permessage-deflate; client_max_window_bits="15"',
    ],
)
def test_offers_that_are_taken(offer: str) -> None:
    assert negotiate(offer) == ANSWER


def test_a_window_that_is_asked_for_is_named() -> None:
    assert (
        negotiate("permessage-deflate; server_max_window_bits=15") == f"{ANSWER}; server_max_window_bits=15"
    )


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "permessage-bzip2",
        "permessage-deflate-x",
        "permessage-deflate; server_max_window_bits=10",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=07",
        "permessage-deflate; client_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; unknown",
        "permessage-deflate;",
        "permessage-deflate" + "," * MAX_HEADER,
    ],
)
def test_offers_that_are_declined(offer: str) -> None:
    assert negotiate(offer) == ""


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_header_has_an_answer(before: str, behind: str) -> None:
    found = negotiate(f"{before}permessage-deflate{behind}")
    assert not found or found.startswith(ANSWER)
