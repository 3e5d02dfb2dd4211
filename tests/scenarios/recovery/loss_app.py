"""The app server of loss.mjs in Python: `aio` or `threads`. As loss_app.mjs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import socketio

from moorage.sdk import use_moorage, use_moorage_sync

CONNECTION_STRING, MODE, QUIET = sys.argv[1:4]
OPTIONS: Any = {"max_disconnection_duration": 60, "quiet": QUIET == "quiet"}
APP = str(os.getpid())
SERVER: Any = {
    "hub": "app",
    "connection_string": CONNECTION_STRING,
    "server_id": os.environ.get("SERVER_ID") or None,
    "connection_state_recovery": OPTIONS,
}
counts = {"number": 0, "direct": 0}
recovered: list[dict[str, Any]] = []
served: set[str] = set()
emitting = threading.Event()


def say(message: object) -> None:
    print(json.dumps(message), flush=True)


async def aio() -> None:
    sio: Any = socketio.AsyncServer(async_mode="asgi")

    @sio.event  # type: ignore[untyped-decorator]
    async def connect(sid: str, environ: dict[str, Any], auth: object) -> None:
        if environ["moorage.recovered"]:
            async with sio.session(sid) as session:
                recovered.append({"id": sid, "rooms": sorted(sio.rooms(sid)), "name": session.get("name")})
        else:
            await sio.save_session(sid, {"name": f"data of {sid}"})
            await sio.enter_room(sid, "news")
            await sio.enter_room(sid, f"room of {sid}")
        served.add(sid)

    @sio.event  # type: ignore[untyped-decorator]
    async def disconnect(sid: str, reason: str) -> None:
        served.discard(sid)

    await use_moorage(sio, **SERVER)

    async def emit() -> None:
        counts["number"] += 1
        await sio.emit("news", (counts["number"], APP), to="news")
        await sio.emit("all", (counts["number"], APP))

    async def keep_emitting() -> None:
        while True:
            await asyncio.sleep(0.005)
            if emitting.is_set():
                await emit()

    task = asyncio.create_task(keep_emitting())
    say("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        say(await carry_out(line.strip(), emit, lambda: direct_aio(sio), lambda: ask_aio(sio)))
    task.cancel()


async def carry_out(
    line: str,
    emit: Callable[[], Awaitable[None]],
    direct: Callable[[], Awaitable[None]],
    ask: Callable[[], Awaitable[None]],
) -> object:
    if line == "emit":
        await emit()
    elif line == "direct":
        counts["direct"] += 1
        await direct()
    elif line == "ask":
        await ask()
    else:
        return answer(line)
    return None


def answer(line: str) -> object:
    if line == "begin":
        emitting.set()
    elif line == "stop":
        emitting.clear()
    elif line == "served":
        return {"served": len(served)}
    elif line == "counts":
        return {"app": APP, **counts, "recovered": recovered, "faults": []}
    return None


async def direct_aio(sio: Any) -> None:
    for sid in tuple(served):
        await sio.emit("direct", (counts["direct"], APP), to=sid)


async def ask_aio(sio: Any) -> None:
    for sid in tuple(served):
        await sio.emit("ask", 1, to=sid, callback=lambda *_answer: None)


def threads() -> None:
    sio: Any = socketio.Server(async_mode="threading")
    lock = threading.Lock()

    @sio.event  # type: ignore[untyped-decorator]
    def connect(sid: str, environ: dict[str, Any], auth: object) -> None:
        if environ["moorage.recovered"]:
            with sio.session(sid) as session:
                recovered.append({"id": sid, "rooms": sorted(sio.rooms(sid)), "name": session.get("name")})
        else:
            sio.save_session(sid, {"name": f"data of {sid}"})
            sio.enter_room(sid, "news")
            sio.enter_room(sid, f"room of {sid}")
        served.add(sid)

    @sio.event  # type: ignore[untyped-decorator]
    def disconnect(sid: str, reason: str) -> None:
        served.discard(sid)

    use_moorage_sync(sio, **SERVER)

    def emit() -> None:
        with lock:
            counts["number"] += 1
            sio.emit("news", (counts["number"], APP), to="news")
            sio.emit("all", (counts["number"], APP))

    def keep_emitting() -> None:
        while True:
            time.sleep(0.005)  # a pace
            if emitting.is_set():
                emit()

    threading.Thread(target=keep_emitting, daemon=True).start()
    say("ready")
    for line in sys.stdin:
        line = line.strip()
        if line == "emit":
            emit()
            say(None)
        elif line == "direct":
            counts["direct"] += 1
            for sid in tuple(served):
                sio.emit("direct", (counts["direct"], APP), to=sid)
            say(None)
        elif line == "ask":
            for sid in tuple(served):
                sio.emit("ask", 1, to=sid, callback=lambda *_answer: None)
            say(None)
        else:
            say(answer(line))


if MODE == "aio":
    asyncio.run(aio())
else:
    threads()
