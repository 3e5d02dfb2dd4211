"""The tables of `moorage top`, from made-up samples."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.cli.operate.frames import (
    COLUMNS,
    DEFAULT_SORT,
    VIEWS,
    Sample,
    frame,
    member_of,
    ordered,
    rates,
    rows_of,
)


def node(name: str, incarnation: str, messages: int | None, **more: Any) -> dict[str, Any]:
    given = {"name": name, "incarnation": incarnation, "state": "ready", "clients": 10, "app_servers": [1, 2]}
    if messages is not None:
        given |= {"messages_in": messages, "messages_out": messages * 2, "cpu": 0.5, "memory": 1024**2}
    return {**given, **more}


BEFORE = Sample(10.0, [node("a", "a1", 100), node("b", "b1", 100), node("c", "c1", None)], [], [])
AFTER = Sample(
    12.0,
    [node("a", "a1", 300, clients=1234), node("b", "b2", 5), node("c", "c1", None), node("d", "d1", 7)],
    [],
    ["c"],
)


def test_rates_are_those_of_nodes_that_were_there() -> None:
    found = {row["name"]: (row["in_rate"], row["out_rate"], row["apps"]) for row in rates(BEFORE, AFTER)}
    assert found == {"a": (100, 200, 2), "b": (None, None, 2), "c": (None, None, 2), "d": (None, None, 2)}
    assert rates(AFTER, AFTER)[0]["in_rate"] is None


def test_rates_of_hubs_and_of_connections() -> None:
    def hub(name: str, messages: int | None) -> dict[str, Any]:
        return {"name": name, "messages_in": messages, "messages_out": 0}

    before = Sample(10.0, [], [hub("a", 10), hub("b", 50), hub("c", None)], [])
    after = Sample(12.0, [], [hub("a", 30), hub("b", 0), hub("c", None), hub("d", 7)], [])
    found = {row["name"]: row["in_rate"] for row in rows_of("hubs", before, after)}
    assert found == {"a": 10, "b": None, "c": None, "d": None}, "b: one of its nodes has been restarted"
    busy = Sample(12.0, [], [{"rate_in": 1.5, "rate_out": 2}], [])
    assert rows_of("connections", before, busy)[0]["rate"] == 3.5


def test_rows_without_a_value_come_last() -> None:
    rows: list[dict[str, Any]] = [{"x": 2}, {"x": None}, {"x": 3}, {}]
    assert ordered(rows, "x", up=False) == [{"x": 3}, {"x": 2}, {"x": None}, {}]
    assert ordered(rows, "x", up=True) == [{"x": 2}, {"x": 3}, {"x": None}, {}]


def test_a_frame() -> None:
    lines = frame("nodes", BEFORE, AFTER, "clients", up=False, most=2).splitlines()
    assert lines[0].startswith("4 nodes   4 ready   1,264 clients   in 100/s   out 200/s   CPU 1.50")
    assert lines[0].endswith("no answer: c")
    assert lines[2].split()[:3] == ["NODE", "STATE", "CLIENTSv"]
    assert lines[3].split()[:3] == ["a", "ready", "1,234"]
    assert len(lines) == 5
    first = frame("nodes", BEFORE, AFTER, "name", up=True, most=99).splitlines()
    assert [line.split()[0] for line in first[2:]] == ["NODE^", "a", "b", "c", "d"]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_has_a_table(view: str) -> None:
    row = {column.member: 1 for column in COLUMNS[view]} | {"rate_in": 1, "rate_out": 1, "name": "h"}
    sample = Sample(1.0, [node("a", "a1", 1)], [row], [])
    assert len(frame(view, sample, sample, DEFAULT_SORT[view], up=False, most=9).splitlines()) == 4
    assert member_of(view, DEFAULT_SORT[view]) == DEFAULT_SORT[view]


def test_columns_by_name() -> None:
    assert member_of("nodes", "IN/S") == "in_rate"
    assert member_of("nodes", "loop-lag") == "loop_lag"
    assert member_of("apps", "app server") == "id"
    assert member_of("nodes", "nothing") is None
