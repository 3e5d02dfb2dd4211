"""What a machine or a container allows, and the warnings about it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from moorage.config.model import Config
from moorage.edge.settings import EdgeLimits
from moorage.workers import machine
from tests.support.service import ROOT

GIB = 1024**3


def test_auto_is_one_worker_for_each_cpu() -> None:
    assert machine.workers(3) == 3
    assert machine.workers(0) == machine.cpus()
    assert 1 <= machine.cpus() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("text", "most"), [("50000 100000", 1), ("150000 100000", 2), ("max 100000", None)])
def test_a_container_with_a_quota_has_fewer_cpus(tmp_path: Path, text: str, most: int | None) -> None:
    usable = machine.cpus(tmp_path)
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert machine.cpus(tmp_path) == (min(usable, most) if most else usable)


def test_a_container_may_have_less_memory(tmp_path: Path) -> None:
    whole = machine.memory(tmp_path)
    assert whole > 100 * 1024**2
    (tmp_path / "memory.max").write_text("1048576\n")
    assert machine.memory(tmp_path) == 1048576
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory(tmp_path) == whole


def test_the_limit_of_open_files_is_raised_to_what_the_system_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] == resource.RLIM_INFINITY or before[1] <= 512:
        pytest.skip("needs a hard limit above 512")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        most = machine.raise_file_limit()
        assert most == min(before[1], machine.MAX_FILES)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, before[1])
        assert machine.raise_file_limit() == most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def lacking(files: int, memory: int, count: int = 1, **limits: int) -> list[str]:
    config = Config(limits=EdgeLimits(**limits))
    return list(machine.warnings(config, count, files=files, memory=memory))


def test_enough_is_no_warning() -> None:
    assert lacking(20_000, 4 * GIB) == []
    assert lacking(1024, 4 * GIB, max_connections=700) == []


def test_few_files_are_a_warning() -> None:
    (line,) = lacking(1024, 4 * GIB)
    assert line.startswith("a process may open only 1024 files, enough for about 768 clients (raise it")
    (line,) = lacking(20_000, 4 * GIB, max_connections=50_000)
    assert "enough for about 19744 clients, and limits.max_connections allows 50000 (" in line


def test_a_service_with_few_files_says_so_at_its_start() -> None:
    with subprocess.Popen(
        ["/bin/sh", "-c", 'ulimit -n 900; exec "$0" -m moorage dev --port 0', sys.executable],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Connection string" in line:
                break
        process.terminate()
    assert any("a process may open only 900 files, enough for about 644 clients" in line for line in lines)


def test_little_memory_is_a_warning() -> None:
    assert lacking(20_000, GIB, count=2) == []
    (line,) = lacking(20_000, GIB, count=4)
    assert line.startswith("limits.outbox_total_bytes: 4 workers with 512MiB each may take 2.0 GiB for data")
    assert line.endswith("there are only 1.0 GiB of memory")
