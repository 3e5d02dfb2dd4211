"""Starting an app server stays quick: the SDK loads nothing of the service and little else."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import moorage.sdk

NOT_WANTED = {
    "click",
    "httptools",
    "jwt",
    "prometheus_client",
    "starlette",
    "uvicorn",
    "uvloop",
    "yaml",
}
"""What the service brings along."""

_SCRIPT = """
import json, sys, time
import socketio
before, began = set(sys.modules), time.process_time()
import moorage.sdk
spent = time.process_time() - began
print(json.dumps([spent, sorted(sys.modules), sorted(set(sys.modules) - before)]))
"""


def test_what_is_loaded() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT], check=True, capture_output=True, text=True, timeout=60
    )
    spent, loaded, added = json.loads(run.stdout)
    tops = {name.partition(".")[0] for name in added}
    assert NOT_WANTED.isdisjoint({name.partition(".")[0] for name in loaded})
    ours = {name for name in loaded if name.startswith("moorage.")}
    assert {name.split(".")[1] for name in ours} == {"sdk", "wire"}
    assert not any("threads" in name for name in ours), "the synchronous side is for those who use it"
    assert {"msgspec", "orjson", "picows"} <= tops
    assert spent < 1.0, "a generous bound: some 0.1 s are right"


def test_the_shared_parts_wait_for_nothing() -> None:
    """Only `aio` and `threads` hold tasks, locks and loops. `negotiate` makes handlers for web frameworks."""
    waiting = {"asyncio", "threading", "concurrent", "queue", "socket", "select", "time"}
    executors = ("moorage.sdk.aio", "moorage.sdk.threads")
    for path in Path(moorage.sdk.__file__).parent.rglob("*.py"):
        if {"aio", "threads"} & set(path.parts) or path.name in {"__init__.py", "negotiate.py", "tokens.py"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {name.partition(".")[0] for name in names} & waiting, path.name
            assert not any(name.startswith(executors) for name in names), path.name
            assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), path.name
