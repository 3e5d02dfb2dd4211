"""The sample chat with Flask-SocketIO. One line connects it to Moorage.

python app.py
"""

import os
from pathlib import Path
from threading import Lock
from typing import Any

from flask import Flask, Response, request, send_from_directory
from flask_socketio import SocketIO, emit

from moorage.sdk import use_moorage_sync

HUB = "chat"
CONNECTION_STRING = os.environ["MOORAGE_CONNECTION_STRING"]  # printed by `moorage dev`
PAGE = Path(__file__).resolve().parent.parent / "page"
FILES = {
    "/": "index.html",
    "/style.css": "style.css",
    "/page.js": "page.js",
    "/vendor/socket.io.js": "node_modules/socket.io-client/dist/socket.io.js",
}

app = Flask(__name__, static_folder=None)
socketio = SocketIO(app, async_mode="threading")

# --- the chat: only Flask-SocketIO ---

LONGEST_NAME = 20
LONGEST_MESSAGE = 2000
people: dict[str, str] = {}
"""The nicknames of this process, by socket id."""
people_lock = Lock()  # handlers run in threads


def clean(value: Any, longest: int) -> str:
    """Text that a user typed: trimmed and shortened; anything but text counts as empty."""
    return value.strip()[:longest] if isinstance(value, str) else ""


def tell_others(event: str, **news: Any) -> None:
    emit(event, news, broadcast=True, include_self=False)


@socketio.on("add user")
def add_user(name: Any) -> None:
    username = clean(name, LONGEST_NAME)
    with people_lock:
        if not username or request.sid in people:
            return
        people[request.sid] = username
        count = len(people)
    emit("login", {"username": username, "numUsers": count})
    tell_others("user joined", username=username, numUsers=count)


@socketio.on("new message")
def new_message(text: Any) -> None:
    message = clean(text, LONGEST_MESSAGE)
    if message and request.sid in people:
        tell_others("new message", username=people[request.sid], message=message)


@socketio.on("typing")
def typing() -> None:
    if request.sid in people:
        tell_others("typing", username=people[request.sid])


@socketio.on("stop typing")
def stop_typing() -> None:
    if request.sid in people:
        tell_others("stop typing", username=people[request.sid])


@socketio.on("disconnect")
def disconnect(_reason: str) -> None:
    with people_lock:
        username = people.pop(request.sid, None)
        count = len(people)
    if username:
        tell_others("user left", username=username, numUsers=count)


# --- the page, and the address that it connects to ---


@app.get("/negotiate")
def negotiate() -> dict[str, str]:
    """A real app would authenticate the user here, and add a token."""
    endpoint = dict(part.split("=", 1) for part in CONNECTION_STRING.split(";") if part)["Endpoint"]
    return {"endpoint": endpoint, "path": f"/clients/socketio/hubs/{HUB}"}


def send_page() -> Response:
    return send_from_directory(PAGE, FILES[request.path])


for path in FILES:
    app.add_url_rule(path, view_func=send_page)

if __name__ == "__main__":
    use_moorage_sync(socketio, hub=HUB, connection_string=CONNECTION_STRING)
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "3000"))
    # Werkzeug serves only the page: clients connect to Moorage.
    socketio.run(app, host, port, allow_unsafe_werkzeug=True)
