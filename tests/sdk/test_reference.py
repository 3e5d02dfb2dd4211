"""docs/reference/python-sdk.md says what the code says: each table, row by row."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from moorage.sdk import Moorage, RemoteSocket, errors, use_moorage, use_moorage_sync
from moorage.sdk.app_server import EVENTS, AppServerBase
from moorage.wire.moorage.v1 import Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "python-sdk.md"


def rows(name: str, text: str = "") -> list[str]:
    """The first column of a checked table, without the quotes."""
    found = re.search(rf"<!-- checked: {name} -->\n(.*?)<!-- end -->", text or PAGE.read_text(), re.DOTALL)
    assert found, name
    return re.findall(r"^\| `([^`]+)` \|", found[1], re.MULTILINE)


def signature(name: str, function: Any) -> str:
    """As the tables have it: names only."""
    parameters = inspect.signature(function).parameters.values()
    names = [f"*{one.name}" if one.kind is one.VAR_POSITIONAL else one.name for one in parameters]
    return f"{name}({', '.join(one for one in names if one != 'self')})"


def public(owner: type[Any], *left_out: str) -> set[str]:
    """Members that users may touch, functions with their parameters."""
    found = set()
    for name, member in vars(owner).items():
        if name.startswith("_") or name in left_out:
            continue
        found.add(signature(name, member) if inspect.isfunction(member) else name)
    return found


def test_parameters() -> None:
    assert rows("use_moorage") == list(inspect.signature(use_moorage).parameters)
    of_sync = list(inspect.signature(use_moorage_sync).parameters)
    assert set(of_sync) - {"server", "threads"} == set(rows("use_moorage")) - {"sio"}


def test_members() -> None:
    listed = rows("Moorage")
    assert len(listed) == len(set(listed))
    assert set(listed) == public(Moorage) | public(AppServerBase, "detach") | {"sio"}, (
        "detach is for use_moorage alone"
    )


def test_remote_sockets() -> None:
    one = RemoteSocket(Row("a", "c", None, 0, 0, (), b"{}"), "/", "server", lambda: None)
    members = {name for name in dir(one) if not name.startswith("_")}
    assert set(rows("RemoteSocket")) == members


def test_events() -> None:
    assert sorted(row.partition("(")[0] for row in rows("events")) == sorted(EVENTS)


def test_errors() -> None:
    assert set(rows("errors")) == set(errors.__all__)


def test_the_check_itself() -> None:
    text = "<!-- checked: t -->\n| `a(b)` | x |\n| no code | y |\n<!-- end -->\n| `c` | z |"
    assert rows("t", text) == ["a(b)"]
    with pytest.raises(AssertionError):
        rows("u", text)

    def function(self: object, a: int, *b: int, c: int = 1) -> None:
        """Nothing."""

    assert signature("f", function) == "f(a, *b, c)"
