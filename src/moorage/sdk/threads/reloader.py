"""Werkzeug's reloader (`flask run --debug`, `socketio.run(app, debug=True)`) and the link.

The application's module runs in two processes. The first only watches files and restarts the second, which
serves. When the first calls `use_moorage_sync` it cannot tell which of the two it is. It would remain an app
server with half of the clients and the code of the first start. So it leaves the hub when it starts the
second process, which has WERKZEUG_RUN_MAIN in its environment."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Final

_SERVES: Final = "WERKZEUG_RUN_MAIN"

_log = logging.getLogger("moorage.sdk")
_leaving: list[Callable[[], object]] = []


def before_reloading(leave: Callable[[], object]) -> None:
    """Call `leave` if this process starts the one that serves. Once per process."""
    # An audit hook cannot be removed, and it is called for every opened file, so only with Werkzeug.
    if "werkzeug" not in sys.modules or os.environ.get(_SERVES) == "true" or _leaving:
        return
    _leaving.append(leave)
    sys.addaudithook(_heard)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "subprocess.Popen":
        return
    environment = arguments[3]
    if not environment or environment.get(_SERVES) != "true":
        return
    try:
        for leave in _leaving:
            leave()
    except Exception:  # raised here, it would prevent the start of the other process
        _log.exception("the reloader's process could not leave the hub")
