"""Every number of `tests/repairs.md` has a test."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| (\d+) \|", re.MULTILINE)
_PYTHON = re.compile(r"\.repair\(([\d, ]+)\)")
_JAVASCRIPT = re.compile(r"\[repair ([\d, ]+)\]")


def numbers(pattern: re.Pattern[str], folder: str, glob: str) -> set[int]:
    """The numbers in the marks of a folder's tests."""
    texts = (path.read_text() for path in (ROOT / folder).rglob(glob) if "node_modules" not in path.parts)
    return {int(number) for text in texts for found in pattern.findall(text) for number in found.split(",")}


def test_every_repair_has_a_test_and_every_mark_a_repair() -> None:
    listed = {int(number) for number in _ROW.findall((ROOT / "tests/repairs.md").read_text())}
    named = numbers(_PYTHON, "tests", "*.py")
    named |= numbers(_JAVASCRIPT, "sdk-node/test", "*.mjs") | numbers(_JAVASCRIPT, "tests", "*.mjs")
    assert listed == set(range(1, 35))
    assert listed == named
