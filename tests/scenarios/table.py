"""The table of `docs/explanation/failure-modes.md`. A scenario checks its own row; with the variable
`WRITE_SCENARIOS` in the environment it writes the row."""

from __future__ import annotations

import os
from typing import Final

from tests.conformance.program import ROOT
from tests.scenarios.ledger import Ledger

PAGE: Final = ROOT / "docs" / "explanation" / "failure-modes.md"
HEAD: Final = "| --- |"


def rows() -> list[list[str]]:
    """The cells of each row of the page."""
    lines = PAGE.read_text().splitlines()
    begin = next(at for at, line in enumerate(lines) if line.startswith(HEAD)) + 1
    end = next(at for at in range(begin, len(lines) + 1) if at == len(lines) or not lines[at].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[begin:end]]


def check(
    scenario: str, ledger: Ledger, reported: str, *, some_end: bool = False, in_order: bool = True
) -> None:
    """Compare what has happened with the row of a scenario. The test itself has checked `reported`. With
    `some_end`, chance decides whether any client is disconnected. `in_order`: emits keep their order."""
    ledger.check(in_order=in_order)
    print(f"\n{scenario}: {ledger.figures}")
    row = [scenario, _events(ledger, some_end), _emits(ledger, some_end), reported]
    if "WRITE_SCENARIOS" in os.environ:
        _write(row)
    assert row in rows(), f"{PAGE.name} differs; set WRITE_SCENARIOS=1 to write its row"


def _events(ledger: Ledger, some_end: bool) -> str:
    stayed, ended = ledger.stayed, ledger.ended
    if any(len(client["acked"]) != client["sent"] for client in stayed):
        return "some of clients that stayed connected are lost"
    if not ended and not some_end:
        return "all taken and acked"
    what = "those on their way when a client loses its connection may be lost"
    return f"{what}; all others taken and acked" if stayed else what


def _emits(ledger: Ledger, some_end: bool) -> str:
    stayed, ended = ledger.stayed, ledger.ended
    if any(ledger.missed(client, label) for client in stayed for label in client["news"]):
        return "clients that stayed connected miss some"
    if not ended and not some_end:
        return "all arrived"
    what = "disconnected clients miss those sent until they are back"
    return f"{what}; all others arrived" if stayed else what


def _write(row: list[str]) -> None:
    lines = PAGE.read_text().splitlines()
    text = f"| {' | '.join(row)} |"
    begin = next(at for at, line in enumerate(lines) if line.startswith(HEAD)) + 1
    for at in range(begin, len(lines)):
        if lines[at].startswith(f"| {row[0]} |"):
            lines[at] = text
            break
        if not lines[at].startswith("|"):
            lines.insert(at, text)
            break
    else:
        lines.append(text)
    PAGE.write_text("\n".join(lines) + "\n")
