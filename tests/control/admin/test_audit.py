"""Actions are noted in the log and in memory."""

from __future__ import annotations

import io
import json

from moorage import logs
from moorage.control.admin.audit import MAX_ACTIONS, Audit
from moorage.control.admin.callers import Caller
from moorage.control.admin.keys import Role
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
    assert (line["target_hub"], line["target_rooms"], line["target_role"]) == ("app", "['a']", "x")


def test_the_newest_first_and_the_oldest_forgotten() -> None:
    audit = Audit("here", lambda: 0.0)
    for number in range(MAX_ACTIONS + 5):
        audit.note(CALLER, "emit", {"number": number}, "done")
    found = audit.list(AuditQuery(limit=1000)).actions
    assert len(found) == MAX_ACTIONS
    assert found[0].target == {"number": MAX_ACTIONS + 4}
    assert len(audit.list(AuditQuery(limit=3)).actions) == 3
