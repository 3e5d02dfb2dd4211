"""What operators have done: a line in the log, and the latest actions in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from moorage import logs
from moorage.control.admin.callers import Caller
from moorage.wire.inspect.forms import ActionRow, AuditQuery, NodeActions

Note = Callable[[Caller, str, dict[str, Any], str], object]
"""Notes an action: who, what, for whom, and what became of it."""
MAX_ACTIONS: Final = 1_000

log: Final = logs.get("audit")


class Audit:
    """Keeps the actions that the node `name` was asked for. `clock` gives epoch seconds."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self._name = name
        self._clock = clock
        self._actions: deque[ActionRow] = deque(maxlen=MAX_ACTIONS)

    def note(self, caller: Caller, action: str, target: dict[str, Any], outcome: str) -> None:
        """An action has ended: `outcome` is "done", or the name of a reason."""
        role, address = caller.role.shown, caller.address
        self._actions.appendleft(
            ActionRow(
                time=round(self._clock(), 3),
                node=self._name,
                role=role,
                address=address,
                action=action,
                target=target,
                outcome=outcome,
            )
        )
        log.info("action", action=action, role=role, address=address, outcome=outcome, **_shown(target))

    def list(self, query: AuditQuery) -> NodeActions:
        """The latest actions, the newest first."""
        rows = self._actions
        return NodeActions(actions=[rows[at] for at in range(min(query.limit, len(rows)))])


def _shown(target: dict[str, Any]) -> dict[str, Any]:
    # In the log a name of ours must not be taken by an argument, and long lists say nothing.
    return {
        f"target_{name}": value if isinstance(value, str) else str(value)[:256]
        for name, value in target.items()
    }
