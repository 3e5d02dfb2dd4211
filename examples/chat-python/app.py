"""The sample chat with FastAPI and python-socketio. One line connects it to Moorage.

uvicorn app:app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import socketio
from fastapi import FastAPI
from fastapi.responses import FileResponse

from moorage.sdk import use_moorage

HUB = "chat"
CONNECTION_STRING = os.environ["MOORAGE_CONNECTION_STRING"]  # printed by `moorage dev`
PAGE = Path(__file__).resolve().parent.parent / "page"

sio = socketio.AsyncServer(async_mode="asgi")


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    moorage = await use_moorage(sio, hub=HUB, connection_string=CONNECTION_STRING)
    yield
    await moorage.close()


app = FastAPI(lifespan=lifespan)

# --- the chat: only python-socketio ---

LONGEST_NAME = 20
LONGEST_MESSAGE = 2000
people: dict[str, str] = {}
"""The nicknames of this process, by socket id."""


def clean(value: Any, longest: int) -> str:
    """Text that a user typed: trimmed and shortened; anything but text counts as empty."""
    return value.strip()[:longest] if isinstance(value, str) else ""


@sio.on("add user")
async def add_user(sid: str, name: Any) -> None:
    username = clean(name, LONGEST_NAME)
    if not username or sid in people:
        return
    people[sid] = username
    news = {"username": username, "numUsers": len(people)}
    await sio.emit("login", news, to=sid)
    await sio.emit("user joined", news, skip_sid=sid)


@sio.on("new message")
async def new_message(sid: str, text: Any) -> None:
    message = clean(text, LONGEST_MESSAGE)
    if message and sid in people:
        await sio.emit("new message", {"username": people[sid], "message": message}, skip_sid=sid)


@sio.on("typing")
async def typing(sid: str) -> None:
    if sid in people:
        await sio.emit("typing", {"username": people[sid]}, skip_sid=sid)


@sio.on("stop typing")
async def stop_typing(sid: str) -> None:
    if sid in people:
        await sio.emit("stop typing", {"username": people[sid]}, skip_sid=sid)


@sio.event
async def disconnect(sid: str, _reason: str) -> None:
    username = people.pop(sid, None)
    if username:
        await sio.emit("user left", {"username": username, "numUsers": len(people)})


# --- the page, and the address that it connects to ---


@app.get("/negotiate")
async def negotiate() -> dict[str, str]:
    """A real app would authenticate the user here, and add a token."""
    endpoint = dict(part.split("=", 1) for part in CONNECTION_STRING.split(";") if part)["Endpoint"]
    return {"endpoint": endpoint, "path": f"/clients/socketio/hubs/{HUB}"}


@app.get("/")
async def index() -> FileResponse:
    return FileResponse(PAGE / "index.html")


@app.get("/style.css")
async def style() -> FileResponse:
    return FileResponse(PAGE / "style.css")


@app.get("/page.js")
async def page() -> FileResponse:
    return FileResponse(PAGE / "page.js")


@app.get("/vendor/socket.io.js")
async def client() -> FileResponse:
    return FileResponse(PAGE / "node_modules/socket.io-client/dist/socket.io.js")
