"""What a check has found, and how it is shown. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple

import click

from moorage.cli.tables import plain

State = Literal["ok", "warn", "fail", "skip"]
FAILED: Final = 3
"""The exit code if a check has failed."""
_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red", "skip": None}


class Finding(NamedTuple):
    """One check. `fix` says what to do about it; empty if there is nothing to do."""

    name: str
    state: State
    text: str
    fix: str = ""


def failed(findings: Iterable[Finding]) -> bool:
    """True if a check has failed."""
    return any(one.state == "fail" for one in findings)


def lines(findings: Sequence[Finding]) -> str:
    """The findings for people, one below the other."""
    width = max(len(one.name) for one in findings)
    found = []
    for one in findings:
        state = click.style(one.state.ljust(4), fg=_COLOURS[one.state])
        found.append(f"{state}  {one.name.ljust(width)}  {plain(one.text)}")
        if one.fix:
            found.append(f"{' ' * (width + 8)}{plain(one.fix)}")
    return "\n".join(found)


def document(findings: Sequence[Finding], **more: Any) -> str:
    """The findings for programs."""
    checks = [one._asdict() for one in findings]
    return json.dumps({**more, "failed": failed(findings), "checks": checks}, indent=2, ensure_ascii=False)
