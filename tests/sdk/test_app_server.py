"""What both app server objects share: listeners, handlers of server-side events, and checks of the server."""

from __future__ import annotations

from typing import Any

import engineio
import pytest
import socketio

from moorage.sdk.app_server import EVENTS, AppServerBase, check
from moorage.sdk.errors import UsageError
from moorage.sdk.exchange.inbox import Inbox
from moorage.sdk.exchange.server_events import ServerEvents
from moorage.wire.moorage.v1 import Told
from tests.sdk.exchange.test_manager import Manager


def server(**options: Any) -> Any:
    return socketio.Server(async_mode="threading", **options)


def checked(sio: Any, server_id: Any = None, engine: type[Any] = Manager) -> None:
    check(sio, engine=engine, manager=socketio.Manager, server_id=server_id, function="use_it")


def test_listeners_are_added_by_call_and_by_decorator() -> None:
    base, heard = AppServerBase(server()), list[Any]()
    assert base.on("link_lost", heard.append) == heard.append
    assert base.on("link_lost")(print) is print
    assert base._listeners["link_lost"] == [heard.append, print]
    with pytest.raises(UsageError, match=", ".join(EVENTS)):
        base.on("link_lots")


def test_handlers_of_server_side_events_are_registered_by_namespace() -> None:
    base = AppServerBase(server())
    base._server_events = ServerEvents(base._codec)
    assert base.on_server_event("ask", namespace="/a")(print) is print
    call: Any = base._server_events.plan(Told(0, "other", "/a", b'42/a,["ask"]'), "s")
    assert call.handler is print


def test_a_server_gets_its_own_parts_back() -> None:
    sio = server()
    former, base = (sio.eio, sio.manager), AppServerBase(sio)
    engine, manager = object(), Manager()
    base._replace(engine, manager, Inbox(print))
    assert (sio.eio, sio.manager) == (engine, manager)
    base.detach()
    base.detach()
    assert (sio.eio, sio.manager) == former


def test_servers_that_cannot_be_handed_over() -> None:
    checked(server())
    for sio, options, why in (
        (server(), {"engine": engineio.Server}, "uses Moorage already"),
        (server(client_manager=socketio.PubSubManager()), {}, "leave out `client_manager=`"),
        (server(), {"server_id": ""}, "1 to 128"),
        (server(), {"server_id": "x" * 129}, "1 to 128"),
        (server(), {"server_id": 5}, "1 to 128"),
    ):
        with pytest.raises(UsageError, match=why):
            checked(sio, **options)
    busy = server()
    busy.eio.sockets["x"] = None
    with pytest.raises(UsageError, match="call use_it before"):
        checked(busy)
