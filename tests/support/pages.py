"""Commands and programs from the pages of the manual, so that tests run what readers run."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commands(page: str) -> list[str]:
    """The blocks marked as `sh`, in order; `page` is a path from the root of the repository."""
    return re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def lines(page: str, *words: str) -> list[str]:
    """The lines of these blocks that contain all words."""
    every = [line for block in commands(page) for line in block.splitlines()]
    return [line for line in every if all(word in line for word in words)]


def program(page: str, name: str) -> str:
    """The block of code that follows `name`."""
    found = re.search(rf"`{re.escape(name)}`:\n\n```\w+\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert found, name
    return found[1]
