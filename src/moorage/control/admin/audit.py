"""What operators have done: a line in the log, and the latest actions in memory."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable
from heapq import merge
from itertools import count as count_from
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from moorage import logs
from moorage.control.admin.access.callers import Caller
from moorage.wire.inspect.forms import ActionRow, AuditQuery, NodeActions

Note = Callable[[Caller, str, dict[str, Any], str], object]
"""Notes an action: who, what, for whom, and what became of it."""
MAX_ACTIONS: Final = 1_000
"""Most that are kept of one action. Each action has its own, so that none can push out others: somebody who
opens traces in a loop cannot hide whom he has disconnected. Refused ones are kept apart, too."""
MERGE_SECONDS: Final = 60.0
"""The same action again within this time is counted."""
LOGGED: Final = (1, 10, 100, 1_000, 10_000, 100_000)
"""The log has a line at these counts."""

log: Final = logs.get("audit")


class Audit:
    """Keeps the actions that the node `name` was asked for. `clock` gives epoch seconds."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self._name = name
        self._clock = clock
        self._numbers = count_from(1)
        self._actions: defaultdict[tuple[str, bool], deque[_Kept]] = defaultdict(
            lambda: deque(maxlen=MAX_ACTIONS)
        )
        """The latest first, by action and whether it was done."""

    def note(self, caller: Caller, action: str, target: dict[str, Any], outcome: str) -> None:
        """An action has ended: `outcome` is "done", or the name of a reason."""
        role, address = caller.role.shown, caller.address
        now = round(self._clock(), 3)
        row = ActionRow(
            time=now,
            node=self._name,
            role=role,
            address=address,
            action=action,
            target=target,
            outcome=outcome,
        )
        kept = self._actions[action, outcome == "done"]
        count = 1
        if kept and _is_again(kept[0], row):
            count, first = kept[0].row.count + 1, kept[0].first
            kept[0] = _Kept(first, next(self._numbers), msgspec.structs.replace(row, count=count))
        else:
            kept.appendleft(_Kept(now, next(self._numbers), row))
        if count in LOGGED:
            more = {"count": count} if count > 1 else {}
            log.info(
                "action", action=action, role=role, address=address, outcome=outcome, **more, **_shown(target)
            )

    def list(self, query: AuditQuery) -> NodeActions:
        """The latest actions, the newest first."""
        newest = merge(*self._actions.values(), key=lambda kept: -kept.number)
        return NodeActions(actions=[kept.row for kept in islice(newest, query.limit)])


class _Kept(NamedTuple):
    first: float
    """When it was asked for the first time."""
    number: int
    """Grows with each action: several may come within a millisecond."""
    row: ActionRow


def _is_again(kept: _Kept, row: ActionRow) -> bool:
    before = msgspec.structs.replace(kept.row, time=row.time, count=row.count)
    return before == row and row.time - kept.first < MERGE_SECONDS


def _shown(target: dict[str, Any]) -> dict[str, Any]:
    # In the log a name of ours must not be taken by an argument, and long lists say nothing.
    return {
        f"target_{name}": value if isinstance(value, str | bool) else json.dumps(value)[:256]
        for name, value in target.items()
    }
