"""Our Python SDK on a `socketio.AsyncServer`, driven by the suite. README.md has the language."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import socketio
from socketio.exceptions import ConnectionRefusedError as RefusedError

from conformance.apps.lines import Command, Line, listen, notice, perform
from moorage.sdk import use_moorage

NEVER = asyncio.Event()


class App:
    """Commands are the methods `do_...`."""

    def __init__(self) -> None:
        self.sio: Any = None
        self.moorage: Any = None
        self.label = ""
        self._environ: dict[str, tuple[Line, Any]] = {}
        """Handshake and auth by socket."""

    def command(self, name: str) -> Command:
        """Find one."""
        found: Command = getattr(self, f"do_{name}")
        return found

    # -- start, handlers ----------------------------------------------------------------------------

    async def do_start(self, line: Line) -> Line:
        self.label = line["label"]
        await self.attach(
            server_options(line["options"]),
            hub=line["hub"],
            connection_string=line["connection_string"],
            connection_state_recovery=recovery_options(line["options"]),
        )
        self.moorage.on("link_lost", lambda _: notice("link", state="lost"))
        self.moorage.on("link_restored", lambda: notice("link", state="restored"))
        self.moorage.on("session_lost", lambda _: notice("link", state="anew"))
        self.moorage.on("error", lambda error: notice("problem", message=str(error)))
        return {"server": self.moorage.server_id}

    async def attach(self, options: Line, **where: Any) -> None:
        """Make the server, and put it behind the service."""
        self.sio = socketio.AsyncServer(async_mode="asgi", **options)
        self.moorage = await use_moorage(self.sio, **where)

    def handler(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """In the form that the server takes handlers in."""
        return function

    async def do_define(self, line: Line) -> None:
        """Answer and tell all that happens in a namespace, or in all that match a pattern."""
        if "pattern" in line:
            self._define_pattern(line)
            return
        ns = line["ns"]
        if line.get("suite"):
            self._mirror(ns)
            return

        async def connect(sid: str, environ: Line, auth: Any) -> None:
            await self._connected(ns, sid, environ, auth, line)

        async def event(name: str, sid: str, *args: Any) -> Any:
            return await self._event(ns, sid, name, args)

        self.sio.on("connect", self.handler(connect), namespace=ns)
        self.sio.on("disconnect", lambda sid, reason: self._disconnected(ns, sid, reason), namespace=ns)
        self.sio.on("*", self.handler(event), namespace=ns)
        for name in ("who", "silent", "note"):
            self.moorage.on_server_event(name, namespace=ns)(self._told(ns, name))

    def _define_pattern(self, line: Line) -> None:
        """python-socketio has a handler for all namespaces that have none, and no patterns."""
        pattern = re.compile(line["pattern"])

        async def connect(ns: str, sid: str, environ: Line, auth: Any) -> None:
            if not pattern.search(ns):
                raise RefusedError("Unable to connect")
            await self._connected(ns, sid, environ, auth, line)

        async def event(name: str, ns: str, sid: str, *args: Any) -> Any:
            return await self._event(ns, sid, name, args)

        self.sio.namespaces = "*"
        self.sio.on("connect", self.handler(connect), namespace="*")
        self.sio.on("disconnect", self._disconnected, namespace="*")
        self.sio.on("*", self.handler(event), namespace="*")

    def _mirror(self, ns: str) -> None:
        """Do what the protocols' own suites expect of an app."""

        async def connect(sid: str, environ: Line, auth: Any) -> None:
            await self.sio.emit("auth", auth or {}, to=sid, namespace=ns)

        async def message(sid: str, *args: Any) -> None:
            await self.sio.emit("message-back", args, to=sid, namespace=ns)

        async def message_with_ack(sid: str, *args: Any) -> Any:
            return args

        self.sio.on("connect", self.handler(connect), namespace=ns)
        self.sio.on("message", self.handler(message), namespace=ns)
        self.sio.on("message-with-ack", self.handler(message_with_ack), namespace=ns)

    async def do_hand_over(self, line: Line) -> Line:
        moved, missing = await self.moorage.hand_over()
        return {"moved": moved, "missing": missing}

    async def do_undefine(self, line: Line) -> None:
        self.sio.namespaces = ["/"]
        del self.sio.handlers["*"]

    async def _connected(self, ns: str, sid: str, environ: Line, auth: Any, line: Line) -> None:
        for rule in line.get("refuse", ()):
            if rule["auth"].items() <= (auth or {}).items():
                raise RefusedError(rule["message"], *([rule["data"]] if "data" in rule else []))
        self._environ[sid] = environ, auth
        handed_over, recovered = environ.get("moorage.handed_over", False), environ["moorage.recovered"]
        notice("connection", ns=ns, sid=sid, handed_over=handed_over, recovered=recovered)
        steps = line.get("on_connect", ())
        for step in steps:
            await perform(self.command, {**step, "ns": ns, "sid": sid})
        if steps:
            notice("prepared", ns=ns, sid=sid)

    def _disconnected(self, ns: str, sid: str, reason: str) -> None:
        notice("disconnect", ns=ns, sid=sid, reason=reason)

    async def _event(self, ns: str, sid: str, name: str, args: tuple[Any, ...]) -> Any:
        notice("event", ns=ns, sid=sid, args=[name, *args])
        notice("handled", ns=ns, sid=sid, args=[name, *args])
        if name == "echo":
            return args
        if name == "silent":
            await NEVER.wait()
        if name == "throw":
            raise RuntimeError("thrown by the app's handler")
        return None

    def _told(self, ns: str, name: str) -> Callable[..., Any]:
        async def told(*args: Any) -> Any:
            notice("told", ns=ns, args=[name, *args])
            if name == "silent":
                await NEVER.wait()
            return self.label

        return self.handler(told)

    # -- emits --------------------------------------------------------------------------------------

    async def do_emit(self, line: Line) -> None:
        name, *args = line["args"]
        to, skip, ns = line.get("to"), skipped(line), line["ns"]
        flags = line.get("flags", {})
        if flags:
            await self.moorage.emit(name, tuple(args), to=to, skip=skip, namespace=ns, **flags)
        else:
            await self.sio.emit(name, tuple(args), to=to, skip_sid=skip, namespace=ns)

    async def do_send(self, line: Line) -> None:
        await self.do_emit({**line, "to": line["sid"]})

    async def do_message(self, line: Line) -> None:
        await self.sio.send(
            tuple(line["args"]),
            to=line.get("sid", line.get("to")),
            skip_sid=skipped(line),
            namespace=line["ns"],
        )

    async def do_remote(self, line: Line) -> Any:
        """python-socketio's own calls take any app server's sockets."""
        if line["act"] == "ask":
            [answer] = await self.do_ask_socket(line)
            return answer
        acts = {
            "emit": self.do_send,
            "join": self.do_join,
            "leave": self.do_leave,
            "disconnect": self.do_disconnect,
        }
        return await acts[line["act"]](line)

    async def do_ask(self, line: Line) -> Line:
        name, *args = line["args"]
        found = await self.moorage.emit_with_acks(
            name,
            tuple(args),
            to=line.get("to"),
            skip=skipped(line),
            namespace=line["ns"],
            timeout=line["timeout"] / 1000,
        )
        return {
            "answers": list(found.answers.values()),
            "complete": not found.missing,
            "missing": found.missing,
        }

    async def do_ask_socket(self, line: Line) -> list[Any]:
        name, *args = line["args"]
        answer = await self.sio.call(
            name, tuple(args), sid=line["sid"], namespace=line["ns"], timeout=line["timeout"] / 1000
        )
        return list(answer) if isinstance(answer, tuple) else [] if answer is None else [answer]

    # -- rooms, sockets -----------------------------------------------------------------------------

    async def do_join(self, line: Line) -> None:
        for room in line["rooms"]:
            await self.sio.enter_room(line["sid"], room, namespace=line["ns"])

    async def do_leave(self, line: Line) -> None:
        for room in line["rooms"]:
            await self.sio.leave_room(line["sid"], room, namespace=line["ns"])

    async def do_rooms(self, line: Line) -> list[str]:
        return list(self.sio.rooms(line["sid"], namespace=line["ns"]))

    async def do_sids(self, line: Line) -> list[str]:
        return [sid for sid, _ in self.sio.manager.get_participants(line["ns"], None)]

    async def do_sockets_join(self, line: Line) -> None:
        await self.moorage.sockets_join(line["rooms"], **selected(line))

    async def do_sockets_leave(self, line: Line) -> None:
        await self.moorage.sockets_leave(line["rooms"], **selected(line))

    async def do_empty(self, line: Line) -> None:
        await self.sio.close_room(line["rooms"][0], namespace=line["ns"])

    async def do_disconnect_sockets(self, line: Line) -> None:
        await self.moorage.disconnect_sockets(close=line["close"], **selected(line))

    async def do_fetch(self, line: Line) -> Line:
        found = await self.moorage.fetch_sockets(
            line.get("to"),
            namespace=line["ns"],
            skip=skipped(line),
            timeout=line.get("timeout", 5000) / 1000,
        )
        sockets = [
            {"id": one.id, "rooms": list(one.rooms), "data": one.data, "handshake": one.handshake}
            for one in found
        ]
        return {"sockets": sockets, "missing": found.missing}

    async def do_all_sockets(self, line: Line) -> list[str]:
        found = await self.moorage.fetch_sockets(line.get("to"), namespace=line["ns"])
        return [one.id for one in found]

    async def do_handshake(self, line: Line) -> Line:
        environ, auth = self._environ[line["sid"]]
        return handshake(environ, auth)

    async def do_set_data(self, line: Line) -> None:
        await self.sio.save_session(line["sid"], line["data"], namespace=line["ns"])

    async def do_disconnect(self, line: Line) -> None:
        if line["close"]:
            await self.moorage.disconnect_sockets(to=line["sid"], namespace=line["ns"], close=True)
        else:
            await self.sio.disconnect(line["sid"], namespace=line["ns"])

    async def do_close_connection(self, line: Line) -> None:
        await self.sio.eio.disconnect(self.sio.manager.eio_sid_from_sid(line["sid"], line["ns"]))

    # -- app servers --------------------------------------------------------------------------------

    async def do_tell(self, line: Line) -> None:
        name, *args = line["args"]
        await self.moorage.server_side_emit(name, *args, namespace=line["ns"])

    async def do_tell_and_ask(self, line: Line) -> Line:
        name, *args = line["args"]
        found = await self.moorage.server_side_emit_with_ack(
            name, *args, namespace=line["ns"], timeout=line.get("timeout", 5_000) / 1000
        )
        return {
            "answers": list(found.answers.values()),
            "complete": not found.missing,
            "missing": found.missing,
        }

    async def do_server_count(self, line: Line) -> int:
        return sum(server.up for server in await self.moorage.servers())

    async def do_close(self, line: Line) -> None:
        await self.moorage.close()


