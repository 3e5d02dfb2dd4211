"""`moorage trace`, against a real service, and its lines."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Iterator
from typing import Any

import click
import pytest

from moorage.cli.tables import plain
from moorage.cli.trace import line
from tests.cli.test_main import run
from tests.integration.test_nodes import until
from tests.integration.test_python_client import Client
from tests.support.app_link import AppServer
from tests.support.python_client import PATIENCE
from tests.support.service import MoorageProcess
from tests.support.traces import FLAGS, OPERATE_KEY, READ_KEY, TraceStream

COMMON = {"time": 0.25, "node": "n1", "hub": "app", "connection": "c1", "user": "ada", "app_server": "s1"}


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    with MoorageProcess(*FLAGS) as running:
        yield running


async def test_lines_for_people_and_for_programs(service: MoorageProcess) -> None:
    given: dict[str, Any] = {"MOORAGE_ADMIN_URL": service.url, "MOORAGE_ADMIN_KEY": OPERATE_KEY}
    async with AppServer(service, "people"), TraceStream(service, sample=1, hub="people") as begun:
        show = ("trace", "--sample", "1", "--hub", "people", "--payload", "--count", "4")
        forms: list[tuple[str, ...]] = [show, (*show, "--json")]
        running = [asyncio.create_task(asyncio.to_thread(run, *form, **given)) for form in forms]
        while not all(task.done() for task in running):
            async with Client() as client:
                await client.sio.connect(
                    service.url,
                    transports=["websocket"],
                    socketio_path="/clients/socketio/hubs/people",
                    wait_timeout=PATIENCE,
                )
                await client.sio.call("hello", 1)
    people, programs = [task.result() for task in running]
    assert (people.returncode, people.stderr) == (0, "")
    assert (programs.returncode, programs.stderr) == (0, "")
    assert begun.events
    rows = [json.loads(row) for row in programs.stdout.splitlines()]
    assert rows[0]["kind"] == "watching"
    packets = [row for row in rows if row["kind"] in ("packet", "state")]
    assert len(packets) == 4
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{3} \S+ \S+ \S+ (->|<-|--) ", people.stdout, re.MULTILINE)


async def test_the_service_drains() -> None:
    with MoorageProcess(*FLAGS) as service:

        def has_begun() -> bool:
            return b'operation="trace"' in service.get("/metrics")[1]

        show = ("trace", "--user", "ada", "--url", service.url, "--key", READ_KEY)
        running = asyncio.create_task(asyncio.to_thread(run, *show))
        await asyncio.to_thread(until, has_begun, "the trace has begun")
        service.signal(signal.SIGTERM)
        done = await running
    assert done.returncode == 3, done
    assert "the service ends the trace: the service is shutting down (1100)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, "give one of --user, --connection"),
        (("--user", "a", "--room", "r"), 2, "give one of"),
        (("--sample", "0"), 2, "not in the range"),
        (("--user", "a", "--key", READ_KEY, "--payload"), 1, "(5103 admin-role)"),
        (("--user", "a", "--key", "wrong" * 4), 1, "(5101 admin-wrong-key)"),
        (("--user", "a"), 2, "no key of the Admin API"),
        (("--user", "a", "--url", "http://127.0.0.1:1", "--key", READ_KEY), 1, "Connection refused"),
    ],
)
def test_refusals(service: MoorageProcess, arguments: tuple[str, ...], code: int, text: str) -> None:
    done = run("trace", *arguments, MOORAGE_ADMIN_URL=service.url)
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr


def shown(name: str, **data: Any) -> str:
    """A line without colours and time."""
    return click.unstyle(line(name, COMMON | data)).partition(" ")[2]


PACKET = {
    "direction": "in",
    "type": "event",
    "namespace": "/",
    "event": "hi",
    "size": 10,
    "ack": None,
    "ack_ms": None,
}


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "n1 s1 ada -> / hi 10 B"),
        ({"direction": "out", "ack": 5, "size": 2_048}, "n1 s1 ada <- / hi #5 2.0 KiB"),
        ({"type": "ack", "event": None, "ack": 5, "ack_ms": 1.26}, "n1 s1 ada -> / ack #5 10 B 1.3 ms"),
        ({"type": "pong", "event": None, "namespace": None, "size": 1}, "n1 s1 ada -> pong 1 B"),
        ({"attachments": 2, "payload": '["hi"]'}, 'n1 s1 ada -> / hi 10 B (2 binary) ["hi"]'),
        ({"connection": None, "user": None, "app_server": None, "recipients": 3}, "n1 - - -> / hi 10 B to 3"),
        ({"event": "\x1b[31m\n"}, "n1 s1 ada -> / \\x1b[31m\\n 10 B"),
    ],
)
def test_packets(more: dict[str, Any], text: str) -> None:
    assert shown("packet", **PACKET | more) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"state": "opened", "transport": "polling"}, "n1 s1 ada -- opened polling"),
        ({"state": "joined", "namespace": "/", "room": "r\t"}, "n1 s1 ada -- joined / r\\t"),
        (
            {"state": "closed", "reason": "ping-timeout", "number": 1109, "who": "service", "age": 2.0},
            "n1 s1 ada -- closed ping-timeout (1109) by the service after 2.0 s",
        ),
        (
            {
                "state": "closed",
                "transport": "websocket",
                "reason": "client-closed",
                "number": 1000,
                "who": "client",
                "age": 2.0,
                "detail": "the app had disconnected its last socket",
            },
            "n1 s1 ada -- closed websocket client-closed (1000) by the client after 2.0 s: "
            "the app had disconnected its last socket",
        ),
        (
            {"state": "refused", "reason": "token-expired", "number": 3004, "detail": "d", "claimed": True},
            "n1 s1 ada -- refused token-expired (3004): d "
            "(the token is not valid, or was not checked: anybody can have written the user's name)",
        ),
    ],
)
def test_states(data: dict[str, Any], text: str) -> None:
    assert shown("state", **data) == text


def test_the_other_lines() -> None:
    assert click.unstyle(line("dropped", {"count": 7})) == "7 packets are not shown: there are too many"
    one = {"node": "n1", "connections": 1, "limited": False}
    assert click.unstyle(line("watching", one)) == "n1 follows 1 connection"
    many = {"node": "n1", "connections": 1_000, "limited": True}
    assert click.unstyle(line("watching", many)) == "n1 follows 1000 connections (more match)"
    assert plain("häuser") == "häuser"
