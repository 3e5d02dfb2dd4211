"""What an operator asks for in the Admin UI."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from moorage.control.adminui.orders import MAX_TOLD, command, shown
from moorage.control.adminui.packets import Order
from moorage.wire.commands import JoinGroups, LeaveGroups, LeaveNamespace, Selection, Send
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.reasons import API_BAD_BODY

ALL = Selection(group=namespace_group("/n"))
ROOM = Selection(group=room_group("/n", "r"))


def order(name: str, *arguments: Any) -> Order:
    return Order("/admin", name, list(arguments))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (order("emit", "/n", None, "e", 1), Send("h", ALL, b'42/n,["e",1]')),
        (order("emit", "/n", "r", "e"), Send("h", ROOM, b'42/n,["e"]')),
        (order("emit", "/n", "", "e"), Send("h", ALL, b'42/n,["e"]')),
        (order("join", "/n", "x", "r"), JoinGroups("h", ROOM, (room_group("/n", "x"),))),
        (order("join", "/n", "x"), JoinGroups("h", ALL, (room_group("/n", "x"),))),
        (order("leave", "/n", "x", "r"), LeaveGroups("h", ROOM, (room_group("/n", "x"),))),
        (order("_disconnect", "/n", True, "r"), LeaveNamespace("h", ROOM, "/n", close=True)),
        (order("_disconnect", "/n", None), LeaveNamespace("h", ALL, "/n", close=False)),
    ],
)
def test_commands(given: Order, found: object) -> None:
    assert command("h", given) == found


@pytest.mark.parametrize(
    "given",
    [
        order("emit"),
        order("emit", 1, None, "e"),
        order("emit", "no-slash", None, "e"),
        order("emit", "/a,b", None, "e"),
        order("emit", "/a?b", None, "e"),
        order("emit", "/a\n", None, "e"),
        order("emit", "/" + "x" * 600, None, "e"),
        order("emit", "/n", None),
        order("emit", "/n", None, 1),
        order("emit", "/n", 7, "e"),
        order("emit", "/n", "x" * 2_000, "e"),
        order("emit", "/n", None, "e", orjson.loads("[" * 500 + "]" * 500)),
        order("join", "/n"),
        order("join", "/n", ""),
        order("leave", "/n", {"a": 1}),
        order("_disconnect"),
    ],
)
def test_what_the_ui_does_not_send(given: Order) -> None:
    with pytest.raises(PeerError) as refused:
        command("h", given)
    assert refused.value.reason is API_BAD_BODY


def test_as_the_audit_log_shows_it() -> None:
    assert shown("h", order("join", "/n", "x")) == {"hub": "h", "arguments": ["/n", "x"]}
    told = shown("h", order("emit", "/n", None, "e" * 1_000, "private"))
    assert told["arguments"] == ["/n", None, "e" * MAX_TOLD]
    assert shown("h", order("_disconnect", "/n", True, ["x" * 100_000]))["arguments"] == ["/n", True, None]
