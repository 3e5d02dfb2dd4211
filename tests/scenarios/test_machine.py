"""A machine whose disk is full, or whose clock jumps."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conformance.program import ROOT, Refused
from tests.scenarios import table
from tests.scenarios.cluster import ready, until
from tests.scenarios.scene import OURS, Scene, sdks

pytestmark = [pytest.mark.timeout(240), pytest.mark.node]

CLOCK = """
import os, time
now = time.time
def moved():
    with open(os.environ["CLOCK"]) as offset:
        return now() + float(offset.read())
time.time = moved
"""
"""A module that Python loads first. It adds the number in a file to the wall clock."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small one."""
    mount = ("mount", "-t", "tmpfs", "-o", "size=256k", "scenario", str(tmp_path))
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file systems can be mounted here")
    yield tmp_path
    subprocess.run(("umount", "-l", str(tmp_path)), check=True)


def fill(disk: Path, log: Path) -> Path:
    """A file that takes all the space that is left. The log has no space left in its last block either."""
    path = disk / "full"
    for each, size in ((path, 1024), (log, 1)):
        with suppress(OSError), each.open("ab", buffering=0) as file:
            while True:
                file.write(b"\n" * size)
    return path


def connects(log: Path) -> int:
    """The number of clients whose connect is in a log."""
    return log.read_text().count('"event": "connect"')


@sdks(among=("python", "azure"))
def test_the_disk_of_a_node_is_full(sdk: str, disk: Path) -> None:
    log = disk / "log"
    with Scene() as scene:
        scene.launch("one").__enter__()
        node = scene.launch("two", "log.connects=true", inside=("sh", "-c", f'exec "$@" >>{log} 2>&1', "sh"))
        until(lambda: log.exists() and '"ready"' in log.read_text(), "it is ready")
        scene.together()
        scene.app(sdk, "one")
        scene.known(1)
        scene.connect(8)
        until(lambda: connects(log) == 4, "their lines")
        full = fill(disk, log)
        scene.connect(16)
        scene.flow()
        assert ready(node) == "ready"
        full.unlink()
        scene.connect(4)
        until(lambda: connects(log) == 6, "it logs again, but not what is missing")
        ledger = scene.finish()
        ledger.undisturbed()
        table.check(
            "The disk with the log of a node is full",
            ledger,
            "lines are missing in the log until there is space again",
        )


class Clock:
    """The clock of one node."""

    def __init__(self, path: Path) -> None:
        (path / "sitecustomize.py").write_text(CLOCK)
        self._offset = path / "offset"
        self.move(0)
        self.inside = ("env", f"PYTHONPATH={path}:{ROOT / 'src'}", f"CLOCK={self._offset}")

    def move(self, seconds: int) -> None:
        """Let it be that much ahead."""
        # Renamed, because the node may read it at any time.
        new = self._offset.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(self._offset)


def with_clock(scene: Scene, clock: Clock, sdk: str) -> None:
    """Two nodes, the first of which has this clock, an app server and clients."""
    for node in (scene.launch("one", inside=clock.inside), scene.launch("two")):
        node.__enter__()
    scene.together()
    scene.app(sdk, "one")
    scene.known(1)
    scene.connect(8)
    scene.flow()


@sdks()
def test_the_clock_of_a_node_jumps_ahead(sdk: str, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    with Scene() as scene:
        with_clock(scene, clock, sdk)
        clock.move(60)
        scene.app(sdk, "one")
        scene.known(2)
        scene.connect(16)
        scene.flow()
        ledger = scene.finish()
        ledger.undisturbed()
        table.check(
            "The clock of a node jumps a minute ahead",
            ledger,
            "nothing",
        )


@sdks(among=OURS)
def test_the_clock_of_a_node_jumps_back(sdk: str, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    with Scene() as scene:
        with_clock(scene, clock, sdk)
        clock.move(-60)
        with pytest.raises(Refused, match="token-not-yet"):
            scene.app(sdk, "one")
        scene.apps.pop().kill()
        scene.connect(16)
        clock.move(0)
        scene.app(sdk, "one")
        scene.known(2)
        scene.flow()
        ledger = scene.finish()
        ledger.undisturbed()
        table.check(
            "The clock of a node jumps a minute back",
            ledger,
            "links and clients that are there go on; new links are refused there as `token-not-yet`, until "
            "the clock is right or `auth.clock_skew` (30 s) is longer",
        )
