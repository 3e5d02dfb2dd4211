"""The Admin API of real processes: three nodes that are joined by a real nats-server, workers, and nodes
whose keys change. App servers use our SDK; `tests/node/azure/admin.test.mjs` has the same for Azure's."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import socketio

from moorage.sdk import use_moorage
from tests.support.admin import Admin
from tests.support.nats_server import NatsServer
from tests.support.programs import free_port
from tests.support.python_client import PATIENCE
from tests.support.service import MoorageProcess

READ, OPERATE = "r" * 32, "o" * 32
KEYS = (f"--set=admin.read_key={READ}", f"--set=admin.operate_key={OPERATE}")
SECONDS = 30.0


def until(wanted: Callable[[], object], what: str = "") -> Any:
    """The first true result."""
    deadline = time.monotonic() + SECONDS
    while not (found := wanted()):
        assert time.monotonic() < deadline, what or found
        time.sleep(0.05)  # between two questions, not instead of them
    return found


def admin(node: MoorageProcess, key: str = OPERATE) -> Admin:
    return Admin(node.url, key)


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[MoorageProcess]]:
    key = secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        nats = stack.enter_context(NatsServer())
        made = []
        for number in (1, 2, 3):
            port = free_port()
            flags = (
                f"--set=cluster.nats_url={nats.url}",
                f"--set=cluster.advertise=http://127.0.0.1:{port}",
                f"--set=cluster.node_name=node-{number}",
                f"--port={port}",
            )
            made.append(MoorageProcess(*KEYS, *flags, key=key))
        nodes = [stack.enter_context(node) for node in made]
        until(lambda: all(node.get("/readyz")[0] == 200 for node in nodes))
        until(lambda: all(len(admin(node).get("/nodes")["nodes"]) == 3 for node in nodes))
        yield nodes


class Crowd:
    """An app server and a client at each node, in one hub."""

    def __init__(self, nodes: list[MoorageProcess], hub: str) -> None:
        self.hub = hub
        self.nodes = nodes
        self.heard: list[list[Any]] = []
        self.clients: list[socketio.AsyncClient] = []
        self.ids: list[str] = []
        self.sio = socketio.AsyncServer(async_mode="asgi")
        self.gone: asyncio.Queue[str] = asyncio.Queue()
        self.sio.on("connect", self._connect)
        self.sio.on("disconnect", self._disconnect)

    async def _connect(self, sid: str, _environ: object) -> None:
        # The SDK names the socket's own room then, before the socket is connected.
        await self.sio.enter_room(sid, "crowd")

    async def _disconnect(self, sid: str, _reason: str) -> None:
        self.gone.put_nowait(sid)

    async def start(self) -> None:
        self.moorage = await use_moorage(
            self.sio, hub=self.hub, connection_string=self.nodes[0].connection_string
        )
        for node in self.nodes:
            await asyncio.to_thread(until, partial(self._is_served, admin(node)), "an app server")
            client = socketio.AsyncClient(reconnection=False)
            events: list[Any] = []
            client.on("*", lambda name, *data, events=events: events.append((name, *data)))
            path = f"/clients/socketio/hubs/{self.hub}"
            await client.connect(
                node.url, socketio_path=path, transports=["websocket"], wait_timeout=PATIENCE
            )
            self.clients.append(client)
            self.heard.append(events)
            self.ids.append(client.eio.sid)

    def _is_served(self, node: Admin) -> bool:
        rows = node.get("/apps", hub=self.hub)["apps"]
        return {row["node"] for row in rows} >= {node.get("/session")["node"]}

    async def stop(self) -> None:
        for client in self.clients:
            await client.disconnect()
        await self.moorage.close()


@pytest.fixture
async def crowd(cluster: list[MoorageProcess]) -> AsyncIterator[Crowd]:
    made = Crowd(cluster, f"hub{secrets.token_hex(4)}")
    await made.start()
    yield made
    await made.stop()


async def test_every_node_answers_for_all(cluster: list[MoorageProcess], crowd: Crowd) -> None:
    for node in cluster:
        ask = admin(node, READ).get
        (hub,) = [row for row in ask("/hubs")["hubs"] if row["name"] == crowd.hub]
        assert (hub["connections"], hub["sockets"], hub["app_servers"]) == (3, 3, 3)
        rooms = ask("/rooms", hub=crowd.hub)
        assert [(row["room"], row["members"]) for row in rooms["rooms"]] == [("crowd", 3)]
        assert rooms["total"] == hub["rooms"] == 3, "once for each node, and no socket's own room"
        rows: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = ask("/connections", hub=crowd.hub, limit=1, **cursor)
            rows += page["connections"]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert sorted(row["id"] for row in rows) == sorted(crowd.ids)
        assert {row["node"] for row in rows} == {"node-1", "node-2", "node-3"}
        (only,) = ask("/connections", hub=crowd.hub, node="node-2")["connections"]
        assert (only["id"], only["transport"], only["address"]) == (crowd.ids[1], "websocket", "127.0.0.1")
        one = ask(f"/connections/{crowd.ids[2]}")
        assert (one["node"], one["hub"], one["sockets"][0]["namespace"]) == ("node-3", crowd.hub, "/")
        nodes = ask("/nodes")
        assert [row["name"] for row in nodes["nodes"]] == ["node-1", "node-2", "node-3"]
        assert all(row["memory"] > 1_000_000 and row["sockets"] >= 1 for row in nodes["nodes"])
        assert nodes["missing"] == []


async def test_actions_reach_all_nodes(cluster: list[MoorageProcess], crowd: Crowd) -> None:
    first, last = admin(cluster[0]), admin(cluster[2])
    for connection in crowd.ids[:2]:
        joined = await asyncio.to_thread(
            first.post, "/join", hub=crowd.hub, connection=connection, rooms=["r", "s"]
        )
        assert joined == {"missing": [], "connections": 1}
    rooms = last.get("/rooms", hub=crowd.hub)["rooms"]
    assert [(row["room"], row["members"]) for row in rooms] == [("crowd", 3), ("r", 2), ("s", 2)]
    members = last.get("/connections", hub=crowd.hub, room="r")["connections"]
    assert sorted(row["id"] for row in members) == sorted(crowd.ids[:2])
    emit = {"hub": crowd.hub, "event": "note"}
    await asyncio.to_thread(last.post, "/emit", 202, **emit, args=["r"], rooms=["r"])
    await asyncio.to_thread(last.post, "/emit", 202, **emit, args=["not r"], **{"except": ["r"]})
    assert await asyncio.to_thread(last.post, "/leave", hub=crowd.hub, room="r", rooms=["r"]) == {
        "missing": [],
        "connections": 2,
    }
    await asyncio.to_thread(last.post, "/emit", 202, **emit, args=["nobody"], rooms=["r"])
    await asyncio.to_thread(last.post, "/emit", 202, **emit, args=["end"])
    for events in crowd.heard:
        while not events or events[-1] != ("note", "end"):
            await asyncio.sleep(0.01)
    assert [[args for _, *args in events] for events in crowd.heard] == [
        [["r"], ["end"]],
        [["r"], ["end"]],
        [["not r"], ["end"]],
    ]
    closed = await asyncio.to_thread(last.post, "/disconnect", hub=crowd.hub, room="s", reason="for a test")
    assert closed == {"missing": [], "connections": 2}
    await asyncio.gather(crowd.gone.get(), crowd.gone.get())
    ends = first.get("/disconnects", hub=crowd.hub)["disconnects"]
    assert {(end["node"], end["reason"], end["who"], end["detail"]) for end in ends} == {
        ("node-1", "api-closed", "api", "for a test"),
        ("node-2", "api-closed", "api", "for a test"),
    }
    actions = admin(cluster[1]).get("/audit", limit=5)["actions"]
    assert [(row["node"], row["action"], row["outcome"]) for row in actions[:2]] == [
        ("node-3", "disconnect", "done"),
        ("node-3", "emit", "done"),
    ]


async def test_a_node_that_hangs_is_named(cluster: list[MoorageProcess], crowd: Crowd) -> None:
    ask = admin(cluster[0])
    cluster[2].signal(signal.SIGSTOP)
    try:
        answer = await asyncio.to_thread(ask.get, "/hubs")
        assert answer["missing"] == ["node-3"]
        (hub,) = [row for row in answer["hubs"] if row["name"] == crowd.hub]
        assert hub["connections"] == 2
    finally:
        cluster[2].signal(signal.SIGCONT)
    await asyncio.to_thread(until, lambda: admin(cluster[0]).get("/hubs")["missing"] == [])
    await asyncio.to_thread(until, lambda: len(admin(cluster[0]).get("/nodes")["nodes"]) == 3)
    await asyncio.to_thread(until, lambda: len(admin(cluster[2]).get("/nodes")["nodes"]) == 3)


def test_a_node_is_drained(cluster: list[MoorageProcess]) -> None:
    """The last test of the cluster."""
    ask = admin(cluster[0])
    assert ask.call("POST", "/nodes/nobody/drain").status == 404
    assert Admin(cluster[0].url, READ).call("POST", "/nodes/node-3/drain").status == 403
    assert ask.post("/nodes/node-3/drain", 202) == {}
    assert cluster[2].wait_exit() == 0
    until(lambda: [row["name"] for row in ask.get("/nodes")["nodes"]] == ["node-1", "node-2"])


def test_workers_are_a_cluster() -> None:
    with MoorageProcess(*KEYS, "--workers=2") as service:
        ask = Admin(service.url, READ)
        nodes = until(lambda: [row for row in ask.get("/nodes")["nodes"] if row.get("memory")])
        until(lambda: len(ask.get("/nodes")["nodes"]) == 2)
        login = ask.call("POST", "//dashboard/session", {"key": OPERATE})
        cookie = login.headers["set-cookie"].partition(";")[0]
        # The port is shared: any worker may get a request, and all know the session.
        browser = Admin(service.url)
        names = set()
        for _ in range(40):
            answer = browser.call("GET", "/session", cookie=cookie)
            assert (answer.status, answer.json["role"]) == (200, "operate")
            names.add(answer.json["node"])
        assert len(names) == 2
        assert nodes[0]["name"] in names


def test_keys_change_at_a_reload(tmp_path: Path) -> None:
    """A browser's session ends with its key; the other key and its sessions stay."""
    (tmp_path / "read").write_text(READ)
    (tmp_path / "operate").write_text(OPERATE)
    config = tmp_path / "moorage.yaml"
    config.write_text(
        f"server: {{port: 0}}\nkeys: {{primary: {'k' * 32}}}\n"
        "admin: {read_key_file: read, operate_key_file: operate}\n"
    )
    with MoorageProcess("-c", str(config), command="serve") as service:

        def cookie(key: str) -> str:
            answer = Admin(service.url).call("POST", "//dashboard/session", {"key": key})
            return answer.headers["set-cookie"].partition(";")[0]

        def status(key: str = "", cookie: str = "") -> tuple[int, str]:
            headers = {"cookie": cookie} if cookie else {}
            answer = Admin(service.url, key).call("GET", "/session", **headers)
            return answer.status, answer.json.get("code") or answer.json["role"]

        read, operate = cookie(READ), cookie(OPERATE)
        assert status(cookie=operate) == (200, "operate")
        (tmp_path / "operate").write_text("n" * 32)
        service.signal(signal.SIGHUP)
        service.wait_record(event="reloaded")
        assert status(OPERATE) == (401, "admin-wrong-key")
        assert status(cookie=operate) == (401, "admin-session-over")
        assert status("n" * 32) == (200, "operate")
        assert status(READ) == status(cookie=read) == (200, "read")
        config.write_text(f"server: {{port: 0}}\nkeys: {{primary: {'k' * 32}}}\n")
        service.signal(signal.SIGHUP)
        until(lambda: len([line for line in service.lines if '"reloaded"' in line]) == 2)
        # As if it did not exist.
        assert Admin(service.url, READ).call("GET", "/session").json["code"] == "token-malformed"
        assert service.get("/api/v1/openapi.json")[0] == 401


def test_the_first_key_needs_a_restart(tmp_path: Path) -> None:
    config = tmp_path / "moorage.yaml"
    config.write_text(f"server: {{port: 0}}\nkeys: {{primary: {'k' * 32}}}\n")
    with MoorageProcess("-c", str(config), command="serve") as service:
        config.write_text(config.read_text() + f"admin: {{read_key: {READ}}}\n")
        service.signal(signal.SIGHUP)
        assert service.wait_record(event="reloaded")["needs_restart"] == ["admin.read_key"]
        assert service.get("/api/v1/session")[0] == 401
        assert service.get("/dashboard/session")[0] == 404


def test_dev_prints_a_key_that_works() -> None:
    with MoorageProcess() as service:
        line = service.wait_line(lambda text: "Dashboard" in text)
        url, _, key = line.split()[-1].partition("#key=")
        assert url == f"{service.url}/dashboard"
        assert Admin(service.url, key).get("/session")["role"] == "operate"
