"""The manual's generated parts are up to date, and its hand-written parts leave nothing out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moorage.config.schema import SETTINGS
from moorage.metrics.catalogue import METRICS, WORKER_METRICS
from moorage.wire.reasons import CATALOGUE
from scripts.docs import PARTS, RANGES, REFERENCE, meaning, pages, render

ROOT = Path(__file__).resolve().parents[1]
SHOWN = {
    page: (ROOT / "docs" / "explanation" / page).read_text() for page in ("differences.md", "security.md")
}
"""Pages whose tables name the tests that show each row."""
TEST_NAME = re.compile(r"`((?:tests|sdk-node/test)/[\w/.-]+\.(?:py|mjs))(?:::|: )(.+?)`(?=[,;. |)]|$)", re.M)


def test_every_generated_part_stands_in_one_page() -> None:
    found = [name for path in pages() for name in re.findall(r"<!-- generated: (\w+) -->", path.read_text())]
    assert sorted(found) == sorted(PARTS)


@pytest.mark.parametrize("page", [path.name for path in pages()])
def test_up_to_date(page: str) -> None:
    text = (REFERENCE / page).read_text()
    assert render(text) == text, "run python scripts/docs.py"


@pytest.mark.parametrize("path", SETTINGS)
def test_every_setting_is_explained(path: str) -> None:
    assert meaning(path), "write a docstring below the field"


def test_what_a_change_of_each_metric_means_is_said() -> None:
    text = (REFERENCE / "metrics.md").read_text().partition("## What a change means")[2]
    assert [row.shown for row in (*METRICS, *WORKER_METRICS) if f"`{row.shown}" not in text] == []


def test_every_reason_falls_into_a_range() -> None:
    text = (REFERENCE / "reasons.md").read_text()
    assert [start for start, _ in RANGES if f"### {start}: " not in text] == []
    assert all(text.count(f"| {row.number} | `{row.name}` |") == 1 for row in CATALOGUE.values())


def rows_of(text: str) -> list[str]:
    """The rows of all tables, without their heads."""
    tables = re.findall(r"^\|.*\n\| --- .*\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [row for table in tables for row in table.splitlines()]


@pytest.mark.repair(23, 34)
@pytest.mark.parametrize("page", SHOWN)
def test_every_row_names_a_test(page: str) -> None:
    rows = rows_of(SHOWN[page])
    assert len(rows) > 10
    assert [row for row in rows if not TEST_NAME.search(row)] == []


@pytest.mark.repair(23, 34)
@pytest.mark.parametrize("named", sorted(set(TEST_NAME.findall("\n".join(SHOWN.values())))))
def test_a_test_that_is_named_exists(named: tuple[str, str]) -> None:
    path, name = named
    text = (ROOT / path).read_text()
    if path.endswith(".py"):
        assert re.search(rf"^ *(async )?def {re.escape(name)}\(", text, re.MULTILINE), named
    else:
        assert re.search(rf"[\"`](\[repair \d+\] )?{re.escape(name)}[\"`]", text), named


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head).lower()) for head in heads]
    return {word.replace(" ", "-") for word in words}


@pytest.mark.repair(32)
@pytest.mark.parametrize("page", ["*.md", "docs/*/*.md", "examples/*/*.md", "conformance/*.md", "bench/*.md"])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    broken = []
    for path in ROOT.glob(page):
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            there = (path.parent / file).resolve() if file else path
            if not there.exists() or (anchor and anchor not in anchors(there)):
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert broken == []


def test_every_page_begins_with_what_its_reader_can_do_after_it() -> None:
    pages = sorted((ROOT / "docs").glob("*/*.md"))
    assert [page.name for page in pages if "\n\nAfter this page " not in page.read_text()[:300]] == []


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").glob("*/*.md"))
    assert [page for page in pages if f"({page})" not in index] == []
