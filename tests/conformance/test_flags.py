"""Flags of an emit."""

from __future__ import annotations

import time
from functools import partial

import pytest

from tests.conformance.capabilities import shows
from tests.conformance.program import PATIENCE
from tests.conformance.stage import Stage
from tests.conformance.test_rooms import crew

FILL = ["x" * 500_000] * 24


@shows("compress")
def test_compress_is_accepted(stage: Stage) -> None:
    if not stage.support("compress").does:
        return
    space, clients = crew(stage, [], [])
    heard = stage.hear(clients, lambda: space.emit("x", 1, flags={"compress": True}))
    assert heard == [[["x", 1]]] * 2


@pytest.mark.parametrize("kind", ["emit", "send"])
@shows("volatile")
def test_volatile_skips_a_client_that_does_not_read(stage: Stage, kind: str) -> None:
    space, [client, other] = crew(stage, [], [])
    reads_no_more = client.start("stall")
    space.send(client, "hush")
    client.program.result(reads_no_more)
    # More than the kernel buffers for a connection; without a poll, no filling is needed.
    chunks = FILL if stage.transport == "websocket" else FILL[:1]
    space.batch(*[space.step("send", sid=client, args=["fill", chunk]) for chunk in chunks])
    space.send(other, "settled")
    other.next("settled")
    whom = {"sid": client} if kind == "send" else {}
    volatile = partial(space.step, kind, flags={"volatile": True}, **whom)
    space.batch(volatile(args=["x", "lost"]))
    space.send(other, "settled")
    other.next("settled")
    client.act("resume")
    heard = [event for event in stage.hear([client], lambda: None)[0] if event[0] == "x"]
    if stage.support("volatile").does:
        assert heard == []
    elif kind == "emit":
        assert heard == [["x", "lost"]]
    # Between two polls the packet is skipped, so several tries may be needed.
    end = time.monotonic() + PATIENCE
    while ["y", "heard"] not in client.events():
        assert time.monotonic() < end
        space.batch(volatile(args=["y", "heard"]))
        space.send(other, "settled")
        other.next("settled")


@shows("local")
def test_local_reaches_all_clients_of_a_single_app_server(stage: Stage) -> None:
    space, clients = crew(stage, ["room"], [])
    heard = stage.hear(clients, lambda: space.emit("x", 1, to=["room"], flags={"local": True}))
    assert heard == [[["x", 1]], []]
