"""The page on protocol support names a test for each clause; each of them must exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "reference" / "protocol-support.md"
NAMED = re.findall(r"`([\w/]+(?:\.test\.mjs|\.py))(?:(?:::|: )([^`]+))?`", PAGE.read_text(encoding="utf-8"))


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 60


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)))
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    text = (TESTS / file).read_text(encoding="utf-8")
    if file.endswith(".mjs"):
        assert f'"{name}"' in text
    elif name:
        assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE)
