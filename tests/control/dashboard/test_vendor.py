"""The library that is included is the published one, unchanged."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
INCLUDED = ROOT / "src/moorage/control/dashboard/static/vendor/uplot"
PUBLISHED = ROOT / "tests/node/node_modules/uplot"
PAGE = (ROOT / "docs/explanation/dependencies.md").read_text()

FILES = {"uPlot.esm.js": "dist/uPlot.esm.js", "uPlot.min.css": "dist/uPlot.min.css", "LICENSE": "LICENSE"}


def test_nothing_else_is_included() -> None:
    assert {path.name for path in INCLUDED.iterdir()} == set(FILES)
    assert [path.name for path in INCLUDED.parent.iterdir()] == ["uplot"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.node
def test_a_file_is_that_of_the_npm_package(name: str) -> None:
    assert (INCLUDED / name).read_bytes() == (PUBLISHED / FILES[name]).read_bytes()


@pytest.mark.node
def test_the_manual_names_the_version() -> None:
    version = json.loads((PUBLISHED / "package.json").read_text())["version"]
    assert f"| uPlot (MIT) | {version} |" in PAGE


@pytest.mark.parametrize("name", ["uPlot.esm.js", "uPlot.min.css"])
def test_the_manual_names_the_hash(name: str) -> None:
    digest = hashlib.sha256((INCLUDED / name).read_bytes()).hexdigest()
    assert f"`{name}` `{digest}`" in PAGE
