"""The page of a result."""

from __future__ import annotations

import re
from html.parser import HTMLParser

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
