"""What a fetch answers, and what is said where native has nothing to meet in."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.gather import fetched, redis_server


def test_an_answer_is_told_apart_by_its_number() -> None:
    line = '{"fetched":3,"sockets":10,"ms":1.5,"read":2.5}'
    assert fetched(line, 3) == {"fetched": 3, "sockets": 10, "ms": 1.5, "read": 2.5}
    assert fetched(line, 2) is None
    assert fetched('{"ready":true}', 3) is None


def test_without_a_redis_server_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="NOT MEASURED: no redis-server"), redis_server(tmp_path):
        pass
