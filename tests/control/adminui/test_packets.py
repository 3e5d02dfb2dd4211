"""Packets between the service and the Admin UI."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.control.adminui.packets import (
    MAX_TEXT,
    Goodbye,
    Login,
    Order,
    accepted,
    event,
    received,
    refused,
)


@pytest.mark.parametrize(
    ("packet", "found"),
    [
        (b'40/admin,{"username":"a","password":"p"}', Login("/admin", "p", "")),
        (b'40/admin,{"sessionId":"s"}', Login("/admin", "", "s")),
        (b"40/admin,", Login("/admin", "", "")),
        (b'40/admin,{"password":7,"sessionId":null}', Login("/admin", "", "")),
        (b'40/admin,{"password":"' + b"x" * (MAX_TEXT + 1) + b'"}', Login("/admin", "", "")),
        (b"40/admin,[1]", Login("/admin", "", "")),
        (b"41/admin,", Goodbye("/admin")),
        (b'42/admin,["join","/","r"]', Order("/admin", "join", ["/", "r"])),
        (b"42/admin,[]", None),
        (b"42/admin,[1]", None),
        (b"42/admin,{}", None),
        (b"42/admin,[", None),
        (b"43/admin,1[]", None),
        (b"3", None),
        (b"", None),
    ],
)
def test_what_the_ui_sends(packet: bytes, found: object) -> None:
    assert received(packet) == found


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    for packet in (data, b"40/admin," + data, b"42/admin," + data):
        received(packet)


def test_what_it_is_sent() -> None:
    assert accepted("/admin", "s") == b'40/admin,{"sid":"s"}'
    assert refused("/admin/h", "no") == b'44/admin/h,{"message":"no"}'
    assert event("/admin", "config", {"a": 1}) == b'42/admin,["config",{"a":1}]'
    assert event("/", "e") == b'42["e"]'
