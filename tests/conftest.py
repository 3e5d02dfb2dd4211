"""Fixtures that every suite may use, and the marker of the tests that `make coverage` runs."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import socketio.client
from hypothesis import is_hypothesis_test

from tests.support.examples import load_profiles
from tests.support.leftovers import Leftovers
from tests.support.service import MoorageProcess

load_profiles()

# A stock client that waits for its next attempt draws a random number in its thread. Hypothesis fails if the
# state of Python's own generator changes while it draws.
socketio.client.random = random.Random()

PACKAGE = Path(__file__).parents[1] / "src" / "moorage"
UNMEASURED = ("alone", "browser", "node", "slow")
"""Markers of tests that are too long for it, or that measure times."""
TELLING = ("hypothesis", *(f"mark.{name}" for name in UNMEASURED))
"""One of these words is in each file of a mirrored folder that has tests that are not measured."""

FIRST = ("bench", "scenarios", "integration", "workers", "conformance", "examples", "cli", "sdk")
"""Folders with long files. They come first: while a long file ends, the other workers do the short ones. The
tests of the benchmarks mostly wait, so they run beside tests that need the processors."""

WHOLE = ("app", "cli", "edge", "workers")
"""Folders whose tests also measure the processes that they start: nothing else runs all of these parts.
Unmeasured processes start in half the time."""
_leftovers = Leftovers()
_left: list[str] = []
_processes = os.environ.get("COVERAGE_PROCESS_CONFIG")


@cache
def _mirrors(path: Path) -> bool:
    """True if the file mirrors a part of the package, or is a contract suite."""
    place = path.relative_to(Path(__file__).parent).parts
    return len(place) == 1 or place[0] == "contract" or (PACKAGE / place[0]).is_dir()


def _is_measured(item: pytest.Item) -> bool:
    """True if the test runs under coverage: the tests that mirror the package do, and the contract suites.
    Tests with random examples do not: a branch must be covered in every run, not in a lucky one."""
    if not _mirrors(item.path):
        return False
    if isinstance(item, pytest.Function) and (is_hypothesis_test(item.obj) or item.name == "runTest"):
        return False
    return not any(item.get_closest_marker(name) for name in UNMEASURED)


@cache
def _folder(path: Path) -> str:
    return path.relative_to(Path(__file__).parent).parts[0]


@cache
def _turn(path: Path) -> int:
    folder = _folder(path)
    return FIRST.index(folder) if folder in FIRST else len(FIRST)


@cache
def _tells(path: Path) -> bool:
    text = path.read_text()
    return any(word in text for word in TELLING)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files without a test of the selected kind. Each worker would take seconds to import them."""
    if not collection_path.name.startswith("test_") or collection_path.suffix != ".py":
        return None
    selected: str = config.option.markexpr
    if selected == "measured" and not _mirrors(collection_path):
        return True
    if "not measured" in selected and _mirrors(collection_path) and not _tells(collection_path):
        return True
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the measured tests, before pytest selects by markers, and put the long files first."""
    items.sort(key=lambda item: _turn(item.path))
    for item in items:
        if _is_measured(item):
            item.add_marker("measured")
        elif _mirrors(item.path) and not _tells(item.path):
            raise pytest.UsageError(
                f"{item.nodeid} is not measured, and its file has none of the words {', '.join(TELLING)}:"
                " `make test ARGS=--unmeasured` would not find it"
            )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say whether coverage is measured in the processes that this test starts (`WHOLE`)."""
    if _processes is None:
        return
    if _folder(item.path) in WHOLE:
        os.environ["COVERAGE_PROCESS_CONFIG"] = _processes
    else:
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What pytest makes here stays. The collector of garbage need not look at it, now or in a test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """Note at the end of a file what its tests have left that would disturb later ones."""
    yield
    _leftovers.note(item.nodeid)
    if nextitem is None or nextitem.path != item.path:
        _left.extend(_leftovers.end_file())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker tells the process that controls it."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left"] = _left


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker has ended."""
    _left.extend(getattr(node, "workeroutput", {}).get("left", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was left, and do not fail: a stock client's own thread may take longer to end than a test
    should wait for."""
    if _left:
        terminalreporter.section("left by tests")
        for line in _left:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def leftovers() -> Leftovers:
    """For fixtures of the session: what they start outlives the file of the test that first asks for it."""
    return _leftovers


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    """One service process for a test module. Tests in it use hubs of their own."""
    with MoorageProcess() as running:
        yield running
