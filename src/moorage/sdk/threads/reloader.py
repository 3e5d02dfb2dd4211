"""Werkzeug's reloader (`flask run --debug`, `socketio.run(app, debug=True)`) and the link.

The application's module runs in two processes: in one that starts the other whenever a file changes and
serves nobody, and in that other one. When the first calls `use_moorage_sync` nothing tells it what it is
going to be. It would stay an app server, one with the code of the first start and half of the clients.
So it leaves when it starts the process that serves, which has WERKZEUG_RUN_MAIN in its environment.
"""

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
    """Call `leave` when this process turns out to be the one that only watches files. Once per process."""
    # An audit hook is for life and sees every file that is opened: only where Werkzeug is about.
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
    except Exception:  # raised here it would keep the other process from starting
        _log.exception("the reloader's process could not leave the hub")
