"""The table of SDK capabilities is complete, and every row has a scenario."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from tests.conformance.capabilities import GROUPS, SDKS, TABLE, support
from tests.conformance.program import ROOT

SCENARIOS = sorted(Path(__file__).parent.glob("test_*.py"))
TYPES = ROOT / "sdk-node" / "node_modules" / "socket.io" / "dist"


def shown(path: Path) -> set[str]:
    """The rows that the scenarios of a file show."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return {
        str(argument.value)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "shows"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }


def test_every_row_is_shown_by_a_scenario() -> None:
    assert set[str]().union(*map(shown, SCENARIOS)) == TABLE.keys()


def test_every_row_occurs_once() -> None:
    assert len(TABLE) == sum(len(group["apis"]) for group in GROUPS)


@pytest.mark.parametrize("sdk", SDKS)
def test_every_cell_is_valid(sdk: str) -> None:
    for api, row in TABLE.items():
        assert support(api, sdk)
        cells = [row["azure"], row["node"], row["python"]]
        assert all(cell.keys() <= {"note", "refusal"} for cell in cells if isinstance(cell, dict))


def members(text: str) -> set[str]:
    """Public names of the classes in a file of type declarations."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    methods = re.findall(
        r"^    (?:[gs]et )?(?!private|constructor|static)([a-z]\w*)(?:<[^(]*>)?\(", text, re.M
    )
    return {*methods, *re.findall(r"^    readonly ([a-z]\w*)", text, re.M)}


@pytest.mark.parametrize("file", ["index", "namespace", "broadcast-operator", "socket"])
def test_every_member_of_socket_io_is_listed(file: str) -> None:
    """Types of the version that the Node.js SDK is built with."""
    known = set(re.findall(r"\w+", " ".join(row["api"] for row in TABLE.values())))
    text = (ROOT / "conformance" / "capabilities.json").read_text()
    beside = {name for names in json.loads(text)["beside"].values() for name in names}
    found = members((TYPES / f"{file}.d.ts").read_text())
    assert len(found) > 15
    assert found - known - beside == set()
