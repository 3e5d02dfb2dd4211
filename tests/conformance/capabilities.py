"""The table of SDK capabilities, `conformance/capabilities.json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import pytest

from tests.conformance.program import ROOT

SDKS: Final = ("azure", "node", "python", "threads")
GROUPS: Final[list[dict[str, Any]]] = json.loads(
    (ROOT / "conformance" / "capabilities.json").read_text(encoding="utf-8")
)["groups"]
TABLE: Final[dict[str, dict[str, Any]]] = {row["id"]: row for group in GROUPS for row in group["apis"]}

F = TypeVar("F", bound=Callable[..., Any])


class Support(NamedTuple):
    """`does` is true if the API works as Socket.IO documents it. Otherwise `refusal`, if any, is the
    message that the call fails with; without one it does something else, which `note` says."""

    does: bool
    note: str = ""
    refusal: str = ""


def support(api: str, sdk: str) -> Support:
    """An entry of the table. Our Python SDK has one entry for both of its servers."""
    cell = TABLE[api]["python" if sdk == "threads" else sdk]
    if cell is True:
        return Support(True)
    if isinstance(cell, str):
        return Support(True, cell)
    return Support(False, cell["note"], cell.get("refusal", ""))


def shows(*apis: str) -> Callable[[F], F]:
    """Marks a scenario that shows these rows of the table, for every SDK."""
    assert TABLE.keys() >= set(apis), set(apis) - TABLE.keys()

    def mark(function: F) -> F:
        marked: F = pytest.mark.shows(*apis)(function)
        return marked

    return mark
