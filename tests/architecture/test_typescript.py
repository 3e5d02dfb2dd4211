"""The Node.js SDK has no import circles either, not even of types."""

from __future__ import annotations

import re
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "sdk-node" / "src"
IMPORT = re.compile(r'^(?:import|export)\b[^;]*?\bfrom "(\.[^"]+)\.js";', re.MULTILINE)


def imports_of(folder: Path) -> dict[Path, list[Path]]:
    """Each file of TypeScript, and the files that it imports or exports from."""
    return {
        path: [
            (path.parent / f"{name}.ts").resolve()
            for name in IMPORT.findall(path.read_text(encoding="utf-8"))
        ]
        for path in sorted(folder.resolve().rglob("*.ts"))
    }


def circles(graph: dict[Path, list[Path]]) -> list[list[str]]:
    """Files that import each other, directly or not; one list for each circle."""
    found: list[list[str]] = []
    finished: set[Path] = set()

    def visit(path: Path, way: list[Path]) -> None:
        if path in way:
            found.append([each.name for each in [*way[way.index(path) :], path]])
        elif path not in finished:
            for other in graph.get(path, []):
                visit(other, [*way, path])
            finished.add(path)

    for path in graph:
        visit(path, [])
    return found


def test_no_circles() -> None:
    graph = imports_of(SOURCES)
    assert len(graph) > 50 and sum(map(len, graph.values())) > 100, "the walk works"
    assert circles(graph) == []


def test_the_check(tmp_path: Path) -> None:
    (tmp_path / "a.ts").write_text('import type { B } from "./b.js";\nimport { x } from "y";\n')
    (tmp_path / "b.ts").write_text('export type {\n  C,\n} from "./inner/c.js";\n')
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "c.ts").write_text('export * from "../a.js";\n')
    assert circles(imports_of(tmp_path)) == [["a.ts", "b.ts", "c.ts", "a.ts"]]
