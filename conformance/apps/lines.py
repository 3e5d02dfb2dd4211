"""JSON lines on stdin and stdout: how the suite drives a program. README.md has the language."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Final

MAX_LINE: Final = 64 * 1024 * 1024

Line = dict[str, Any]
Command = Callable[[Line], Awaitable[Any]]

_writing: Final = threading.Lock()


def notice(name: str, **fields: Any) -> None:
    """Write a line that nobody asked for. From any thread."""
    _write({"notice": name, **fields})


async def listen(command: Callable[[str], Command]) -> None:
    """Carry out what comes in, each line as it comes; `command` finds what `do` names. Ends with stdin."""
    reader = asyncio.StreamReader(MAX_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    loop.set_exception_handler(lambda _, context: notice("unhandled", message=context["message"]))
    running: set[asyncio.Task[None]] = set()
    while text := await reader.readline():
        task = asyncio.create_task(_answer(command, _unpack(json.loads(text))))
        running.add(task)
        task.add_done_callback(running.discard)


async def _answer(command: Callable[[str], Command], line: Line) -> None:
    number = line.pop("id")
    try:
        value = await perform(command, line)
    except Exception as error:
        name = type(error).__name__
        _write({"id": number, "error": {"name": name, "message": str(error), "data": traceback.format_exc()}})
    else:
        _write({"id": number, "value": value})


async def perform(command: Callable[[str], Command], line: Line) -> Any:
    """One command."""
    if line["do"] == "batch":
        return [await perform(command, each) for each in line["commands"]]
    return await command(line["do"])(line)


def _write(line: Line) -> None:
    text = json.dumps(_pack(line)) + "\n"
    with _writing:
        sys.stdout.write(text)
        sys.stdout.flush()


def _pack(value: Any) -> Any:
    """Bytes travel as `{"$bytes": base64}`; `{"$odd": 1}` comes in for a value that JSON has no form for."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {name: _pack(member) for name, member in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_pack(member) for member in value]
    return value


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        if "$odd" in value:
            return object()
        if isinstance(value.get("$bytes"), str):
            return base64.b64decode(value["$bytes"])
        return {name: _unpack(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_unpack(member) for member in value]
    return value
