"""Actions are noted in the log and in memory."""

from __future__ import annotations

import io
import json

from moorage import logs
from moorage.control.admin.access.callers import Caller
from moorage.control.admin.access.keys import Role
from moorage.control.admin.audit import MAX_ACTIONS, Audit
from moorage.wire.inspect.forms import AuditQuery

CALLER = Caller(Role.OPERATE, "192.0.2.7")


def test_an_action_is_listed_and_logged() -> None:
    stream = io.StringIO()
    logs.setup(level="info", format="json", stream=stream)
    audit = Audit("here", lambda: 1_700_000_000.0)
    audit.note(CALLER, "join", {"hub": "app", "rooms": ["a"], "role": "x"}, "done")
    (row,) = audit.list(AuditQuery()).actions
    assert (row.time, row.node, row.role, row.address) == (1_700_000_000.0, "here", "operate", "192.0.2.7")
    assert (row.action, row.target, row.outcome) == (
        "join",
        {"hub": "app", "rooms": ["a"], "role": "x"},
        "done",
    )
    line = json.loads(stream.getvalue())
    assert (line["component"], line["action"], line["outcome"], line["role"]) == (
        "audit",
        "join",
        "done",
        "operate",
    )
    assert (line["target_hub"], line["target_rooms"], line["target_role"]) == ("app", '["a"]', "x")


def test_true_is_no_text_in_the_log() -> None:
    stream = io.StringIO()
    logs.setup(level="info", format="json", stream=stream)
    Audit("here", lambda: 0.0).note(CALLER, "trace", {"user": "ada", "payload": True}, "done")
    assert json.loads(stream.getvalue())["target_payload"] is True


def test_the_newest_first_and_the_oldest_forgotten() -> None:
    audit = Audit("here", lambda: 0.0)
    for number in range(MAX_ACTIONS + 5):
        audit.note(CALLER, "emit", {"number": number}, "done")
    found = audit.list(AuditQuery(limit=1000)).actions
    assert len(found) == MAX_ACTIONS
    assert found[0].target == {"number": MAX_ACTIONS + 4}
    assert len(audit.list(AuditQuery(limit=3)).actions) == 3


def test_the_same_again_is_counted_and_cannot_flood_list_or_log() -> None:
    stream = io.StringIO()
    logs.setup(level="info", format="json", stream=stream)
    now = 100.0
    audit = Audit("here", lambda: now)
    for _ in range(250):
        audit.note(CALLER, "trace", {"user": "ada"}, "done")
        now += 0.1
    (row,) = audit.list(AuditQuery()).actions
    assert (row.count, row.time) == (250, 124.9)
    assert [json.loads(line).get("count", 1) for line in stream.getvalue().splitlines()] == [1, 10, 100]
    audit.note(CALLER._replace(address="192.0.2.8"), "trace", {"user": "ada"}, "done")
    audit.note(CALLER, "trace", {"user": "ada"}, "admin-busy")
    audit.note(CALLER, "trace", {"user": "bob"}, "done")
    assert [row.count for row in audit.list(AuditQuery()).actions] == [1, 1, 1, 250]


def test_after_a_minute_there_is_a_new_line() -> None:
    times = [0.0, 30.0, 59.0, 61.0, 62.0]
    audit = Audit("here", iter(times).__next__)
    for _ in times:
        audit.note(CALLER, "drain", {"node": "a"}, "done")
    assert [(row.time, row.count) for row in audit.list(AuditQuery()).actions] == [(62.0, 2), (59.0, 3)]


def test_one_action_cannot_push_out_another() -> None:
    now = 0.0
    audit = Audit("here", lambda: now)
    audit.note(CALLER, "disconnect", {"user": "ada"}, "done")
    for number in range(MAX_ACTIONS + 50):
        now += 1.0
        audit.note(CALLER, "trace", {"user": str(number)}, "done")
        audit.note(CALLER, "disconnect", {"user": str(number)}, "admin-role")
    rows = audit.list(AuditQuery(limit=1000)).actions
    assert len(rows) == 1000
    every = audit._actions["disconnect", True]
    assert [kept.row.target for kept in every] == [{"user": "ada"}]
