"""Turns an operator's orders in the Admin UI into commands."""

from __future__ import annotations

from typing import Any, Final

import orjson

from moorage.control.adminui.packets import Order, event
from moorage.wire.commands import Command, JoinGroups, LeaveGroups, LeaveNamespace, Selection, Send
from moorage.wire.errors import PeerError
from moorage.wire.groups import MAX_GROUP, namespace_group, room_group
from moorage.wire.reasons import API_BAD_BODY
from moorage.wire.socketio import MAX_NAMESPACE

NAMES: Final = {"emit": "emit", "join": "join", "leave": "leave", "_disconnect": "disconnect"}
"""The UI's events -> the same actions of the Admin API, for the audit log."""
TOLD: Final = 3
"""Arguments that the audit log shows. Those that follow are the content of an event."""
MAX_TOLD: Final = 256
"""Maximum characters of each."""


def command(hub: str, order: Order) -> Command:
    """The command. Raises `PeerError` (api-bad-body) for arguments that the UI does not send."""
    namespace, second, third = [*order.arguments, None, None, None][:3]
    if not isinstance(namespace, str) or not _is_namespace(namespace):
        raise PeerError(API_BAD_BODY, "a namespace is expected")
    if order.name == "emit":
        if not isinstance(third, str):
            raise PeerError(API_BAD_BODY, "the name of an event is expected")
        try:
            payload = event(namespace, third, *order.arguments[3:])
        except orjson.JSONEncodeError:
            # The library reads deeper nesting than it writes.
            raise PeerError(API_BAD_BODY, "the arguments are nested too deeply") from None
        return Send(hub, _among(namespace, second), payload)
    if order.name == "_disconnect":
        return LeaveNamespace(hub, _among(namespace, third), namespace, close=second is True)
    to, groups = _among(namespace, third), (_group(namespace, second),)
    return JoinGroups(hub, to, groups) if order.name == "join" else LeaveGroups(hub, to, groups)


def _is_namespace(text: str) -> bool:
    fits = len(text.encode()) <= MAX_NAMESPACE and text.isprintable()
    return fits and text.startswith("/") and "," not in text and "?" not in text


def _among(namespace: str, room: object) -> Selection:
    """All sockets of the namespace, or those in a room."""
    return Selection(group=_group(namespace, room) if room else namespace_group(namespace))


def _group(namespace: str, room: object) -> str:
    if not isinstance(room, str) or not room:
        raise PeerError(API_BAD_BODY, "the name of a room is expected")
    group = room_group(namespace, room)
    if len(group) > MAX_GROUP:
        raise PeerError(API_BAD_BODY, f"a room's wire name has at most {MAX_GROUP} characters")
    return group


def shown(hub: str, order: Order) -> dict[str, Any]:
    """The order as the audit log shows it: without the content of an event, which may be private."""
    return {"hub": hub, "arguments": [_told(each) for each in order.arguments[:TOLD]]}


def _told(value: object) -> str | bool | None:
    """None stands for what is never part of an order."""
    if isinstance(value, str):
        return value[:MAX_TOLD]
    return value if isinstance(value, bool) else None
