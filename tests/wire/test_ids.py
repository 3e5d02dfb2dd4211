"""Ids of connections."""

from __future__ import annotations

import secrets

from moorage.wire.ids import INCARNATION_BYTES, incarnation_of


def test_an_id_begins_with_the_incarnation_of_its_node() -> None:
    for _ in range(100):
        incarnation = secrets.token_urlsafe(INCARNATION_BYTES)
        assert incarnation_of(incarnation + secrets.token_urlsafe(16)) == incarnation


def test_what_is_no_id_of_ours_names_no_node() -> None:
    assert incarnation_of("") == ""
    assert incarnation_of("short") == "short"
