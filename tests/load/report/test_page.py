"""The page of a result."""

from __future__ import annotations

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from moorage.load.plan import ScenarioName
from moorage.load.report.page import page
from moorage.load.result import Verdict
from tests.load.results import HOSTILE, result


class Tags(HTMLParser):
    """The names of all elements, and all attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs


@pytest.mark.parametrize("scenario", ["echo", "fanout", "idle", "connects", "jitter", "avalanche"])
def test_it_is_one_file_without_scripts(scenario: ScenarioName) -> None:
    hostile = result(scenario, verdicts=[Verdict(HOSTILE, 1.0, True), Verdict("lost>0", 0.0, False)])
    text = page(hostile)
    tags = Tags(text)
    assert "script" not in tags.names
    assert not {"src", "href", "onload", "onclick"} & {name for name, _ in tags.attributes}
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text
    assert not re.search(r"url\(|@import|https?://(?!localhost:3000)", text)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in tags.attributes
    assert "svg" in tags.names


def test_little_to_show() -> None:
    text = page(result("idle", latency={}, connect={}, distribution=[], seconds=[], errors={}, warnings=[]))
    assert "<svg" not in text


@pytest.mark.browser
@pytest.mark.node
def test_in_chromium_on_a_phone(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(result(verdicts=[Verdict(HOSTILE, 1.0, True)])), encoding="utf-8")
    driver = Path(__file__).with_name("open_page.mjs")
    done = subprocess.run(
        ["node", str(driver), str(file)], capture_output=True, text=True, timeout=60, check=True
    )
    seen = json.loads(done.stdout)
    assert (seen["problems"], seen["requests"]) == ([], 1)
    assert seen["charts"] == 4
    assert seen["width"] <= 390
    assert seen["background"] == "rgb(16, 22, 29)"
    assert seen["text"].count(HOSTILE) >= 3
