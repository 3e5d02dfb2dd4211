"""The bodies of actions become commands, or are refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from moorage.control.admin.actions import Body, DisconnectBody, EmitBody, JoinBody, LeaveBody
from moorage.wire.commands import CloseConnections, JoinGroups, LeaveGroups, Selection, Send
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import Filter
from moorage.wire.groups import namespace_group, room_group


def body(kind: type[Body], **fields: Any) -> Body:
    return msgspec.json.decode(msgspec.json.encode({"hub": "app"} | fields), type=kind)


R, S = room_group("/", "r"), room_group("/", "s")


@pytest.mark.parametrize(
    ("fields", "to"),
    [
        ({}, Selection(group=namespace_group("/"))),
        ({"rooms": ["r"]}, Selection(filter=Filter(any_of=(R,)))),
        ({"rooms": ["r", "s", "r"]}, Selection(filter=Filter(any_of=(R, S)))),
        ({"except": ["s"]}, Selection(group=namespace_group("/"), filter=Filter(none_of=(S,)))),
        ({"rooms": ["r"], "except": ["s"]}, Selection(filter=Filter(any_of=(R,), none_of=(S,)))),
        ({"connection": "c"}, Selection(connection="c", group=namespace_group("/"))),
        ({"user": "ada", "rooms": ["r"]}, Selection(user="ada", filter=Filter(any_of=(R,)))),
    ],
)
def test_whom_an_emit_is_for(fields: dict[str, Any], to: Selection) -> None:
    emit = body(EmitBody, event="note", args=[1, "x"], **fields)
    assert emit.command == Send("app", to, b'42["note",1,"x"]')


def test_an_emit_in_a_namespace() -> None:
    emit = body(EmitBody, event="note", namespace="/chat", rooms=["r"])
    to = Selection(filter=Filter(any_of=(room_group("/chat", "r"),)))
    assert emit.command == Send("app", to, b'42/chat,["note"]')


def test_texts_cannot_leave_their_packet() -> None:
    command = body(EmitBody, event="a\x1eb", args=["\x1e41"]).command
    assert isinstance(command, Send)
    assert b"\x1e" not in command.payload


@pytest.mark.parametrize(
    "fields",
    [
        {"event": "connect"},
        {"event": "disconnect"},
    ],
)
def test_an_emit_that_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(PeerError):
        _ = body(EmitBody, **fields).command


@pytest.mark.parametrize("hub", ["", "no hub", "../x", "1", "x" * 129])
def test_a_hub_that_cannot_exist(hub: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        body(DisconnectBody, hub=hub, user="ada")


@pytest.mark.parametrize("namespace", ["", "chat", "/a,b", "/a?b", "/a\x1eb", "/" + "x" * 600])
def test_a_namespace_that_no_packet_can_name(namespace: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        body(EmitBody, event="x", namespace=namespace)


def test_rooms_and_connections() -> None:
    assert body(JoinBody, connection="c", rooms=["r"]).command == JoinGroups(
        "app", Selection(connection="c"), (R,)
    )
    assert body(LeaveBody, user="ada", rooms=["r", "s"]).command == LeaveGroups(
        "app", Selection(user="ada"), (R, S)
    )
    assert body(DisconnectBody, room="r", reason="why").command == CloseConnections(
        "app", Selection(group=R), "why"
    )


@pytest.mark.parametrize("target", [{}, {"connection": "c", "user": "u"}, {"user": "u", "room": "r"}])
def test_an_action_has_one_target(target: dict[str, str]) -> None:
    with pytest.raises(PeerError):
        _ = body(DisconnectBody, **target).command


@pytest.mark.parametrize("fields", [{"rooms": []}, {"rooms": [""]}, {"rooms": ["r"] * 101}, {"rooms": [1]}])
def test_a_list_of_rooms_has_bounds(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        body(JoinBody, connection="c", **fields)


def test_what_the_audit_log_shows() -> None:
    """Not the content of an emit: it may be private."""
    assert body(EmitBody, event="note", args=["secret"], rooms=["r"]).shown == {
        "hub": "app",
        "namespace": "/",
        "event": "note",
        "rooms": ["r"],
    }
    assert body(DisconnectBody, user="ada").shown == {"hub": "app", "namespace": "/", "user": "ada"}