def recovery_options(options: Line) -> Line | None:
    """`connectionStateRecovery` as `use_moorage` takes it."""
    given = options.get("connectionStateRecovery")
    if given is None:
        return None
    seconds = given.get("maxDisconnectionDuration", 120_000) / 1000
    return {"max_disconnection_duration": seconds, "quiet": options.get("quietRecovery", False)}


def server_options(options: Line) -> Line:
    """python-socketio's names and units of socket.io's options."""
    names = {"pingInterval": "ping_interval", "pingTimeout": "ping_timeout"}
    found = {names[name]: value / 1000 for name, value in options.items() if name in names}
    if "maxHttpBufferSize" in options:
        found["max_http_buffer_size"] = options["maxHttpBufferSize"]
    if "alwaysConnect" in options:
        found["always_connect"] = options["alwaysConnect"]
    return found


def skipped(line: Line) -> list[str] | None:
    """Rooms and sockets that an emit leaves out."""
    out = [*line.get("except", ()), *([line["from"]] if "from" in line else [])]
    return out or None


def selected(line: Line) -> Line:
    """Whom a call is for."""
    return {"to": line.get("to"), "skip": skipped(line), "namespace": line["ns"]}


def handshake(environ: Line, auth: Any) -> Line:
    """What the suite wants to know of one."""
    return {
        "auth": auth,
        "query": dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True)),
        "headers": {
            name[5:].lower().replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        },
        "address": environ["REMOTE_ADDR"],
        "secure": environ["wsgi.url_scheme"] == "https",
        "url": environ["RAW_URI"],
        "claims": environ["moorage.claims"],
        "connection": environ["moorage.connection_id"],
    }


async def main(app: App) -> None:
    """Until stdin ends."""
    notice("ready")
    await listen(app.command)


if __name__ == "__main__":
    asyncio.run(main(App()))
