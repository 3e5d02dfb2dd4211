"""The architecture page names files. They exist, and a message passes through few of them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "architecture.md"
PACKAGE = ROOT / "src" / "moorage"

MOST_FILES = 8
"""Files that a reader opens to follow a message in one direction."""


def named_files(text: str) -> list[str]:
    """Paths of Python files below the package that stand in code marks."""
    return re.findall(r"`([\w/]+/\w+\.py)`", text)


def ways(text: str) -> list[list[str]]:
    """The tables with one row for each file that a message passes: their second and third columns."""
    found: list[list[str]] = []
    for table in re.findall(r"\| \| azure \| moorage \|.*\n\|[-|]+\n((?:\| \d.*\n)+)", text):
        rows = [[cell.strip() for cell in row.split("|")[2:4]] for row in table.splitlines()]
        found.append([azure for azure, _ in rows])
        found.append([azure if moorage == "the same" else moorage for azure, moorage in rows])
    return found


@pytest.mark.parametrize("name", sorted(set(named_files(PAGE.read_text(encoding="utf-8")))))
def test_a_named_file_exists(name: str) -> None:
    assert (PACKAGE / name).is_file()


PARTS_OF_PARTS = {"frames", "report", "scenarios", "transports"}
"""Packages three levels down, which the sections about their parts describe."""


def test_the_layers_name_every_package() -> None:
    layers = PAGE.read_text(encoding="utf-8").partition("## Layers")[2].partition("`wire` <-")[0]
    named = set(re.findall(r"(\w+)/", layers))
    packages = {path.parent.name for path in PACKAGE.rglob("__init__.py")}
    assert packages - named == PARTS_OF_PARTS


@pytest.mark.parametrize("number", range(4), ids=["azure up", "moorage up", "azure down", "moorage down"])
def test_a_message_passes_few_files(number: int) -> None:
    (*all_ways,) = ways(PAGE.read_text(encoding="utf-8"))
    assert len(all_ways) == 4
    way = all_ways[number]
    assert 0 < len(way) <= MOST_FILES
    assert all(named_files(cell) for cell in way)


MOST_IN_FOLDER = 14
"""A folder with many more than a dozen files hides its parts. `__init__.py`, `index.ts` and their like do not
count."""
SOURCES = (PACKAGE, ROOT / "sdk-node" / "src")


def test_folders_have_few_files() -> None:
    folders = Counter(
        str(path.parent.relative_to(ROOT))
        for top in SOURCES
        for path in top.rglob("*")
        if path.suffix in {".py", ".ts", ".js"} and not path.stem.startswith("_") and path.stem != "index"
    )
    assert {"src/moorage/hub", "src/moorage/control/dashboard/static", "sdk-node/src/link"} <= folders.keys()
    assert {folder: count for folder, count in folders.items() if count > MOST_IN_FOLDER} == {}
