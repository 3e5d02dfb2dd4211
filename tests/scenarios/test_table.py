from __future__ import annotations

from pathlib import Path

from tests.scenarios.table import rows


def test_each_row_has_a_scenario() -> None:
    source = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert rows()
    assert [row[0] for row in rows() if f'"{row[0]}"' not in source] == []
