"""`sio.instrument()`, python-socketio's way to the Socket.IO admin UI, hooks into the server's manager."""

from __future__ import annotations

from typing import Any, Final

_HOOKED: Final = ("basic_enter_room", "basic_leave_room", "emit")


def carry_over(former: Any, manager: Any) -> None:
    """Move the hooks that `instrument()` has set on the `former` manager to the `manager` that replaces it.
    A hook has the name of its method; the method itself is kept under a mangled name."""
    inside = vars(former)
    for name in _HOOKED:
        if name not in inside:
            continue
        kept = next((key for key in inside if key.endswith(f"__{name}")), None)
        if kept is not None:
            setattr(manager, kept, getattr(manager, name))
            setattr(manager, name, inside[name])
    if "_timestamps" in inside:
        manager._timestamps = inside["_timestamps"]
