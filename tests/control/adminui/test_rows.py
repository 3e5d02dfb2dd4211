"""Sockets as the Admin UI shows them."""

from __future__ import annotations

import pytest

from moorage.control.adminui.rows import client_id, socket
from moorage.hub.inspect.masking import MASK
from moorage.wire.commands import Found

HANDSHAKE = (
    b'{"headers":{"origin":["http://a"],"cookie":["secret"],"x":["1","2"],"x-api-key":["k"]},'
    b'"query":{"EIO":["4"],"access_token":["a","b"]},'
    b'"address":"1.2.3.4","secure":true,"url":"/socket.io/?EIO=4&access_token=a"}'
)


def found(handshake: bytes, user: str | None = "ada") -> Found:
    return Found("/n", "s1", "node-0123456789abcdef", user, 1_700_000_000_000, ("r",), handshake)


def test_a_row_without_secrets() -> None:
    assert socket(found(HANDSHAKE), "polling") == {
        "id": "s1",
        "clientId": "456789abcdef",
        "transport": "polling",
        "nsp": "/n",
        "data": {"user": "ada"},
        "handshake": {
            "address": "1.2.3.4",
            "headers": {"origin": "http://a", "cookie": MASK, "x": "1, 2", "x-api-key": MASK},
            "query": {"EIO": "4", "access_token": f"{MASK}, {MASK}"},
            "issued": 1_700_000_000_000,
            "secure": True,
            "time": "Tue Nov 14 2023 22:13:20 GMT+0000",
            "url": "/socket.io/",
            "xdomain": True,
        },
        "rooms": ["s1", "r"],
    }


@pytest.mark.parametrize("handshake", [b"", b"[]", b"{}", b'{"headers":1,"query":[]}'])
def test_a_handshake_that_cannot_be_read(handshake: bytes) -> None:
    row = socket(found(handshake, None), "")
    assert row["data"] == {}
    assert (row["handshake"]["headers"], row["handshake"]["address"]) == ({}, "")


def test_an_address_behind_a_proxy() -> None:
    shown = socket(found(b'{"headers":{"x-forwarded-for":"9.9.9.9"}}'), "")
    assert shown["handshake"]["address"] == "9.9.9.9"
    assert client_id("short") == "short"
