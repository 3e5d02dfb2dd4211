from __future__ import annotations

import json
from typing import Any

import flask
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from moorage.sdk import UsageError, flask_negotiate, starlette_negotiate

pytestmark = pytest.mark.repair(28)

WHERE = {"hub": "chat", "connection_string": "Endpoint=http://127.0.0.1:1;AccessKey=key;"}
PATH = "/clients/socketio/hubs/chat"


async def ask(app: Starlette, query: str = "") -> tuple[int, bytes]:
    """One GET."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/negotiate",
        "raw_path": b"/negotiate",
        "query_string": query.encode(),
        "headers": [],
    }
    await app(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


async def test_starlette() -> None:
    async def who(request: Any) -> dict[str, Any] | None:
        name = request.query_params.get("name")
        if name == "eve":
            raise HTTPException(401)
        return {"user_id": name, "ttl": 60} if name else None

    app = Starlette(routes=[Route("/negotiate", starlette_negotiate(who, **WHERE))])
    status, body = await ask(app, "name=ada")
    answer = json.loads(body)
    assert (status, answer["endpoint"], answer["path"]) == (200, "http://127.0.0.1:1", PATH)
    assert answer["token"].count(".") == 2
    assert (await ask(app))[0] == 200
    assert (await ask(app, "name=eve"))[0] == 401


def test_flask() -> None:
    def who(request: flask.Request) -> dict[str, Any] | None:
        if request.args.get("name") == "eve":
            flask.abort(401)
        return {"user_id": request.args.get("name")}

    app = flask.Flask(__name__)
    app.add_url_rule("/negotiate", view_func=flask_negotiate(who, **WHERE))
    client = app.test_client()
    answer = client.get("/negotiate?name=ada")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.get_json()["path"] == PATH
    assert client.get("/negotiate?name=eve").status_code == 401


def test_wrong_settings_show_at_the_start() -> None:
    with pytest.raises(UsageError):
        starlette_negotiate(lambda request: None, hub="chat", connection_string="")
    with pytest.raises(UsageError):
        flask_negotiate(lambda request: None, hub="no hub", connection_string=WHERE["connection_string"])
