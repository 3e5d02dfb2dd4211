"""Starts one of the Python programs: `python -m conformance.apps.quickly threads`.

If they are installed, python-socketio imports packages that only its clients and its message queues use. That
takes longer than all that an app server needs, and the suite starts about a hundred of them."""

from __future__ import annotations

import runpy
import sys

UNUSED = ("aiohttp", "redis", "requests", "websocket")

if __name__ == "__main__":
    for name in UNUSED:
        sys.modules[name] = None  # type: ignore[assignment]
    runpy.run_module(f"conformance.apps.{sys.argv[1]}", run_name="__main__")
