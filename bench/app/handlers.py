"""The Python app of both halves, so that only the server differs between them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import orjson
import socketio

_SECONDS = 600
"""Longer than a run: a heartbeat inside a window would cost different processes in the two halves."""


class _Orjson:
    """orjson with the interface that python-socketio needs: `dumps` returns text and accepts separators."""

    @staticmethod
    def dumps(value: object, **_options: object) -> str:
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_options: object) -> object:
        return orjson.loads(text)


def server(**options: Any) -> Any:
    """An `AsyncServer` with the handlers, on the JSON that `BENCH_JSON` names (json: the library's own)."""
    if os.environ["BENCH_JSON"] == "orjson":
        options["json"] = _Orjson
    sio = socketio.AsyncServer(ping_interval=_SECONDS, ping_timeout=_SECONDS, **options)

    async def echo(_sid: str, value: object) -> object:
        return value

    sio.on("echo", echo)
    return sio


async def control(sio: Any, facts: dict[str, object]) -> None:
    """Commands on standard input as in handlers.mjs, until it ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps({"ready": True, **facts}, separators=(",", ":")), flush=True)
    while line := await reader.readline():
        command = json.loads(line)
        for _ in range(command["times"]):
            await sio.emit("tick", "x" * command["bytes"])
