"""Ids of connections."""

from __future__ import annotations

import secrets

from moorage.wire.ids import incarnation_of, new_incarnation


def test_an_id_begins_with_the_incarnation_of_its_node() -> None:
    for _ in range(100):
        incarnation = new_incarnation()
        assert incarnation_of(incarnation + secrets.token_urlsafe(16)) == incarnation


def test_what_is_no_id_of_ours_names_no_node() -> None:
    assert incarnation_of("") == ""
    assert incarnation_of("short") == "short"


def test_a_prefix_takes_the_place_of_random_characters() -> None:
    made = {new_incarnation("n1") for _ in range(100)}
    assert len(made) == 100
    assert {(text[:2], len(text)) for text in made} == {("n1", 8)}
