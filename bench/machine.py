"""The machine and the versions of a run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.servers import HERE

_PYTHON = ("moorage", "uvloop", "picows", "uvicorn", "msgspec", "orjson", "python-socketio", "websockets")
_NODE = {
    "native socket.io": "native-socket.io",
    "native engine.io": "native-socket.io/node_modules/engine.io",
    "native ws": "native-socket.io/node_modules/ws",
    "app socket.io": "socket.io",
    "app @azure/web-pubsub-socket.io": "@azure/web-pubsub-socket.io",
    "native @socket.io/redis-adapter": "@socket.io/redis-adapter",
    "native redis client": "redis",
}


def facts() -> dict[str, object]:
    """Date, processor, kernel, load, and the version of everything that a figure depends on."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "kernel": platform.release(),
        "load before": os.getloadavg(),
        "python": sys.version.split()[0],
        "node": _said(["node", "--version"]),
        "cc": _said(["cc", "-dumpfullversion"]),
        "redis-server": _said(["redis-server", "--version"]),
        **{name: _installed(name) for name in _PYTHON},
        **{label: _package(path) for label, path in _NODE.items()},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _said(argv: list[str]) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "missing"


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _package(path: str) -> str:
    """The version in a package.json. npm hoists a dependency that others share, so both places count."""
    for place in (path, path.rsplit("node_modules/", 1)[-1]):
        file = HERE / "node_modules" / place / "package.json"
        if file.exists():
            return str(json.loads(file.read_text())["version"])
    return "missing"
