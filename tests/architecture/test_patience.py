"""What a test gives too little time for fails on a busy machine."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def hasty_connects(text: str) -> Iterator[int]:
    """Lines on which a stock client connects with its own limit of one second."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("client.connect", "sio.connect")):
            named = {keyword.arg for keyword in node.keywords}
            if named & {"transports", "socketio_path"} and not named & {"wait_timeout", "wait", None}:
                yield node.lineno


def test_what_is_hasty() -> None:
    assert list(hasty_connects('sio.connect(url, transports=["polling"])\nsio.connect(url)')) == [1]
    assert not list(hasty_connects("sio.connect(url, socketio_path=path, wait_timeout=PATIENCE)"))
    assert not list(hasty_connects("sio.connect(url, transports=both, wait=False)"))


def test_connects_have_time() -> None:
    found = {
        f"{path.relative_to(TESTS)}:{line}"
        for path in TESTS.rglob("*.py")
        if "socketio_path" in (text := path.read_text()) or "transports=" in text
        for line in hasty_connects(text)
    }
    assert not found, "see tests/support/python_client.py"
