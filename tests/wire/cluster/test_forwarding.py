"""Messages about forwarded clients. `test_messages` shows that each survives its byte form."""

from __future__ import annotations

from typing import get_args

from moorage.wire.cluster.forwarding import AppServers, Forwarding, FromHost, FromOwner, Pair


def test_each_message_has_one_direction() -> None:
    assert not set(get_args(FromOwner)) & set(get_args(FromHost))
    assert set(get_args(Forwarding)) == {Pair, AppServers, *get_args(FromOwner), *get_args(FromHost)}


def test_tags() -> None:
    # They are never used again.
    tags = {kind.__name__: kind.__struct_config__.tag for kind in get_args(Forwarding)}
    assert tags == {
        "Pair": 110,
        "AppServers": 111,
        "Offer": 112,
        "Forward": 113,
        "Gone": 114,
        "Moved": 115,
        "Left": 116,
        "Upgraded": 117,
        "Query": 118,
        "Sync": 119,
        "Accepted": 130,
        "Declined": 131,
        "Close": 132,
        "Read": 133,
        "Synced": 134,
        "Data": 135,
        "Unknown": 136,
        "Returning": 137,
        "Saved": 138,
    }
